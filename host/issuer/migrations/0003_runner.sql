-- The runs of a runner, in the order of their ids.
CREATE INDEX run_runner ON run (runner, id);
