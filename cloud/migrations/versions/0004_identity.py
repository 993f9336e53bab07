"""Certificates, keys and revocation of boxes; claims for one box; tills, orders, successions and the audit."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add columns and tables; the boxes there are stay as they are, without certificates."""
    op.add_column("enrol_token", sa.Column("used_at", sa.Text(), nullable=True))
    for name in ("key_hash", "replaces"):
        op.add_column("enrol_token", sa.Column(name, sa.Text(), nullable=False, server_default=""))
    for name in ("tls_spki", "certificate", "lan_certificate", "revoked_at", "revoked_why"):
        op.add_column("box", sa.Column(name, sa.Text(), nullable=True))
    op.add_column("box", sa.Column("csr_sha256", sa.LargeBinary(), nullable=True))
    _tables_of_a_box()
    op.create_table(
        "succession",
        sa.Column("old", sa.Text(), nullable=False),
        sa.Column("new", sa.Text(), nullable=False),
        sa.Column("envelope", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["old"], ["box.box"]),
        sa.PrimaryKeyConstraint("old"),
    )
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "audit",
        sa.Column("number", number, autoincrement=True, nullable=False),
        sa.Column("at", sa.Text(), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("number"),
    )


def _tables_of_a_box() -> None:
    op.create_table(
        "box_key",
        sa.Column("box", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("fp", sa.Text(), nullable=False),
        sa.Column("public_key", sa.Text(), nullable=False),
        sa.Column("retired_epoch", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["box"], ["box.box"]),
        sa.PrimaryKeyConstraint("box", "number"),
    )
    op.create_table(
        "till_record",
        sa.Column("box", sa.Text(), nullable=False),
        sa.Column("till", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("spki", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["box"], ["box.box"]),
        sa.PrimaryKeyConstraint("box", "till"),
    )
    op.create_table(
        "pairing_order",
        sa.Column("box", sa.Text(), nullable=False),
        sa.Column("order", sa.Text(), nullable=False),
        sa.Column("secret", sa.Text(), nullable=False),
        sa.Column("until", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["box"], ["box.box"]),
        sa.PrimaryKeyConstraint("box"),
    )
