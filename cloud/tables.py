"""The tables of head office. Types are those that SQLite and PostgreSQL both keep exactly.

Instants are RFC 3339 text in UTC with milliseconds: as text they sort by time. Hashes are 32 raw bytes.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
)

metadata = MetaData()

# SQLite numbers rows by itself only in a column that is exactly INTEGER.
_row_number = BigInteger().with_variant(Integer(), "sqlite")

shop = Table(
    "shop",
    metadata,
    Column("shop", Text, primary_key=True),
    Column("name", Text, nullable=False),
)

enrol_token = Table(
    "enrol_token",
    metadata,
    Column("token_sha256", LargeBinary, primary_key=True),
    Column("shop", Text, ForeignKey("shop.shop"), nullable=False),
    Column("expires_at", Text, nullable=False),
    # The box that used it: a token lets in one key, however often that key asks.
    Column("used_by", Text),
    Column("used_at", Text),
    # Only the box with this key may use it; empty: any.
    Column("key_hash", Text, nullable=False, server_default=""),
    # The dead box whose place the new one takes; empty: none.
    Column("replaces", Text, nullable=False, server_default=""),
)

box = Table(
    "box",
    metadata,
    Column("box", Text, primary_key=True),
    Column("shop", Text, ForeignKey("shop.shop"), nullable=False),
    # The key it enrolled with, from which its name follows; those after it are in `box_key`.
    Column("public_key", Text, nullable=False),
    Column("enrolled_at", Text, nullable=False),
    # Without TLS these are not there. Certificates are PEM, whole chains, as they were answered.
    Column("tls_spki", Text),
    Column("certificate", Text),
    Column("lan_certificate", Text),
    # Of both requests together: the same ones are answered with the same certificates.
    Column("csr_sha256", LargeBinary),
    Column("revoked_at", Text),
    Column("revoked_why", Text),
)

# The event keys of a box that has changed it. `retired_epoch`: in it the box told of the next one, and from then on
# this one signs nothing new there, nor in a later epoch.
box_key = Table(
    "box_key",
    metadata,
    Column("box", Text, ForeignKey("box.box"), primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("fp", Text, nullable=False),
    Column("public_key", Text, nullable=False),
    Column("retired_epoch", BigInteger),
)

# The tills of each box, so that a successor knows them again.
till_record = Table(
    "till_record",
    metadata,
    Column("box", Text, ForeignKey("box.box"), primary_key=True),
    Column("till", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("spki", Text, nullable=False),
)

# Told to the box in the answers to its heartbeats until it ends. The secret is shown in a QR code for minutes.
pairing_order = Table(
    "pairing_order",
    metadata,
    Column("box", Text, ForeignKey("box.box"), primary_key=True),
    Column("order", Text, nullable=False),
    Column("secret", Text, nullable=False),
    Column("until", Text, nullable=False),
)

succession = Table(
    "succession",
    metadata,
    Column("old", Text, ForeignKey("box.box"), primary_key=True),
    Column("new", Text, nullable=False),
    Column("envelope", LargeBinary, nullable=False),
)

# Who did what to who may come in; `data` is JSON and never holds a secret.
audit = Table(
    "audit",
    metadata,
    Column("number", _row_number, primary_key=True, autoincrement=True),
    Column("at", Text, nullable=False),
    Column("who", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("data", LargeBinary, nullable=False),
)

# One token per box, till and technician (`subject`); the token itself is known only to who holds it.
credential = Table(
    "credential",
    metadata,
    Column("role", Text, primary_key=True),
    Column("shop", Text, primary_key=True),
    Column("subject", Text, primary_key=True),
    Column("token_sha256", LargeBinary, nullable=False, unique=True),
    Column("expires_at", Text),
)

heartbeat = Table(
    "heartbeat",
    metadata,
    Column("number", _row_number, primary_key=True, autoincrement=True),
    Column("box", Text, ForeignKey("box.box"), nullable=False),
    Column("at", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Index("heartbeat_by_box", "box", "number"),
)

# The end of each chain that head office holds.
epoch = Table(
    "epoch",
    metadata,
    Column("box", Text, ForeignKey("box.box"), primary_key=True),
    Column("epoch", BigInteger, primary_key=True),
    Column("seq", BigInteger, nullable=False),
    Column("head", LargeBinary, nullable=False),
)

# Append-only: verbatim bytes, exactly once per place.
event = Table(
    "event",
    metadata,
    Column("box", Text, primary_key=True),
    Column("epoch", BigInteger, primary_key=True),
    Column("seq", BigInteger, primary_key=True),
    Column("hash", LargeBinary, nullable=False),
    Column("body", LargeBinary, nullable=False),
)

# Rescued from a card behind events that could not be read: proven by a signed head, but in no whole chain.
loose_event = Table(
    "loose_event",
    metadata,
    Column("box", Text, primary_key=True),
    Column("epoch", BigInteger, primary_key=True),
    Column("seq", BigInteger, primary_key=True),
    Column("hash", LargeBinary, nullable=False),
    Column("body", LargeBinary, nullable=False),
)

# One row per sale id, for ever, whichever ways it came. `body` is there when the till brought it; else the
# sale stands in the event at (box, epoch, seq).
sale = Table(
    "sale",
    metadata,
    Column("sale_id", Text, primary_key=True),
    Column("sha256", LargeBinary, nullable=False),
    Column("till_id", Text, nullable=False),
    Column("business_date", Text, nullable=False),
    Column("ticket_number", BigInteger, nullable=False),
    Column("total_minor", BigInteger, nullable=False),
    Column("currency", Text, nullable=False),
    Column("training", Boolean, nullable=False),
    Column("flags", Text, nullable=False),
    Column("via", Text, nullable=False),
    Column("copies", BigInteger, nullable=False, server_default="0"),
    Column("stored_at", Text, nullable=False),
    Column("box", Text),
    Column("epoch", BigInteger),
    Column("seq", BigInteger),
    Column("body", LargeBinary),
)

# What the back office could not digest. `subject` names what it is about, so that asking again adds no row.
exception = Table(
    "exception",
    metadata,
    Column("number", _row_number, primary_key=True, autoincrement=True),
    Column("reason", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("at", Text, nullable=False),
    Column("box", Text),
    Column("epoch", BigInteger),
    Column("seq", BigInteger),
    Column("till", Text),
    Column("sale_id", Text),
    Column("detail", Text, nullable=False),
    Column("content", LargeBinary),
    Index("exception_once", "reason", "subject", unique=True),
    Index("exception_by_box", "box"),
)

# The state of every article, deleted ones as tombstones; `version` is the one that last changed it.
article = Table(
    "article",
    metadata,
    Column("article_id", Text, primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("deleted", Boolean, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Index("article_by_version", "version"),
)

catalogue = Table(
    "catalogue",
    metadata,
    Column("version", BigInteger, primary_key=True, autoincrement=False),
    Column("at", Text, nullable=False),
    Column("origin", Text, nullable=False),
    Column("changed", BigInteger, nullable=False),
    Column("deleted", BigInteger, nullable=False),
)

policy = Table(
    "policy",
    metadata,
    Column("version", BigInteger, primary_key=True, autoincrement=False),
    Column("at", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
)

operation = Table(
    "operation",
    metadata,
    Column("operation_id", Text, primary_key=True),
    Column("operation", Text, nullable=False),
    Column("asked_by", Text, nullable=False),
    Column("at", Text, nullable=False),
    Column("data", LargeBinary, nullable=False),
)

# What boxes can be offered; the file stands beside the database, under its hash.
bundle = Table(
    "bundle",
    metadata,
    Column("number", _row_number, primary_key=True, autoincrement=True),
    Column("version", Text, nullable=False),
    Column("compatible", Text, nullable=False),
    Column("sha256", Text, nullable=False, unique=True),
    Column("size", BigInteger, nullable=False),
    Column("floor", Text, nullable=False),
    Column("notes", LargeBinary, nullable=False),
    Column("at", Text, nullable=False),
)

# Who gets a bundle: boxes and shops by name (JSON), and a ring of so many percent of all.
rollout = Table(
    "rollout",
    metadata,
    Column("number", _row_number, primary_key=True, autoincrement=True),
    Column("bundle", BigInteger, ForeignKey("bundle.number"), nullable=False),
    Column("boxes", Text, nullable=False),
    Column("shops", Text, nullable=False),
    Column("percent", BigInteger, nullable=False),
    # So many boxes that went back stop it for all.
    Column("halt_after", BigInteger, nullable=False),
    Column("at", Text, nullable=False),
    Column("halted_at", Text),
    Column("halted_why", Text),
)

# What became of it on each box, as the box's own chain says.
update_outcome = Table(
    "update_outcome",
    metadata,
    Column("box", Text, ForeignKey("box.box"), primary_key=True),
    Column("rollout", BigInteger, primary_key=True, autoincrement=False),
    Column("kind", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("at", Text, nullable=False),
)
