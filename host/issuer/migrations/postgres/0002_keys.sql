-- One row: the times of all keys. It is replaced by whoever has read its version.
CREATE TABLE countersign.key_plan (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    version bigint NOT NULL,
    plan text NOT NULL
);
INSERT INTO countersign.key_plan (version, plan) VALUES (0, '{"keys":[]}');

-- Private keys, each encrypted by a key that is not here.
CREATE TABLE countersign.signing_key (
    kid text COLLATE "C" PRIMARY KEY,
    sealed bytea NOT NULL
);
