-- Which till this file belongs to: its ticket numbers are nobody else's.
CREATE TABLE till (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    till_id TEXT NOT NULL
) STRICT;

-- One row per ticket, never deleted here. `body` is what was sent, byte for byte.
-- `asked_cloud`: the cloud may hold it although no answer came. (epoch, seq, hash) and `head`, the box's signed
-- head, are this till's witness of the box's chain.
CREATE TABLE copy (
    id INTEGER PRIMARY KEY,
    ticket_number INTEGER NOT NULL,
    sale_id TEXT NOT NULL UNIQUE,
    body BLOB NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('pending', 'accepted', 'synced', 'refused', 'withdrawn')),
    asked_cloud INTEGER NOT NULL,
    way TEXT CHECK (way IN ('cloud', 'box')),
    box TEXT,
    epoch INTEGER,
    seq INTEGER,
    hash TEXT,
    head BLOB,
    box_answer BLOB,
    cloud_answer BLOB,
    code TEXT
) STRICT;

-- A withdrawn ticket never became one, so its number is free again.
CREATE UNIQUE INDEX copy_number ON copy (ticket_number) WHERE state <> 'withdrawn';

CREATE INDEX copy_open ON copy (state, id) WHERE state IN ('pending', 'accepted', 'refused');
