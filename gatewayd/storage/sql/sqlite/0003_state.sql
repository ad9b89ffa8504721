-- Shared state: named values of executions, of streams and of the whole gateway.
--
-- `crc` seals a row's values, as in the first schema. `version` is the seq of the event that told of the change, so it
-- grows over deletions, too. `expires` is 0 for what stays. What all rows take together is in `totals`.

CREATE TABLE state (
  scope TEXT NOT NULL,
  scope_id TEXT NOT NULL,
  key TEXT NOT NULL,
  value TEXT NOT NULL,
  version INTEGER NOT NULL,
  writer TEXT NOT NULL,
  updated REAL NOT NULL,
  expires REAL NOT NULL,
  crc INTEGER NOT NULL
);
CREATE UNIQUE INDEX state_place ON state (scope, scope_id, key);
CREATE INDEX state_expires ON state (expires) WHERE expires > 0;
