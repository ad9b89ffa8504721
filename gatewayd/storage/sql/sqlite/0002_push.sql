-- Push topics, who acknowledges there, and what waits for them.
--
-- `crc` seals a row's values, as in the first schema.

CREATE TABLE push_topics (
  name TEXT PRIMARY KEY,
  owner TEXT NOT NULL,
  metadata TEXT NOT NULL,
  created REAL NOT NULL,
  crc INTEGER NOT NULL
) WITHOUT ROWID;

-- Members that acknowledge; the others are nobody's memory but the daemon's. `seen` is when one was last there.
CREATE TABLE push_members (
  topic TEXT NOT NULL,
  principal TEXT NOT NULL,
  client_id TEXT NOT NULL,
  joined REAL NOT NULL,
  seen REAL NOT NULL,
  crc INTEGER NOT NULL,
  PRIMARY KEY (topic, principal, client_id)
) WITHOUT ROWID;

-- Each message once, for as long as a delivery of it is pending.
CREATE TABLE push_messages (
  id TEXT PRIMARY KEY,
  wire BLOB NOT NULL,
  crc INTEGER NOT NULL
);

-- One row for a recipient and a message. `attempts` counts deliveries that may have happened, `retries` those that
-- were not acknowledged in time.
CREATE TABLE push_pending (
  principal TEXT NOT NULL,
  client_id TEXT NOT NULL,
  message_id TEXT NOT NULL,
  topic TEXT NOT NULL,
  size INTEGER NOT NULL,
  expires REAL NOT NULL,
  attempts INTEGER NOT NULL,
  retries INTEGER NOT NULL,
  crc INTEGER NOT NULL,
  PRIMARY KEY (principal, client_id, message_id)
) WITHOUT ROWID;
CREATE INDEX push_pending_message ON push_pending (message_id);
CREATE INDEX push_pending_expires ON push_pending (expires);

CREATE TABLE push_dead_letters (
  number INTEGER PRIMARY KEY,
  principal TEXT NOT NULL,
  client_id TEXT NOT NULL,
  topic TEXT NOT NULL,
  message_id TEXT NOT NULL,
  reason TEXT NOT NULL,
  attempts INTEGER NOT NULL,
  time REAL NOT NULL,
  wire BLOB NOT NULL,
  crc INTEGER NOT NULL
);
