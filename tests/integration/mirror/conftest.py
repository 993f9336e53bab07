"""A mirror on disk, and the file that a transfer comes in."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from appliance.storage.mirror import Mirror, open_mirror


@pytest.fixture
async def mirror(tmp_path: Path) -> AsyncIterator[Mirror]:
    async with open_mirror(tmp_path / "mirror.db") as opened:
        yield opened


@pytest.fixture
def incoming(tmp_path: Path) -> Path:
    return tmp_path / "incoming.zst"
