-- Paused executions that go on when a worker of an agent is there; a row goes when its execution goes on, is paused on
-- purpose, or ends.

CREATE TABLE absences (
  execution_id TEXT PRIMARY KEY,
  agent TEXT NOT NULL,
  crc INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX absences_agent ON absences (agent, execution_id);
