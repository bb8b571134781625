-- The state that replicas share. Times are seconds since 1970; `record` holds a run and its facts as records of
-- decisions have them, and no secret; of the run token there is only its SHA-256.

-- The installation that this database belongs to: one.
CREATE TABLE countersign.installation (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    issuer text NOT NULL
);

-- In the order of bytes, whatever the database's collation: pages of runs follow it.
CREATE TABLE countersign.run (
    id text COLLATE "C" PRIMARY KEY,
    record text NOT NULL,
    runner text COLLATE "C" NOT NULL,
    run_token_sha256 bytea,
    registered_at bigint NOT NULL,
    expires_at bigint NOT NULL,
    finished_at bigint
);
CREATE INDEX run_expires_at ON countersign.run (expires_at);
CREATE INDEX run_runner ON countersign.run (runner, id);

-- Tokens of issuers whose tokens may be used once, by a digest of issuer and id: either may be longer than an index
-- takes, and have characters that PostgreSQL has no room for.
CREATE TABLE countersign.used_token (
    digest bytea PRIMARY KEY,
    expires_at bigint NOT NULL
);
CREATE INDEX used_token_expires_at ON countersign.used_token (expires_at);

-- The processes that serve this issuer. Each has its own decision log, whose latest checkpoint is here.
CREATE TABLE countersign.replica (
    name text COLLATE "C" PRIMARY KEY,
    -- Of one start of one process: another one that has the name cannot go on beside it.
    instance text NOT NULL,
    -- Grows by one each time that the replica has been here. Its log's records have it, so that a database that was put
    -- back is found out.
    beat bigint NOT NULL,
    beat_at timestamptz NOT NULL,
    -- The time after which a process that has not been here issues no token, so that another one may take its name.
    lease_seconds double precision NOT NULL,
    -- True after an orderly stop: it serves no key set any more.
    stopped boolean NOT NULL,
    plan_version bigint NOT NULL,
    policy_set text NOT NULL,
    access text NOT NULL,
    -- The time from which on it has had this policy set and access.
    configured_at timestamptz NOT NULL,
    log_sequence bigint NOT NULL,
    log_hash text NOT NULL,
    -- A signed checkpoint, and the JWK Set with the key that verifies it.
    checkpoint text NOT NULL,
    checkpoint_key text NOT NULL
);
