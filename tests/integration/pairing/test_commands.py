"""The technician's commands beside a running box."""

import asyncio
import json
from pathlib import Path

import pytest

from appliance.cli import main
from appliance.domain.pairing import read_payload
from appliance.places import files_in
from tests.integration.pairing.conftest import TlsShop


class Commands:
    """`storebox`, with this box's configuration."""

    def __init__(self, shop: TlsShop, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self._file = folder / "box.toml"
        self._file.write_text(f'state = "{shop.config.state}"\n')
        files_in(shop.config).url.write_text(shop.url)
        self._capsys = capsys

    async def say(self, *words: str) -> tuple[int, str, str]:
        """Exit code, output, errors."""
        return await asyncio.to_thread(self._say, words)

    def _say(self, words: tuple[str, ...]) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main([*words, "--config", str(self._file)])
        told = self._capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, told.out, told.err


@pytest.fixture
async def commands(shop: TlsShop, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Commands:
    return await asyncio.to_thread(Commands, shop, tmp_path, capsys)


async def test_a_technician_opens_the_window_and_a_till_pairs_by_the_code(
    commands: Commands, shop: TlsShop
) -> None:
    code, told, _ = await commands.say("pairing", "open", "--minutes", "5", "--qr")
    assert code == 0
    drawing, payload, rest = told.strip().rsplit("\n", 2)
    assert len(drawing.splitlines()) > 20
    assert "5 minutes and 5 tries" in rest

    assert (await shop.till("T1").pair(read_payload(payload).secret)).status == 201

    code, told, _ = await commands.say("pairing", "show", "--json")
    assert (code, json.loads(told)["tries_left"]) == (0, 5)
    assert json.loads(told)["payload"] != payload


async def test_a_closed_window_is_said_to_be_closed(commands: Commands) -> None:
    await commands.say("pairing", "open")

    assert await commands.say("pairing", "close", "--json") == (0, '{"open": false}\n', "")
    code, told, error = await commands.say("pairing", "show")
    assert (code, told) == (1, "")
    assert "pairing is not open" in error


@pytest.mark.parametrize("minutes", ["0", "61"])
async def test_a_window_is_open_for_an_hour_at_most(commands: Commands, minutes: str) -> None:
    code, _, error = await commands.say("pairing", "open", "--minutes", minutes)

    assert (code, "from 1 to 60" in error) == (2, True)


async def test_tills_are_listed_renamed_and_revoked(commands: Commands, shop: TlsShop) -> None:
    till = await shop.paired("T1")

    assert (await commands.say("tills", "rename", "--till", "T1", "--name", "Terrasse"))[0] == 0
    code, told, _ = await commands.say("tills", "list")
    assert code == 0
    assert told.split()[:2] == ["T1", "Terrasse"]
    code, told, _ = await commands.say("tills", "list", "--json")
    assert [view["till"] for view in json.loads(told)] == ["T1"]

    assert (await commands.say("tills", "revoke", "--till", "T1"))[0] == 0
    assert (await till.ask("GET", "/v1/status")).status == 401
    code, _, error = await commands.say("tills", "revoke", "--till", "no/such till")
    assert (code, "no such till is paired" in error) == (1, True)


async def test_without_a_daemon_the_commands_say_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def ask() -> int | str | None:
        (tmp_path / "box.toml").write_text(f'state = "{tmp_path}"\n')
        with pytest.raises(SystemExit) as ended:
            main(["tills", "list", "--config", str(tmp_path / "box.toml")])
        return ended.value.code

    assert await asyncio.to_thread(ask) == 2
    assert "never run" in capsys.readouterr().err
