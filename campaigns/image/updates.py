"""Updates of the booted image: one that is kept, and those that must not be, each asked for at head office alone.

The other release is this image under another version; what is broken in it is broken on purpose. The machine restarts
by itself, and nobody touches it.
"""

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from bench.processes import Failed, call, must
from campaigns.image.machine import RESTARTS, SERVES
from campaigns.image.scene import Scene
from campaigns.image.until import until
from image.tools import Failed as NotMade
from image.tools import inside, run

RAUC = Path(__file__).parents[2] / "image" / "rauc"
# Emulated, everything takes its time; the box itself waits for a quiet moment and no longer.
MANNERS = "[update]\nbytes_per_s = 100_000_000\nidle_s = 5.0\nprove_s = 300.0\n"
BACK_MAX_S = 180.0


class Release(NamedTuple):
    """Another release: its version, what is changed in its tree, whether its boot slot is empty, who signs it."""

    version: str
    change: Callable[[Path], None] = lambda _tree: None
    starts: bool = True
    keys: Path | None = None


def update(scene: Scene) -> None:
    """A -> B: fetched, written beside, tried, proven, kept; and the shop's sales are all there."""
    _mind_manners(scene)
    scene.till.sell(10, 0.2)
    scene.till.wait(scene.patience_s)
    number, bytes_many = _offer(scene, Release("0.1.1"))
    began_s = time.monotonic()
    _until_said(scene, number, ("updated", ""))
    scene.note(
        "an update, offered to kept", f"{time.monotonic() - began_s:.0f} s for {bytes_many / 2**20:.0f} MiB"
    )
    _must_run(scene, slot="b", version="0.1.1")
    order = scene.machine.shell("efibootmgr | grep -E '^Boot(Order|Current|Next)' | tr '\\n' ' '")
    scene.note("the firmware afterwards", order)
    _power_cycle(scene)
    _must_run(scene, slot="b", version="0.1.1")
    scene.till.sell(5, 0.2)
    scene.till.wait(scene.patience_s)


def forged(scene: Scene) -> None:
    """Signed by another authority: refused, and the other slot is not touched."""
    before = _where(scene)
    _mind_manners(scene)
    thief = scene.machine.folder / "thief"
    run("sh", RAUC / "authority", thief)
    number, _ = _offer(scene, Release("0.1.9", keys=thief))
    _until_said(scene, number, ("update_refused", "bad-signature"))
    must(_where(scene) == before, f"{before} became {_where(scene)}")
    scene.note("a bundle of another authority", "refused: bad-signature")


def broken(scene: Scene) -> None:
    """A release whose program ends at once, and one that does not start at all: the box comes back and says why."""

    def dies(tree: Path) -> None:
        program = tree / "opt/storebox/bin/storebox"
        program.write_text("#!/bin/sh\nexit 1\n")

    before = _where(scene)
    _mind_manners(scene)
    took_s = {
        what: _comes_back(scene, what, release, before)
        for what, release in (
            ("a release whose program dies", Release("0.1.2", change=dies)),
            ("a release that does not start", Release("0.1.3", starts=False)),
        )
    }
    scene.till.sell(5, 0.2)
    scene.till.wait(scene.patience_s)
    must(max(took_s.values()) <= BACK_MAX_S, f"seconds to come back: {took_s}")


def _comes_back(scene: Scene, what: str, release: Release, before: tuple[str, str]) -> float:
    """Offer a release that is no good; how long from the restart for it until tills are served by the one before."""
    scene.till.sell(5, 0.2)
    scene.till.wait(scene.patience_s)
    machine, so_far = scene.machine, len(scene.machine.heard())
    number, _ = _offer(scene, release)
    _until(scene, lambda: RESTARTS in machine.heard()[so_far:], f"{what} is never tried")
    began_s, left = time.monotonic(), machine.heard().rindex(RESTARTS)
    _until(scene, lambda: SERVES in machine.heard()[left:], f"{what}: it never comes back")
    took_s = time.monotonic() - began_s
    scene.note(f"{what}: restart to a till served by the release before", f"{took_s:.0f} s")
    _until_said(scene, number, ("update_rolled_back", "never-came-up"))
    must(_where(scene) == before, f"{before} became {_where(scene)}")
    return took_s


def _offer(scene: Scene, release: Release) -> tuple[int, int]:
    """Make a bundle, publish it, and offer it to the box's shop; the rollout's number, and the bundle's size."""
    try:
        made = _bundle(scene, release)
    except NotMade as error:
        raise Failed(str(error)) from error
    said = ("--version", release.version, "--compatible", "storebox-amd64")
    kept = json.loads(scene.office.ask("update", "publish", str(made), *said, "--json"))
    bytes_many = made.stat().st_size
    made.unlink()
    to = ("--percent", "100", "--halt-after", "9", "--json")
    begun = json.loads(scene.office.ask("update", "roll-out", str(kept["number"]), *to))
    print(f"   {release.version} is offered, {bytes_many / 2**20:.0f} MiB", flush=True)
    return begun["rollout"], bytes_many


def _bundle(scene: Scene, release: Release) -> Path:
    built, tools = scene.image.parent, scene.image.parents[1] / "base.tools"
    place = tools / "build"
    shutil.rmtree(place / "update", ignore_errors=True)
    run("cp", "-a", built / "root", place / "update")
    os_release = place / "update/usr/lib/os-release"
    lines = os_release.read_text().splitlines()
    kept = [line for line in lines if not line.startswith("IMAGE_VERSION=")]
    os_release.write_text("\n".join([*kept, f"IMAGE_VERSION={release.version}", ""]))
    release.change(place / "update")
    # Packed in a hurry: nobody but this test reads it.
    inside(tools, "mkfs.erofs", "--quiet", "-zlz4", "/build/update.erofs", "/build/update")
    shutil.rmtree(place / "update")
    boot = built / "boot.vfat"
    if not release.starts:
        boot = place / "nothing"
        boot.write_bytes(bytes(1024 * 1024))
    made = scene.machine.folder / f"{release.version}.raucb"
    keys = release.keys or scene.image.parents[1] / "keys"
    root = place / "update.erofs"
    call(["sh", str(RAUC / "bundle"), "amd64", release.version, *map(str, (boot, root, keys, made))])
    root.unlink()
    return made


def _mind_manners(scene: Scene) -> None:
    """Let the box be quick: what waits for the night in a shop happens in the next quiet seconds."""
    file = "/etc/storebox/storebox.toml"
    scene.machine.shell(
        f"grep -q prove_s {file} || {{ printf '{MANNERS}' >>{file} && systemctl restart storebox; }}"
    )


def _until_said(scene: Scene, number: int, expected: tuple[str, str]) -> None:
    """Until head office has heard from the box's chain what became of a rollout."""
    heard = list[tuple[str, str]]()

    def said() -> bool:
        rows = json.loads(scene.office.ask("update", "outcomes", "--rollout", str(number), "--json"))
        heard[:] = [(row["kind"], row["reason"]) for row in rows]
        return bool(heard)

    # Asking starts a program, on the processors that the machine inside needs.
    _until(scene, said, f"head office hears nothing of rollout {number}", look_s=10.0)
    if heard != [expected]:
        raise Failed(f"rollout {number}: {heard}, not {expected}")


def _until(scene: Scene, reached: Callable[[], bool], what: str, *, look_s: float = 0.5) -> None:
    until(reached, scene.patience_s, lambda: f"{what}: {scene.machine.said()}", look_s)


def _where(scene: Scene) -> tuple[str, str]:
    """The slot that runs, and its version."""
    scene.machine.forget_shell()
    said = scene.machine.shell("cat /run/storebox-slot; sed -n 's/^IMAGE_VERSION=//p' /etc/os-release")
    slot, version = said.split()
    return slot, version


def _must_run(scene: Scene, *, slot: str, version: str) -> None:
    must(_where(scene) == (slot, version), f"{_where(scene)} runs, not {(slot, version)}")


def _power_cycle(scene: Scene) -> None:
    scene.machine.cut()
    scene.boot()
