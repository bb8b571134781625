-- One row: the number of changes that the database has had, and the record of the decision log that
-- was durable at the last one. The log's records have the number, so that neither is put back alone.
CREATE TABLE mark (
    one INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    changes INTEGER NOT NULL,
    log_sequence INTEGER NOT NULL,
    log_hash TEXT NOT NULL
) STRICT;

INSERT INTO mark (one, changes, log_sequence, log_hash) VALUES (1, 0, 0, '');
