-- The first schema. Applied files are never edited: a change is a new file with the next number.
--
-- `crc` seals a row's values (gatewayd/storage/sqlite/seal.py); a row whose seal does not fit is damaged.
-- Texts are never NULL: '' is "none", and 0 is "never" for a time.

CREATE TABLE meta (
  name TEXT PRIMARY KEY,
  value TEXT NOT NULL,
  crc INTEGER NOT NULL
) WITHOUT ROWID;

-- Rows and bytes by table, kept with every commit, so that retention by count and bytes needs no scan.
-- `last` is the highest seq ever given out, which the events alone cannot tell once all of them are swept.
CREATE TABLE totals (
  name TEXT PRIMARY KEY,
  rows INTEGER NOT NULL,
  bytes INTEGER NOT NULL,
  last INTEGER NOT NULL,
  crc INTEGER NOT NULL
) WITHOUT ROWID;

-- No index beside the key: an append must be cheap, and readers scan in bounded windows.
CREATE TABLE events (
  seq INTEGER PRIMARY KEY,
  type INTEGER NOT NULL,
  stream_id TEXT NOT NULL,
  node_id TEXT NOT NULL,
  execution_id TEXT NOT NULL,
  session_id TEXT NOT NULL,
  correlation_id TEXT NOT NULL,
  topic TEXT NOT NULL,
  owner TEXT NOT NULL,
  time REAL NOT NULL,
  wire BLOB NOT NULL,
  crc INTEGER NOT NULL
);

-- Ids that were taken in. `ref` is what became of the first: a seq, or MESSAGE_ID EXECUTION_ID.
CREATE TABLE seen (
  scope TEXT NOT NULL,
  id TEXT NOT NULL,
  digest BLOB NOT NULL,
  ref TEXT NOT NULL,
  time REAL NOT NULL,
  crc INTEGER NOT NULL,
  PRIMARY KEY (scope, id)
) WITHOUT ROWID;
CREATE INDEX seen_time ON seen (time);

CREATE TABLE inbox (
  message_id TEXT PRIMARY KEY,
  origin TEXT NOT NULL,
  principal TEXT NOT NULL,
  channel TEXT NOT NULL,
  chat TEXT NOT NULL,
  peer TEXT NOT NULL,
  platform_id TEXT NOT NULL,
  context TEXT NOT NULL,
  text TEXT NOT NULL,
  received REAL NOT NULL,
  crc INTEGER NOT NULL
);
CREATE INDEX inbox_platform ON inbox (platform_id) WHERE platform_id <> '';

-- The story of a message. `outcome` is the state that the last sent piece will give it, `unsent` how many are left.
-- Here and below, `input_crc` seals what never changes, `crc` the key and what does.
CREATE TABLE ledger (
  message_id TEXT PRIMARY KEY,
  rule TEXT NOT NULL,
  agent TEXT NOT NULL,
  session_id TEXT NOT NULL,
  execution_id TEXT NOT NULL,
  origin TEXT NOT NULL,
  principal TEXT NOT NULL,
  channel TEXT NOT NULL,
  created REAL NOT NULL,
  input_crc INTEGER NOT NULL,
  state TEXT NOT NULL,
  outcome TEXT NOT NULL,
  unsent INTEGER NOT NULL,
  updated REAL NOT NULL,
  steps TEXT NOT NULL,
  crc INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX ledger_session ON ledger (session_id) WHERE session_id <> '';

CREATE TABLE sessions (
  id TEXT PRIMARY KEY,
  key TEXT NOT NULL,
  principal TEXT NOT NULL,
  created REAL NOT NULL,
  input_crc INTEGER NOT NULL,
  agent TEXT NOT NULL,
  channel TEXT NOT NULL,
  rule TEXT NOT NULL,
  last_active REAL NOT NULL,
  ended REAL NOT NULL,
  end_reason TEXT NOT NULL,
  messages INTEGER NOT NULL,
  bytes INTEGER NOT NULL,
  next_place INTEGER NOT NULL,
  crc INTEGER NOT NULL
) WITHOUT ROWID;
CREATE UNIQUE INDEX sessions_active ON sessions (key) WHERE ended = 0;
CREATE INDEX sessions_ended ON sessions (ended) WHERE ended <> 0;
CREATE INDEX sessions_idle ON sessions (last_active) WHERE ended = 0;

CREATE TABLE history (
  session_id TEXT NOT NULL,
  place INTEGER NOT NULL,
  role TEXT NOT NULL,
  content TEXT NOT NULL,
  time REAL NOT NULL,
  execution_id TEXT NOT NULL,
  crc INTEGER NOT NULL,
  PRIMARY KEY (session_id, place)
) WITHOUT ROWID;

CREATE TABLE executions (
  id TEXT PRIMARY KEY,
  message_id TEXT NOT NULL,
  session_id TEXT NOT NULL,
  agent TEXT NOT NULL,
  principal TEXT NOT NULL,
  origin TEXT NOT NULL,
  text TEXT NOT NULL,
  reply_kind TEXT NOT NULL,
  reply_channel TEXT NOT NULL,
  reply_chat TEXT NOT NULL,
  reply_thread TEXT NOT NULL,
  reply_quote TEXT NOT NULL,
  reply_client TEXT NOT NULL,
  stream_id TEXT NOT NULL,
  correlation_id TEXT NOT NULL,
  idempotency_key TEXT NOT NULL,
  created REAL NOT NULL,
  input_crc INTEGER NOT NULL,
  state TEXT NOT NULL,
  reason TEXT NOT NULL,
  attempts INTEGER NOT NULL,
  output TEXT NOT NULL,
  error TEXT NOT NULL,
  started REAL NOT NULL,
  finished REAL NOT NULL,
  crc INTEGER NOT NULL
);
CREATE INDEX executions_session ON executions (session_id) WHERE session_id <> '';
CREATE INDEX executions_ended ON executions (finished)
  WHERE state IN ('succeeded', 'failed', 'cancelled');
CREATE INDEX executions_live ON executions (session_id)
  WHERE state IN ('queued', 'running', 'paused', 'input_required');

CREATE TABLE outbox (
  id TEXT PRIMARY KEY,
  key TEXT NOT NULL,
  channel TEXT NOT NULL,
  chat TEXT NOT NULL,
  thread TEXT NOT NULL,
  quote TEXT NOT NULL,
  text TEXT NOT NULL,
  message_id TEXT NOT NULL,
  execution_id TEXT NOT NULL,
  created REAL NOT NULL,
  input_crc INTEGER NOT NULL,
  state TEXT NOT NULL,
  attempts INTEGER NOT NULL,
  next_time REAL NOT NULL,
  platform_id TEXT NOT NULL,
  reason TEXT NOT NULL,
  crc INTEGER NOT NULL
);
CREATE INDEX outbox_message ON outbox (message_id);
CREATE INDEX outbox_pending ON outbox (channel, id) WHERE state IN ('queued', 'sending');
CREATE INDEX outbox_platform ON outbox (platform_id) WHERE platform_id <> '';

CREATE TABLE dead_letters (
  id TEXT PRIMARY KEY,
  kind TEXT NOT NULL,
  message_id TEXT NOT NULL,
  reference TEXT NOT NULL,
  channel TEXT NOT NULL,
  reason TEXT NOT NULL,
  time REAL NOT NULL,
  retried REAL NOT NULL,
  crc INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX dead_letters_open ON dead_letters (message_id) WHERE retried = 0;

CREATE TABLE audit (
  number INTEGER PRIMARY KEY,
  time REAL NOT NULL,
  principal TEXT NOT NULL,
  action TEXT NOT NULL,
  subject TEXT NOT NULL,
  decision TEXT NOT NULL,
  detail TEXT NOT NULL,
  crc INTEGER NOT NULL
);

CREATE TABLE revoked (
  token_sha256 TEXT PRIMARY KEY,
  time REAL NOT NULL,
  crc INTEGER NOT NULL
) WITHOUT ROWID;
