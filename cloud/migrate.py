"""Bring head office's database to this release's tables, or refuse when it belongs to a newer release."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.util.exc import CommandError

from appliance.domain.errors import SchemaTooNew
from cloud.database import plain_connection

_STEPS = Path(__file__).with_name("migrations")


def migrate(path: Path) -> None:
    """Apply the missing steps, all in one transaction. Blocks; use inside `alone`. Raises SchemaTooNew."""
    config = Config()
    config.set_main_option("script_location", str(_STEPS).replace("%", "%%"))
    with plain_connection(path) as connection, connection.begin():
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, "head")
        except CommandError as error:
            raise SchemaTooNew(f"the database does not belong to this release: {error}") from error
