"""What Alembic runs for each upgrade: on the connection and inside the transaction that the caller opened."""

from alembic import context

from cloud.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
