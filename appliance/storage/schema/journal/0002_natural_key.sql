-- What is known of ticket numbers: (till, business date, number) is the natural key of a sale.

-- All three tables are a fold over the chain up to `through`, written every few hundred events in the transaction of a
-- commit group; what lies behind is read from the events (appliance/storage/ticket_book.py). So a sale alone in its
-- group writes no page for them.

-- The numbers seen of one till on one day, as the places where membership changes (msgpack): [1, 412] is 1 to 411.
-- A gapless day is one small row, however many tickets it has.
CREATE TABLE ticket_day (
    day    INTEGER NOT NULL, -- the business date's ordinal, so that today's rows stand together
    till   TEXT NOT NULL,
    bounds BLOB NOT NULL,
    PRIMARY KEY (day, till)
) STRICT, WITHOUT ROWID;

-- Each till's newest ticket.
CREATE TABLE till_last (
    till    TEXT PRIMARY KEY,
    day     INTEGER NOT NULL,
    number  INTEGER NOT NULL,
    ended_s REAL NOT NULL,
    stretch INTEGER -- NULL: its till was selling to head office then
) STRICT, WITHOUT ROWID;

-- One row. `stretch` counts the changes of the mode that the box proposes; `open`: it proposes `cloud` now.
CREATE TABLE ticket_book (
    id      INTEGER PRIMARY KEY CHECK (id = 1),
    through INTEGER NOT NULL, -- a place, as in `event`
    stretch INTEGER NOT NULL,
    open    INTEGER NOT NULL
) STRICT;

INSERT INTO ticket_book (id, through, stretch, open) VALUES (1, 0, 0, 0);
