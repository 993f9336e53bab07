-- The last signed head that each box acked a sale of this till with. It outlives the copy that it came with: a box that
-- lost its end gets that copy again, at another place.
CREATE TABLE witness (
    box TEXT PRIMARY KEY,
    epoch INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    head BLOB NOT NULL
) STRICT, WITHOUT ROWID;
