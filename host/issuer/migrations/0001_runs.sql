-- Times are seconds since 1970. `record` holds a run and its facts as records of decisions have
-- them, and no secret; of the run token there is only its SHA-256.
CREATE TABLE run (
    id TEXT NOT NULL PRIMARY KEY,
    record TEXT NOT NULL,
    runner TEXT NOT NULL,
    run_token_sha256 BLOB,
    registered_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    finished_at INTEGER
) STRICT, WITHOUT ROWID;

CREATE INDEX run_expires_at ON run (expires_at);

-- Tokens of issuers whose tokens may be used once.
CREATE TABLE used_token (
    issuer TEXT NOT NULL,
    token_id TEXT NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (issuer, token_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX used_token_expires_at ON used_token (expires_at);
