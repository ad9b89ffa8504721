-- Ids that were taken in, by the batches in which they came: `seen` finds the batch of an id, which holds the rest.
--
-- A batch costs one row and one seal, however many ids are in it. Batches are numbered as they came, so that the oldest
-- are found without an index by time. `ids` and `refs` are JSON arrays; `digests`, all of one length, stand one behind
-- the other. The ids of before become batches of one: `reseal` gives a seal that fits if the row's own did.

ALTER TABLE seen RENAME TO seen_before;

CREATE TABLE seen_batches (
  number INTEGER PRIMARY KEY,
  scope TEXT NOT NULL,
  ids TEXT NOT NULL,
  digests BLOB NOT NULL,
  refs TEXT NOT NULL,
  time REAL NOT NULL,
  crc INTEGER NOT NULL
);
INSERT INTO seen_batches
  SELECT row_number() OVER (ORDER BY time, scope, id), scope, json_array(id), digest, json_array(ref), time,
    reseal(scope, id, digest, ref, time, crc, json_array(id), json_array(ref))
  FROM seen_before;

CREATE TABLE seen (
  scope TEXT NOT NULL,
  id TEXT NOT NULL,
  batch INTEGER NOT NULL,
  PRIMARY KEY (scope, id)
) WITHOUT ROWID;
INSERT INTO seen SELECT scope, id, row_number() OVER (ORDER BY time, scope, id) FROM seen_before;

DROP TABLE seen_before;
