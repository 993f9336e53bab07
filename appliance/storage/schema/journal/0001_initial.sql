-- The journal: what must never be lost. Rows are only ever added, but for `receipt`, which keeps the last one per epoch.

-- `place` is epoch * 2^40 + seq: one integer that is the chain's order, so rows stand in that order in the table's own
-- tree and need no second index (an index over (epoch, seq) would add a third to the bytes written per sale).
CREATE TABLE event (
    place INTEGER PRIMARY KEY,
    body  BLOB NOT NULL
) STRICT;

-- Idempotency for ever: which event holds a sale. Ids are UUIDv7, so new rows land at the end of the tree.
CREATE TABLE sale (
    sale_id BLOB PRIMARY KEY,
    place   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Signed heads, one per commit group, at the place of the group's last event.
CREATE TABLE head (
    place    INTEGER PRIMARY KEY,
    envelope BLOB NOT NULL
) STRICT;

-- The cloud's last receipt of each epoch: it is also the drain's cursor, so draining writes one row per batch.
CREATE TABLE receipt (
    epoch    INTEGER PRIMARY KEY,
    seq      INTEGER NOT NULL,
    envelope BLOB NOT NULL
) STRICT;
