-- The trace that an execution is a part of, for its next run; none for most. A row goes with its execution.

CREATE TABLE traces (
  execution_id TEXT PRIMARY KEY,
  traceparent TEXT NOT NULL,
  crc INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TRIGGER traces_go AFTER DELETE ON executions BEGIN
  DELETE FROM traces WHERE execution_id = OLD.id;
END;
