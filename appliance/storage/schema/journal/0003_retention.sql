-- What stays when events leave after their retention (docs/decisions/0011-retention.md).

-- Where an epoch begins now: `envelope` is the box's signed anchor for the last event that was pruned, `receipt` the
-- cloud's receipt that allowed it.
CREATE TABLE anchor (
    epoch    INTEGER PRIMARY KEY,
    seq      INTEGER NOT NULL,
    envelope BLOB NOT NULL,
    receipt  BLOB NOT NULL
) STRICT;

-- When the cloud held everything up to a place: a receipt's signed time (Unix seconds), written down only when this
-- box's own clock agreed with it, and at most once an hour.
CREATE TABLE receipted (
    place INTEGER PRIMARY KEY,
    at    INTEGER NOT NULL
) STRICT;

-- Idempotency for ever: what the ack of a pruned sale repeats (its event's hash, and a stub of its content). The
-- signed head that covers it stays in `head`.
CREATE TABLE kept (
    place INTEGER PRIMARY KEY,
    hash  BLOB NOT NULL,
    stub  BLOB NOT NULL
) STRICT;
