"""Tokens that end by themselves: those of technicians."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the column; the tokens of boxes and tills have no end."""
    op.add_column("credential", sa.Column("expires_at", sa.Text(), nullable=True))
