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
from campaigns.until import until
from image.tools import Failed as NotMade
from image.tools import inside, run

RAUC = Path(__file__).parents[2] / "image" / "rauc"
# What waits for the night in a shop happens in the next quiet seconds; how long a proof may take is as shipped.
MANNERS = "[update]\nbytes_per_s = 100_000_000\nidle_s = 5.0\n"
BACK_MAX_S = 180.0
# Sold while a slot is written, and how much longer that may take than without: a disk that stalls for longer than this
# would have the daemon's watchdog end it.
SALES, EVERY_S, STALL_MAX_S = 60, 0.5, 14.0


class Release(NamedTuple):
    """Another release: its version, what is changed in its tree and in its boot file system, who signs it."""

    version: str
    change: Callable[[Path], None] = lambda _tree: None
    change_boot: Callable[[bytes], bytes] = lambda boot: boot
    keys: Path | None = None


class Bad(NamedTuple):
    """A release that is no good, and what head office hears of it."""

    what: str
    release: Release
    reason: str = "never-came-up"


def _dies(tree: Path) -> None:
    (tree / "opt/storebox/bin/storebox").write_text("#!/bin/sh\nexit 1\n")


def _never_answers(tree: Path) -> None:
    _hangs_when(tree, '"$1" = run')


def _proof_never_begins(tree: Path) -> None:
    _hangs_when(tree, '"$2" = settle')


def _hangs_when(tree: Path, asked: str) -> None:
    program = f'[ {asked} ] && exec sleep infinity\nexec /opt/storebox/bin/python -m appliance.cli "$@"\n'
    (tree / "opt/storebox/bin/storebox").write_text(f"#!/bin/sh\n{program}")


def _ends_in_an_emergency(tree: Path) -> None:
    with (tree / "etc/fstab").open("a") as fstab:
        fstab.write("/dev/disk/by-label/none /srv ext4 x-systemd.device-timeout=5s 0 0\n")


def _start_hangs(tree: Path) -> None:
    units = tree / "usr/lib/systemd/system"
    unit = "[Unit]\nDefaultDependencies=no\nBefore=sysinit.target\n[Service]\nType=oneshot\nExecStart=sleep infinity\n"
    (units / "hangs.service").write_text(unit)
    (units / "sysinit.target.wants/hangs.service").symlink_to("../hangs.service")


def _is_empty(_boot: bytes) -> bytes:
    return bytes(1024 * 1024)


def _cannot_mount_its_data(boot: bytes) -> bytes:
    # A word of the kernel's command line makes room for another of its length.
    before, after = b" systemd.getty_auto=no ", b" module_blacklist=ext4 "
    must(boot.count(before) == 1 and len(before) == len(after), "the command line is not where it was")
    return boot.replace(before, after)


BAD = (
    Bad("a release whose program dies", Release("0.1.2", change=_dies)),
    Bad("a release that does not start", Release("0.1.3", change_boot=_is_empty)),
    Bad("a release that never answers", Release("0.1.4", change=_never_answers), "port-silent"),
    Bad("a release that ends in an emergency", Release("0.1.5", change=_ends_in_an_emergency)),
    Bad("a release that cannot mount its data", Release("0.1.6", change_boot=_cannot_mount_its_data)),
    Bad("a release whose start hangs", Release("0.1.7", change=_start_hangs)),
    Bad("a release whose proof never begins", Release("0.1.8", change=_proof_never_begins)),
)


def update(scene: Scene) -> None:
    """A -> B: fetched, written beside, tried, proven, kept; and the shop's sales are all there."""
    _mind_manners(scene)
    scene.till.sell(10, 0.2)
    scene.till.wait(scene.patience_s)
    alone_s = _sell(scene)
    number, bytes_many = _offer(scene, Release("0.1.1"))
    began_s = time.monotonic()
    attempt = "cat /var/lib/storebox-update/attempt || true"
    _until(scene, lambda: "installing" in scene.machine.shell(attempt), "no slot is written")
    beside_s = _sell(scene)
    scene.note(
        f"{SALES} sales, one each {EVERY_S} s, to all in the cloud",
        f"{alone_s:.1f} s after the last; {beside_s:.1f} s while a slot is written",
    )
    must(
        beside_s - alone_s <= STALL_MAX_S, f"selling beside an update takes {beside_s - alone_s:.1f} s longer"
    )
    _until_said(scene, number, ("updated", ""))
    scene.note(
        "an update, offered to kept", f"{time.monotonic() - began_s:.0f} s for {bytes_many / 2**20:.0f} MiB"
    )
    _must_run(scene, slot="b", version="0.1.1")
    order = scene.machine.shell("efibootmgr | grep -E '^Boot(Order|Current|Next)' | tr '\\n' ' '")
    scene.note("the firmware afterwards", order.strip())
    _power_cycle(scene)
    _must_run(scene, slot="b", version="0.1.1")
    _tried_by_hand(scene)
    _power_cycle(scene)
    _must_run(scene, slot="b", version="0.1.1")
    scene.till.sell(5, 0.2)
    scene.till.wait(scene.patience_s)


def _sell(scene: Scene) -> float:
    """How long after the last of some sales was due they are all in the cloud."""
    began_s = time.monotonic()
    scene.till.sell(SALES, EVERY_S)
    scene.till.wait(scene.patience_s)
    return time.monotonic() - began_s - (SALES - 1) * EVERY_S


def _tried_by_hand(scene: Scene) -> None:
    """The other slot, once: it runs, and finds by the firmware that it is on trial."""
    machine, so_far = scene.machine, len(scene.machine.heard())
    machine.shell("efibootmgr -q -n $(efibootmgr | sed -n 's/^Boot\\([0-9A-F]*\\).* storebox-a.*/\\1/p')")
    machine.shell("systemctl reboot --no-block")
    _until(scene, lambda: SERVES in machine.heard()[so_far:].partition(RESTARTS)[2], "it never comes back")
    slot, _ = _where(scene)
    said = machine.shell("/usr/lib/storebox/on-trial && echo yes || echo no")
    must((slot, said) == ("a", "yes"), f"slot {slot}; on trial: {said}")


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
    """Releases that are no good, each in its own way: the box comes back and says why."""
    before = _where(scene)
    _mind_manners(scene)
    late = [bad.what for bad in BAD if _comes_back(scene, bad, before) > BACK_MAX_S]
    scene.till.sell(5, 0.2)
    scene.till.wait(scene.patience_s)
    must(not late, f"back too late: {late}")


def _comes_back(scene: Scene, bad: Bad, before: tuple[str, str]) -> float:
    """Offer a release that is no good; how long from the restart for it until tills are served by the one before."""
    scene.till.sell(5, 0.2)
    scene.till.wait(scene.patience_s)
    machine, so_far = scene.machine, len(scene.machine.heard())
    number, _ = _offer(scene, bad.release)
    _until(scene, lambda: RESTARTS in machine.heard()[so_far:], f"{bad.what} is never tried")
    began_s, left = time.monotonic(), machine.heard().rindex(RESTARTS)
    # A release that is no good may serve tills all the same.
    back = f"{SERVES}, slot {before[0]}"
    _until(scene, lambda: back in machine.heard()[left:], f"{bad.what}: it never comes back")
    took_s = time.monotonic() - began_s
    scene.note(f"{bad.what}: restart to a till served by the release before", f"{took_s:.0f} s")
    _until_said(scene, number, ("update_rolled_back", bad.reason))
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
    built, tools = scene.image.parent, scene.machine.tools
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
    boot = place / "update.vfat"
    boot.write_bytes(release.change_boot((built / "boot.vfat").read_bytes()))
    made = scene.machine.folder / f"{release.version}.raucb"
    keys = release.keys or scene.image.parents[1] / "keys"
    root = place / "update.erofs"
    call(["sh", str(RAUC / "bundle"), "amd64", release.version, *map(str, (boot, root, keys, made))])
    boot.unlink()
    root.unlink()
    return made


def _mind_manners(scene: Scene) -> None:
    """Let the box be quick: what waits for the night in a shop happens in the next quiet seconds."""
    file = "/etc/storebox/storebox.toml"
    scene.machine.shell(
        f"grep -q idle_s {file} || {{ printf '{MANNERS}' >>{file} && systemctl restart storebox; }}"
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
