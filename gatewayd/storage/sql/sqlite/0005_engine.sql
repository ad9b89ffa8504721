-- What agents of the message engine asked to find again: of one instance, or of many under a name. `crc` seals a row.

CREATE TABLE agent_states (
  key TEXT NOT NULL,
  state TEXT NOT NULL,
  saved REAL NOT NULL,
  crc INTEGER NOT NULL
);
CREATE UNIQUE INDEX agent_states_key ON agent_states (key);
