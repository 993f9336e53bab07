"""`storebox export`, `verify` and `rescue` as a technician runs them, against a real head office."""

import asyncio
import random
import sqlite3
import tarfile
from collections.abc import AsyncIterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from appliance.cli import main
from appliance.config import load_config
from appliance.domain import event as chain
from appliance.gateways.identity import Identity
from appliance.gateways.tills import TillBook
from appliance.runtime.database import open_reader
from appliance.runtime.files import write_whole
from appliance.storage import journal_tables as tables
from appliance.storage.commit import Sealer
from appliance.storage.journal import open_journal
from appliance.wiring import files_in, open_box
from tests.fakes.clock import FakeClock
from tests.fakes.journals import a_draft
from tests.fakes.sales import a_trading_day
from tests.integration.cloud.conftest import World, a_world


@pytest.fixture
async def token(world: World, monkeypatch: pytest.MonkeyPatch) -> str:
    """A technician's token, in the environment."""
    token = await world.technician_token()
    monkeypatch.setenv("STOREBOX_RESCUE_TOKEN", token)
    return token


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with a_world(tmp_path / "cloud", FakeClock()) as world:
        yield world


async def storebox(*arguments: str | Path) -> int:
    """The exit code of a command."""
    with pytest.raises(SystemExit) as left:
        await asyncio.to_thread(main, [str(argument) for argument in arguments])
    assert isinstance(left.value.code, int)
    return left.value.code


async def a_box(world: World, folder: Path) -> Path:
    """An enrolled box that sold 20 tickets and is stopped; its configuration."""
    config = folder / "storebox.toml"
    lines = f'state = "{folder}/state"\n[lan]\nhost = "127.0.0.1"\nport = 0\ntls = "off"\n[mdns]\nenabled = false\n'
    await asyncio.to_thread(folder.mkdir)
    await asyncio.to_thread(config.write_text, lines)
    assert await storebox("enrol", "--config", config, "--claim", await world.claim()) == 0
    identity = await asyncio.to_thread(Identity, folder / "state")
    sealer = Sealer(identity.box, identity.signer, FakeClock())
    async with open_journal(folder / "state" / "journal.db", sealer) as journal:
        for sale in a_trading_day(random.Random(1), 20):
            await journal.append(a_draft(sale))
    return config


def kinds(config: Path) -> list[str]:
    reader = open_reader(config.parent / "state" / "journal.db")
    try:
        return [chain.read(row.body).link.kind for row in tables.events(reader, 0)]
    finally:
        reader.close()


def another_database(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE other (id INTEGER PRIMARY KEY)")


def unpack(tar: Path, folder: Path) -> None:
    with tarfile.open(tar) as file:
        file.extractall(folder, filter="data")


async def test_a_stopped_box_exports_and_says_so_in_its_chain(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = await a_box(world, tmp_path / "box")

    assert await storebox("export", "--config", config, "--to", tmp_path / "out") == 0
    assert await storebox("verify", tmp_path / "out") == 0

    assert "21 events in 1 epochs" in capsys.readouterr().out
    assert kinds(config)[-1] == "exported"
    assert await storebox("verify", "--config", config) == 0


async def test_a_running_box_exports_and_says_so_in_its_chain(world: World, tmp_path: Path) -> None:
    config = await a_box(world, tmp_path / "box")
    loaded = await asyncio.to_thread(load_config, config)
    async with open_box(loaded, FakeClock(), random.Random(1)) as url:
        await asyncio.to_thread(write_whole, files_in(loaded).url, url.encode(), mode=0o644)

        assert await storebox("export", "--config", config, "--to", tmp_path / "out") == 0

        assert "exported" in await asyncio.to_thread(kinds, config)
    assert await storebox("verify", tmp_path / "out") == 0


async def test_an_export_that_was_changed_is_named_with_exit_code_1(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = await a_box(world, tmp_path / "box")
    await storebox("export", "--config", config, "--to", tmp_path / "out")
    events = tmp_path / "out" / "events.jsonl"
    text = await asyncio.to_thread(events.read_bytes)
    await asyncio.to_thread(events.write_bytes, text.replace(b'"seq":7,', b'"seq":8,', 1))
    capsys.readouterr()

    assert await storebox("verify", tmp_path / "out") == 1

    assert "FAULT at 1/8: gap" in capsys.readouterr().out


@pytest.mark.usefixtures("token")
async def test_a_dead_box_s_folder_is_verified_and_rescued_on_its_successor(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dead = await a_box(world, tmp_path / "dead")
    successor = await a_box(world, tmp_path / "successor")

    assert await storebox("verify", dead.parent / "state") == 0
    assert await storebox("rescue", dead.parent / "state", "--config", successor) == 0
    assert await storebox("rescue", dead.parent / "state" / "journal.db", "--config", successor) == 0

    assert capsys.readouterr().out.count("21 recovered, 0 missing") == 2
    assert len((await world.read("/v1/sales")).lines()) == 20


@pytest.mark.usefixtures("token")
async def test_journals_that_were_set_aside_are_rescued_with_the_folder(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dead = await a_box(world, tmp_path / "dead")
    successor = await a_box(world, tmp_path / "successor")
    state = dead.parent / "state"
    await asyncio.to_thread((state / "journal.db").rename, state / "journal.db.aside-1")
    await asyncio.to_thread((state / "journal.db.aside-1-wal").write_bytes, b"")

    assert await storebox("rescue", state, "--config", successor) == 0

    assert "journal.db.aside-1, of sb-" in (out := capsys.readouterr().out)
    assert out.count("21 recovered, 0 missing") == 1


async def test_nobody_rescues_without_a_technician_s_token(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = await a_box(world, tmp_path / "box")
    state, url = config.parent / "state", str(world.session._base_url)
    expired = await world.technician_token(hours=1)
    world.clock.jump_wall(timedelta(hours=2))

    assert await storebox("rescue", state, "--config", config) == 2
    assert "storebox-cloud technician-token" in capsys.readouterr().err
    token = tmp_path / "token"
    await asyncio.to_thread(token.write_text, f"{expired}\n")
    assert await storebox("rescue", state, "--cloud", url, "--work", tmp_path, "--token-file", token) == 1
    assert "the token has expired" in capsys.readouterr().err
    assert (
        await storebox("rescue", state, "--cloud", url, "--work", tmp_path / "no", "--token-file", token) == 2
    )
    assert await storebox("rescue", state, "--cloud", url, "--token-file", tmp_path / "no") == 2
    assert "cannot be read" in capsys.readouterr().err


async def test_a_token_is_no_option_of_any_command_of_the_box(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await storebox("rescue", tmp_path, "--cloud", "https://x", "--token", "secret") == 2


@pytest.mark.usefixtures("token")
async def test_misuse_is_told_with_exit_code_2(world: World, tmp_path: Path) -> None:
    config = await a_box(world, tmp_path / "box")

    assert await storebox("verify", tmp_path / "nothing") == 2
    assert await storebox("rescue", tmp_path / "nothing", "--config", config) == 2
    assert await storebox("export", "--config", config, "--to", config.parent) == 2
    await asyncio.to_thread((tmp_path / "loose.db").write_bytes, b"no journal at all")
    assert await storebox("verify", tmp_path / "loose.db") == 2
    assert await storebox("rescue", tmp_path / "loose.db", "--config", config) == 1
    assert await storebox("rescue", config.parent / "state" / "tills.json", "--config", config) in (1, 2)
    assert await storebox("rescue", tmp_path, "--config", config) == 2
    await asyncio.to_thread(another_database, tmp_path / "other.db")
    assert await storebox("rescue", tmp_path / "other.db", "--config", config) == 1
    assert await storebox("verify", tmp_path / "other.db", "--key", tmp_path / "none.pem") == 1


async def test_the_export_streams_as_a_tar(
    world: World, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    config = await a_box(world, tmp_path / "box")
    capfdbinary.readouterr()

    assert await storebox("export", "--config", config, "--to", "-") == 0

    tar, out = tmp_path / "out.tar", tmp_path / "out"
    await asyncio.to_thread(tar.write_bytes, capfdbinary.readouterr().out)
    await asyncio.to_thread(unpack, tar, out)
    assert await storebox("verify", out) == 0


async def test_a_till_cannot_say_that_the_journal_was_exported(world: World, tmp_path: Path) -> None:
    config = await a_box(world, tmp_path / "box")
    loaded = await asyncio.to_thread(load_config, config)
    token = await asyncio.to_thread(TillBook(files_in(loaded).tills).pair, "T1")
    async with open_box(loaded, FakeClock(), random.Random(1)) as url:
        headers = {"Authorization": f"Bearer {token}"}
        note = {"epoch": 1, "seq": 1, "events": 1}
        async with world.session.post(f"{url}/v1/exports", json=note, headers=headers) as answer:
            assert answer.status == 403

    assert "exported" not in await asyncio.to_thread(kinds, config)


async def test_head_office_tells_of_a_dead_box_only_to_technicians_of_its_shop(world: World) -> None:
    dead = await world.enrolled(7)
    stranger = await world.enrolled(9, shop="S001", name="Lille")
    path = f"/v1/rescue/{dead.box.name}"

    assert (await world.ask("GET", path)).status == 401
    assert (await world.ask("GET", path, await world.till_token())).status == 403
    assert (await world.ask("GET", path, stranger.token)).status == 403
    assert (await world.ask("GET", path, dead.token)).status == 403
    assert (await world.ask("GET", path, await world.technician_token("S001"))).status == 403
    assert (await world.read("/v1/rescue/sb-unknown")).status == 404
    assert (await world.ask("GET", path, await world.technician_token())).json()["shop"] == "S042"
