"""The paired tills as the box keeps them: tokens and keys only as hashes, one row a till, whole on disk."""

import hashlib
from pathlib import Path

import msgspec
import pytest

from appliance.domain.errors import ConfigError, Unauthenticated
from appliance.domain.pairing import TillRow
from appliance.gateways.tills import TillBook
from appliance.services.presence import CONSOLE, Presence
from tests.fakes.clock import FakeClock

CERTIFICATE, OTHER, SPKI = "c" * 64, "d" * 64, "p" * 43


def digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


BOUND = TillRow("T1", digest("one"), CERTIFICATE, SPKI, "Caisse 1", "2026-11-22T08:30:00.000Z", "console")
INHERITED = TillRow("T2", spki="q" * 43, name="Caisse 2", by="swap")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tills.json"


async def test_a_token_bound_to_a_key_is_good_only_with_it(path: Path) -> None:
    book = TillBook(path)
    await book.put(BOUND)

    assert book.who(digest("one"), CERTIFICATE) == "T1"
    assert book.who(digest("one"), OTHER) is None
    assert book.who(digest("one"), None) is None
    assert book.who(digest("two"), CERTIFICATE) is None


async def test_a_till_that_was_inherited_has_no_token_until_it_comes(path: Path) -> None:
    book = TillBook(path)
    await book.put(INHERITED)

    assert book.inherited(INHERITED.spki) == INHERITED
    assert book.who("", None) is None
    await book.put(msgspec.structs.replace(INHERITED, token_sha256=digest("two")))
    assert book.inherited(INHERITED.spki) is None


async def test_rows_are_on_disk_and_a_later_one_of_the_same_name_wins(path: Path) -> None:
    book = TillBook(path)
    for row in (INHERITED, BOUND, msgspec.structs.replace(BOUND, token_sha256=digest("new"))):
        await book.put(row)
    assert await book.rename("T2", "Terrasse")
    assert not await book.rename("T9", "Nowhere")

    again = TillBook(path)
    await again.refresh()

    assert [(row.till, row.name) for row in again.rows()] == [("T1", "Caisse 1"), ("T2", "Terrasse")]
    assert again.who(digest("one"), CERTIFICATE) is None
    assert again.who(digest("new"), CERTIFICATE) == "T1"


async def test_a_till_that_was_removed_is_known_no_more(path: Path) -> None:
    book = TillBook(path)
    await book.put(BOUND)

    assert await book.remove("T1")
    assert not await book.remove("T1")

    assert book.who(digest("one"), CERTIFICATE) is None


def test_a_file_of_an_earlier_release_is_read(path: Path) -> None:
    path.write_text(f'{{"{digest("old")}":"T1"}}')
    book = TillBook(path)
    book.load()

    assert book.who(digest("old"), None) == "T1"
    assert [row.certificate_sha256 for row in book.rows()] == [None]


def test_a_damaged_file_is_named(path: Path) -> None:
    path.write_text("[1]")

    with pytest.raises(ConfigError, match=r"tills\.json"):
        TillBook(path).load()


def test_a_new_token_ends_the_one_before(path: Path) -> None:
    book = TillBook(path)

    first, second = book.pair("T1"), book.pair("T1")

    assert (book.who(digest(first), None), book.who(digest(second), None)) == (None, "T1")


async def test_the_boxs_own_token_is_taken_from_the_box_alone(path: Path) -> None:
    book, clock = TillBook(path), FakeClock()
    await book.put(TillRow(CONSOLE, digest("console")))
    presence = Presence(book, clock)

    assert await presence.identify("Bearer console", None, "127.0.0.1") == CONSOLE
    assert await presence.identify("Bearer console", None, "::1") == CONSOLE
    for remote in ("192.168.1.20", ""):
        with pytest.raises(Unauthenticated):
            await presence.identify("Bearer console", None, remote)


async def test_a_till_is_known_by_its_token_and_its_key_from_anywhere(path: Path) -> None:
    book = TillBook(path)
    await book.put(BOUND)
    presence = Presence(book, FakeClock())

    assert await presence.identify("Bearer one", CERTIFICATE, "192.168.1.20") == "T1"
    with pytest.raises(Unauthenticated):
        await presence.identify("Bearer one", None, "192.168.1.20")
    assert presence.count() == 1
