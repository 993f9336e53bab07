"""Head office publishes updates, offers them to the boxes they are for, and hears what became of them."""

import hashlib
import itertools
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from appliance.domain.errors import BadInput
from appliance.domain.statements import OFFER_TYPE, verify
from appliance.domain.update import Offer
from appliance.domain.wire import BUNDLE_MEDIA, HeartbeatAnswer
from cloud import cli
from cloud.updates import BundleFacts, Circle, UpdateDesk, in_ring
from cloud.wiring import desk_of, open_office
from tests.integration.cloud.conftest import Enrolled, World

AMD64 = {"running": "0.1.0", "compatible": "storebox-amd64"}
BUNDLE = bytes(range(256)) * 40
FACTS = BundleFacts("0.2.0", "storebox-amd64")


@asynccontextmanager
async def a_desk(world: World) -> AsyncIterator[UpdateDesk]:
    async with open_office(world.settings, world.clock) as office:
        yield desk_of(office)


async def publish(world: World, tmp_path: Path, content: bytes = BUNDLE, facts: BundleFacts = FACTS) -> int:
    (tmp_path / "b.raucb").write_bytes(content)
    async with a_desk(world) as desk:
        return (await desk.publish(tmp_path / "b.raucb", facts)).number


async def roll_out(world: World, bundle: int, **circle: Any) -> int:
    async with a_desk(world) as desk:
        return await desk.roll_out(bundle, Circle(**circle))


async def beat(box: Enrolled, **update: Any) -> int:
    """What the answer to a heartbeat says of updates."""
    answer = await box.beat(update=AMD64 | update)
    return msgspec.json.decode(answer.body, type=HeartbeatAnswer).offer


async def said(box: Enrolled, kind: str, number: int, **more: str) -> None:
    """The box's chain tells the end of an update."""
    data = {"number": number, "version": "0.2.0", **more}
    await box.receipt(box.box.pack(box.box.chain([data], kind=kind)))


async def test_a_named_box_hears_of_its_update_and_gets_it_signed(box: Enrolled, tmp_path: Path) -> None:
    number = await roll_out(box.world, await publish(box.world, tmp_path), boxes=[box.box.name])

    assert await beat(box) == number
    answer = await box.world.ask("GET", f"{box.path}/offer", box.token)
    offer = verify(answer.body, OFFER_TYPE, Offer, box.cloud)
    assert offer == Offer(
        number, "0.2.0", "storebox-amd64", hashlib.sha256(BUNDLE).hexdigest(), len(BUNDLE), "0.0.0"
    )


async def test_a_box_that_none_is_for_hears_of_none(box: Enrolled, tmp_path: Path) -> None:
    await roll_out(box.world, await publish(box.world, tmp_path), boxes=["sb-other"], shops=["S043"])

    assert await beat(box) == 0
    answer = await box.world.ask("GET", f"{box.path}/offer", box.token)
    assert (answer.status, answer.problem) == (404, "not-found")


async def test_a_shop_s_boxes_get_it_when_it_is_for_their_hardware(box: Enrolled, tmp_path: Path) -> None:
    number = await roll_out(box.world, await publish(box.world, tmp_path), shops=["S042"])

    assert await beat(box) == number
    assert await beat(box, compatible="storebox-rpi") == 0
    assert await beat(box, compatible="") == 0


async def test_a_box_asks_for_no_other_box(world: World, box: Enrolled, tmp_path: Path) -> None:
    other = await world.enrolled(3)

    answer = await world.ask("GET", f"{other.path}/offer", box.token)
    assert (answer.status, answer.problem) == (403, "not-allowed")


def test_a_ring_keeps_its_boxes_while_it_grows() -> None:
    boxes = [f"sb-{number}" for number in range(1_000)]
    rings = [{box for box in boxes if in_ring(box, "salt", percent)} for percent in (0, 1, 10, 50, 100)]

    assert rings[0] == set()
    assert all(inner < outer for inner, outer in itertools.pairwise(rings))
    assert rings[-1] == set(boxes)
    assert 60 < len(rings[2]) < 140
    assert rings[2] != {box for box in boxes if in_ring(box, "another bundle", 10)}


async def test_a_ring_can_be_widened_and_never_shrinks(box: Enrolled, tmp_path: Path) -> None:
    number = await roll_out(box.world, await publish(box.world, tmp_path), shops=["S099"], percent=0)
    assert await beat(box) == 0

    async with a_desk(box.world) as desk:
        await desk.widen(number, 100)
        with pytest.raises(BadInput, match="taken back"):
            await desk.widen(number, 50)

    assert await beat(box) == number


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("updated", {}),
        ("update_refused", {"reason": "too-large", "detail": "2 GB"}),
        ("update_rolled_back", {"reason": "never-came-up", "detail": ""}),
    ],
)
async def test_what_became_of_it_is_kept_and_shown_and_ends_the_offer(
    box: Enrolled, tmp_path: Path, kind: str, more: dict[str, str]
) -> None:
    number = await roll_out(box.world, await publish(box.world, tmp_path), boxes=[box.box.name])
    assert await beat(box) == number

    await said(box, kind, number, **more)

    assert await beat(box) == 0
    (row,) = (await box.world.read("/v1/fleet")).json()
    assert (row["outcome"]["kind"], row["outcome"]["reason"]) == (kind, more.get("reason", ""))
    page = (await box.world.read("/?lang=fr")).body.decode()
    assert "mise à jour 0.2.0" in page
    assert "image 0.1.0" in page


async def test_enough_boxes_that_went_back_halt_it_for_all(world: World, tmp_path: Path) -> None:
    boxes = [await world.enrolled(seed) for seed in (1, 2, 3)]
    number = await roll_out(world, await publish(world, tmp_path), percent=100, halt_after=2)

    await said(boxes[0], "update_rolled_back", number, reason="sale-failed")
    assert await beat(boxes[2]) == number
    await said(boxes[1], "update_rolled_back", number, reason="sale-failed")

    assert await beat(boxes[2]) == 0
    async with a_desk(world) as desk:
        _, (view,) = await desk.overview()
    assert (view.rollout.halted_why, view.said) == ("2 boxes went back", {"update_rolled_back": 2})


async def test_head_office_can_halt_it(box: Enrolled, tmp_path: Path) -> None:
    number = await roll_out(box.world, await publish(box.world, tmp_path), percent=100)

    async with a_desk(box.world) as desk:
        await desk.halt(number, "a bug")
        with pytest.raises(BadInput, match="a bug"):
            await desk.widen(number, 100)

    assert await beat(box) == 0


async def test_the_newest_rollout_counts(box: Enrolled, tmp_path: Path) -> None:
    await roll_out(box.world, await publish(box.world, tmp_path), percent=100)
    newer = await publish(box.world, tmp_path, b"newer", BundleFacts("0.3.0", "storebox-amd64"))

    number = await roll_out(box.world, newer, percent=100)

    assert await beat(box) == number


async def test_a_bundle_comes_whole_or_in_ranges(box: Enrolled, tmp_path: Path) -> None:
    await publish(box.world, tmp_path)
    path = f"/v1/bundles/{hashlib.sha256(BUNDLE).hexdigest()}"

    whole = await box.world.ask("GET", path, box.token)
    part = await box.world.ask("GET", path, box.token, headers={"Range": "bytes=100-299"})
    beyond = await box.world.ask("GET", path, box.token, headers={"Range": "bytes=99999-"})

    assert (whole.status, whole.body, whole.headers["Content-Type"]) == (200, BUNDLE, BUNDLE_MEDIA)
    assert (part.status, part.body) == (206, BUNDLE[100:300])
    assert part.headers["Content-Range"] == f"bytes 100-299/{len(BUNDLE)}"
    assert whole.headers["ETag"] == part.headers["ETag"]
    assert beyond.status == 416


@pytest.mark.parametrize("name", ["ab" * 32, "x", "..%2Fcloud.key"])
async def test_what_is_no_bundle_is_not_found(box: Enrolled, name: str) -> None:
    answer = await box.world.ask("GET", f"/v1/bundles/{name}", box.token)

    assert (answer.status, answer.problem) == (404, "not-found")


async def test_strangers_get_no_bundle(box: Enrolled, tmp_path: Path) -> None:
    await publish(box.world, tmp_path)

    answer = await box.world.ask("GET", f"/v1/bundles/{hashlib.sha256(BUNDLE).hexdigest()}")
    assert (answer.status, answer.problem) == (401, "unauthenticated")


async def test_the_end_of_an_update_that_cannot_be_read_is_an_exception_and_stops_nothing(
    box: Enrolled,
) -> None:
    data: list[Any] = [{"number": 2**70, "version": "0.2.0"}, {"number": "one"}]
    events = box.box.chain(data, kind="updated")

    assert (await box.receipt(box.box.pack(events))).seq == 2
    rows = (await box.world.read("/v1/exceptions")).json()
    assert [row["reason"] for row in rows] == ["unreadable-update", "unreadable-update"]


def test_the_commands_publish_offer_and_tell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = ["--state", str(tmp_path / "cloud")]
    (tmp_path / "b.raucb").write_bytes(BUNDLE)
    said = ["--version", "0.2.0", "--compatible", "storebox-amd64"]

    for _ in range(2):
        assert cli.run(["update", "publish", str(tmp_path / "b.raucb"), *said, *state]) == 0
    assert cli.run(["update", "roll-out", "1", "--percent", "5", "--shop", "S042", *state]) == 0
    assert cli.run(["update", "widen", "1", "--percent", "20", *state]) == 0
    assert cli.run(["update", "halt", "1", "--reason", "too warm", *state]) == 0
    capsys.readouterr()
    assert cli.run(["update", "list", *state]) == 0
    assert "rollout 1: 0.2.0 for S042, 20 %: nothing heard yet; halted: too warm" in capsys.readouterr().out
    assert cli.run(["update", "outcomes", "--json", *state]) == 0
    assert json.loads(capsys.readouterr().out) == []


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["publish", "b.raucb", "--version", "2", "--compatible", "x"], "Expected `str` matching"),
        (["publish", "empty", "--version", "1.0.0", "--compatible", "x"], "a bundle holds"),
        (["roll-out", "7", "--percent", "5"], "no bundle 7"),
        (["roll-out", "7"], "say who gets it"),
        (["roll-out", "7", "--percent", "500"], "no percentage"),
        (["halt", "7", "--reason", "x"], "no rollout 7"),
    ],
)
def test_what_cannot_be_done_is_said(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    says: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "b.raucb").write_bytes(BUNDLE)
    (tmp_path / "empty").touch()

    assert cli.run(["update", *words, "--state", "cloud"]) == 1
    assert says in capsys.readouterr().err


def test_one_file_is_published_under_one_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "b.raucb").write_bytes(BUNDLE)
    publish = ["update", "publish", str(tmp_path / "b.raucb"), "--state", str(tmp_path / "cloud")]

    assert cli.run([*publish, "--version", "0.2.0", "--compatible", "storebox-amd64"]) == 0
    assert cli.run([*publish, "--version", "0.3.0", "--compatible", "storebox-amd64"]) == 1
    assert "published as 0.2.0" in capsys.readouterr().err
