"""The steps from an empty database to the tables of this release (Alembic). A released step is never edited."""
