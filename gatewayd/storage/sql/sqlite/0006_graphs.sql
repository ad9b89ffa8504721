-- What executions of graphs came to, in figures. A row is written with the end of its execution and goes with it.

CREATE TABLE graph_results (
  execution_id TEXT PRIMARY KEY,
  result TEXT NOT NULL,
  crc INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TRIGGER graph_results_go AFTER DELETE ON executions BEGIN
  DELETE FROM graph_results WHERE execution_id = OLD.id;
END;
