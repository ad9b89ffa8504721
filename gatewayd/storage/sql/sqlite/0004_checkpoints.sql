-- What executions go on from: checkpoints, the input that waits for them, and the tool calls that have begun; and what
-- they did, their logs.
--
-- `crc` seals a row's values, as in the first schema. All rows of an execution go with its end, but for its log, which
-- goes with its row. Checkpoints and entries are numbered within their execution, since a clock that was set back must not
-- bring an older checkpoint to the end; the seal does not cover the number, which is found while the row is inserted. What all rows of
-- `checkpoints` take together is in `totals`; so is the number of the others.

CREATE TABLE checkpoints (
  execution_id TEXT NOT NULL,
  number INTEGER NOT NULL,
  id TEXT NOT NULL UNIQUE,
  node_id TEXT NOT NULL,
  kind TEXT NOT NULL,
  state TEXT NOT NULL,
  output TEXT NOT NULL,
  created REAL NOT NULL,
  prompt TEXT NOT NULL,
  crc INTEGER NOT NULL
);
CREATE UNIQUE INDEX checkpoints_execution ON checkpoints (execution_id, number);

CREATE TABLE inputs (
  execution_id TEXT NOT NULL,
  node_id TEXT NOT NULL,
  content TEXT NOT NULL,
  time REAL NOT NULL,
  crc INTEGER NOT NULL,
  PRIMARY KEY (execution_id, node_id)
) WITHOUT ROWID;

CREATE TABLE begun_calls (
  execution_id TEXT NOT NULL,
  call_id TEXT NOT NULL,
  tool TEXT NOT NULL,
  time REAL NOT NULL,
  crc INTEGER NOT NULL,
  PRIMARY KEY (execution_id, call_id)
) WITHOUT ROWID;

CREATE TABLE execution_log (
  execution_id TEXT NOT NULL,
  number INTEGER NOT NULL,
  time REAL NOT NULL,
  kind TEXT NOT NULL,
  text TEXT NOT NULL,
  node_id TEXT NOT NULL,
  input_tokens INTEGER NOT NULL,
  output_tokens INTEGER NOT NULL,
  crc INTEGER NOT NULL,
  PRIMARY KEY (execution_id, number)
) WITHOUT ROWID;
