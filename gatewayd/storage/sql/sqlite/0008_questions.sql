-- What executions have asked in a chat, and what was answered there: how an answer finds what waits for it, and what the
-- session remembers. `answered` is 0 while nobody has. `crc` seals a row; all rows of an execution go with its end.

CREATE TABLE questions (
  execution_id TEXT NOT NULL,
  number INTEGER NOT NULL,
  node_id TEXT NOT NULL,
  prompt TEXT NOT NULL,
  asked REAL NOT NULL,
  answer TEXT NOT NULL,
  message_id TEXT NOT NULL,
  answered REAL NOT NULL,
  crc INTEGER NOT NULL,
  PRIMARY KEY (execution_id, number)
) WITHOUT ROWID;
