-- Releases: policy sets that are staged, promoted and rolled back at any replica, and decide at all of them. Rows of these
-- tables are added and never changed. Programs of earlier versions do not read them, and go on.

-- Contents by their SHA-256 (`sha256:` and 64 digits): components, settings, manifests, and the descriptions of releases. A row is there once all
-- parts are.
CREATE TABLE countersign.release_file (
    digest text COLLATE "C" PRIMARY KEY CHECK (octet_length(digest) = 71),
    bytes bigint NOT NULL CHECK (bytes >= 0)
);

-- Parts of 1 MiB, the last one shorter, numbered from 0: each is read and written within the time of a piece of work.
CREATE TABLE countersign.release_part (
    digest text COLLATE "C" NOT NULL CHECK (octet_length(digest) = 71),
    part integer NOT NULL CHECK (part >= 0),
    content bytea NOT NULL CHECK (octet_length(content) BETWEEN 1 AND 1048576),
    PRIMARY KEY (digest, part)
);
-- Compiled code is hardly shorter when it is compressed.
ALTER TABLE countersign.release_part ALTER COLUMN content SET STORAGE EXTERNAL;

-- The description of each release, by the digest of its policy set.
CREATE TABLE countersign.release_set (
    release text COLLATE "C" PRIMARY KEY CHECK (octet_length(release) = 71),
    description text COLLATE "C" NOT NULL REFERENCES countersign.release_file
);

-- The steps, numbered from 1 without a gap. Whoever adds the next number first has made the step.
CREATE TABLE countersign.release_step (
    step bigint PRIMARY KEY CHECK (step > 0),
    -- As each replica has it in a file, in JSON.
    content text NOT NULL CHECK (octet_length(content) BETWEEN 1 AND 65536),
    release text COLLATE "C" NOT NULL REFERENCES countersign.release_set,
    -- True unless it only stages: another release decides from here on.
    decides boolean NOT NULL,
    made_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX release_step_decides ON countersign.release_step (step) WHERE decides;

-- Of each replica: the last step that it has taken, the one since which its release decides, and the candidate that it
-- has prepared.
ALTER TABLE countersign.replica
    ADD COLUMN release_step bigint NOT NULL DEFAULT 0,
    ADD COLUMN deciding_step bigint NOT NULL DEFAULT 0,
    ADD COLUMN candidate text NOT NULL DEFAULT '';
