"""Updates: bundles, who gets them, and what became of them."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add three tables."""
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "bundle",
        sa.Column("number", number, autoincrement=True, nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("version", "compatible", "sha256")),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("floor", sa.Text(), nullable=False),
        sa.Column("notes", sa.LargeBinary(), nullable=False),
        sa.Column("at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("number"),
        sa.UniqueConstraint("sha256"),
    )
    op.create_table(
        "rollout",
        sa.Column("number", number, autoincrement=True, nullable=False),
        sa.Column("bundle", sa.BigInteger(), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("boxes", "shops")),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in ("percent", "halt_after")),
        sa.Column("at", sa.Text(), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=True) for name in ("halted_at", "halted_why")),
        sa.ForeignKeyConstraint(["bundle"], ["bundle.number"]),
        sa.PrimaryKeyConstraint("number"),
    )
    op.create_table(
        "update_outcome",
        sa.Column("box", sa.Text(), nullable=False),
        sa.Column("rollout", sa.BigInteger(), autoincrement=False, nullable=False),
        *(
            sa.Column(name, sa.Text(), nullable=False)
            for name in ("kind", "version", "reason", "detail", "at")
        ),
        sa.ForeignKeyConstraint(["box"], ["box.box"]),
        sa.PrimaryKeyConstraint("box", "rollout"),
    )
