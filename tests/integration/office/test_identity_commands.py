"""The commands of `storebox-cloud` about who may come in, beside a running head office."""

import asyncio
import json
from typing import Any

import pytest

from appliance.domain.enrolling import read_claim
from appliance.domain.pairing import read_payload
from cloud.cli import run
from tests.fakes.boxes import LooseBox
from tests.integration.cloud.conftest import Enrolled, World
from tests.integration.office.test_office import SPKI, give_tls_key


async def command(
    world: World, capsys: pytest.CaptureFixture[str], *words: str, code: int = 0, as_json: bool = True
) -> Any:
    """Run a command on head office's state; what it prints."""
    arguments = [*words, "--state", str(world.settings.state), *(["--json"] if as_json else [])]
    assert await asyncio.to_thread(run, arguments) == code, capsys.readouterr().err
    text = capsys.readouterr().out
    return json.loads(text) if as_json and not code else text


async def test_boxes_are_listed_and_revoked(box: Enrolled, capsys: pytest.CaptureFixture[str]) -> None:
    name = box.box.name

    done = await command(box.world, capsys, "box", "revoke", "--box", name, "--reason", "stolen")
    (view,) = await command(box.world, capsys, "box", "list")
    lines = await command(box.world, capsys, "box", "list", as_json=False)

    assert done == {"box": name, "revoked": True}
    assert (view["box"], view["state"]) == (name, "revoked")
    assert lines.split("\t")[:3] == [name, "S042", "revoked"]


async def test_a_swap_is_a_claim_that_takes_a_boxs_place(
    box: Enrolled, capsys: pytest.CaptureFixture[str]
) -> None:
    made = await command(box.world, capsys, "swap", "--old", box.box.name)

    entered = await box.world.post_enrolment(LooseBox().enrolment(read_claim(made["claim"]).secret))
    assert entered.json()["succession"] is not None


async def test_pairing_is_opened_with_a_code_to_show(
    box: Enrolled, capsys: pytest.CaptureFixture[str]
) -> None:
    await give_tls_key(box)
    await box.beat(addresses=["192.168.1.7"], port=8480)

    words = ("pairing", "open", "--box", box.box.name, "--minutes", "5")
    view = await command(box.world, capsys, *words)
    drawn = await command(box.world, capsys, *words, "--qr", as_json=False)

    assert (read_payload(view["payload"]).spki, view["expires_s"]) == (SPKI, 300.0)
    assert len(drawn.splitlines()) > 10
    assert read_payload(drawn.splitlines()[-1]).box == box.box.name


async def test_the_audit_is_read_on_the_command_line(
    box: Enrolled, capsys: pytest.CaptureFixture[str]
) -> None:
    await command(box.world, capsys, "box", "revoke", "--box", box.box.name, "--reason", "stolen")
    rows = await command(box.world, capsys, "audit")

    last = await command(box.world, capsys, "audit", "--after", str(rows[-2]["number"]))
    lines = await command(box.world, capsys, "audit", as_json=False)

    assert [(row["who"], row["action"], row["data"]) for row in last] == [
        ("head-office", "box-revoked", {"reason": "stolen"})
    ]
    assert "box-revoked" in lines.splitlines()[-1]


async def test_the_authority_is_shown_by_its_pin_or_whole(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    pin = await command(world, capsys, "authority", "show", as_json=False)
    pem = await command(world, capsys, "authority", "show", "--pem", as_json=False)
    both = await command(world, capsys, "authority", "show")

    assert both == {"pin": pin.strip(), "pem": pem.strip() + "\n"}
    assert pem.startswith("-----BEGIN CERTIFICATE-----")


async def test_a_box_that_is_not_known_fails(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (
        ("box", "revoke", "--box", "sb-nobody", "--reason", "x"),
        ("swap", "--old", "sb-nobody"),
        ("pairing", "open", "--box", "sb-nobody"),
    ):
        await command(world, capsys, *words, code=1)


@pytest.mark.parametrize(
    "words", [("swap", "--old", "x", "--minutes", "11"), ("box", "revoke", "--box", "x", "--reason", " ")]
)
def test_options_that_cannot_be_are_misuse(words: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit) as left:
        run(list(words))
    assert left.value.code == 2
