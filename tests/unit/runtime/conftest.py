"""A database for each test that asks for one."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from appliance.runtime.database import Writer, open_writer
from tests.fakes.tables import make_tables


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


@pytest.fixture
async def writer(path: Path) -> AsyncIterator[Writer]:
    """A writer with two empty tables whose rows belong together."""
    async with open_writer(path) as writer:
        await writer.transaction(make_tables)
        yield writer
