"""What befalls boxes, one function a fault. Each leaves the box on, and raises Failed when a promise broke."""

import contextlib
import json
import random
import time

from bench.processes import Failed, call, must
from campaigns.image.machine import SERVES, WATCHDOG, stick
from campaigns.image.scene import Scene
from campaigns.until import until

DAEMON_BACK_MAX_S = 30.0
RESET_MAX_S = 15.0
SEED = 1
# More than a start takes, so that the clock that was saved cannot be it.
AHEAD_S = 1_200
STICK_BYTES = 64 * 1024**2


def power(scene: Scene) -> None:
    """The plug is pulled in the middle of selling, again and again: each acked sale is still there, and READY comes."""
    rng = random.Random(SEED)
    boots = list[float]()
    scene.till.sell(1, 0.0)
    scene.till.wait(scene.patience_s)
    for number in range(1, scene.cuts + 1):
        known = len(scene.till.acked())
        scene.till.sell(400, 0.2)
        acked = scene.till.wait_for_acks(known + rng.randint(0, 12), scene.patience_s)
        time.sleep(rng.uniform(0.0, 0.5))  # the cut falls at any moment, not only right after an ack
        scene.machine.cut()
        scene.till.stop()
        acked = scene.till.acked()
        boots.append(scene.boot())
        journal = scene.till.status()["journal"]
        last = max(copy["seq"] for copy in acked.values())
        epochs = {copy["epoch"] for copy in acked.values()}
        must(epochs == {journal["epoch"]}, f"cut {number}: epoch {journal['epoch']}, acked in {epochs}")
        must(
            journal["seq"] >= last, f"cut {number}: seq {journal['seq']}, acked up to {last}: sales are lost"
        )
        print(
            f"   cut {number}: {len(acked)} acked, up to seq {last}; seq {journal['seq']}, READY in {boots[-1]:.0f} s",
            flush=True,
        )
    # Exits 1 at the first fault, by name.
    walked = json.loads(scene.machine.shell("storebox verify --json", 600))
    scene.till.sell(1, 0.0)
    scene.till.wait(scene.patience_s)
    held = scene.in_the_books()
    scene.note(
        "power cuts while selling", f"{scene.cuts}; {held} acked sales, each in the books once, 0 lost"
    )
    scene.note("power-on to READY after a cut", f"{min(boots):.0f} to {max(boots):.0f} s")
    scene.note(
        "the journal afterwards",
        f"verifies: {walked['events']} events, {walked['heads']} signed heads, no fault",
    )


def hung(scene: Scene) -> None:
    """A daemon that hangs is started again within 30 s; a machine that hangs is reset by its watchdog."""
    machine = scene.machine
    before = machine.shell("systemctl show --value -p MainPID storebox")
    hung_s = float(machine.shell(f"kill -STOP {before}; cut -d ' ' -f 1 /proc/uptime"))
    until(
        lambda: machine.shell("systemctl show --value -p MainPID storebox") not in {before, "0"},
        scene.patience_s,
        lambda: "a stopped daemon is never started again",
    )
    said = machine.shell("journalctl -b -o cat -u storebox --no-pager | grep -c 'Watchdog timeout'")
    must(said != "0", "it was not the watchdog")
    began = machine.shell("systemctl show --value -p ExecMainStartTimestampMonotonic storebox")
    took_s = int(began) / 1e6 - hung_s
    must(took_s <= DAEMON_BACK_MAX_S, f"a stopped daemon is started again after {took_s:.1f} s")
    scene.note("stopped daemon to its next start", f"{took_s:.1f} s")
    machine.cut()
    machine.start(more=WATCHDOG)
    machine.wait_for(SERVES, scene.patience_s)
    until(
        lambda: scene.till.status()["machine"]["watchdog"] == "armed",
        scene.patience_s,
        lambda: f"the box says of its watchdog: {scene.till.status()['machine']}",
    )
    # A kernel that has crashed and does not restart by itself: only the hardware is left.
    machine.shell("sysctl -q kernel.panic=0")
    began_s = time.monotonic()
    with contextlib.suppress(Failed):
        machine.shell("echo c >/proc/sysrq-trigger", 1)
    machine.wait_for_watchdog(60)
    took_s = time.monotonic() - began_s
    scene.note("crashed machine to its reset", f"{took_s:.1f} s")
    must(took_s <= RESET_MAX_S, f"a crashed machine is reset after {took_s:.1f} s")
    machine.forget_shell()
    machine.wait_for(SERVES, scene.patience_s * 2, times=2)
    machine.cut()
    scene.boot()


def full(scene: Scene) -> None:
    """A full disk: sales are refused aloud, nothing falls over, and selling goes on once there is room."""
    machine = scene.machine
    machine.shell(
        "fallocate -l $(df --output=avail -B1 /var | tail -n 1) /var/full || dd if=/dev/zero of=/var/full bs=1M; true",
        600,
    )

    def issues() -> list[str]:
        told: list[str] = scene.till.status()["issues"]
        return told

    until(
        lambda: "disk-full" in issues(), scene.patience_s, lambda: f"a full disk is no issue: {issues()}", 1.0
    )
    must(machine.shell("systemctl is-active storebox") == "active", "a full disk ended the daemon")
    acked = len(scene.till.acked())
    scene.till.sell(1, 0.0)
    until(
        lambda: any(copy["code"] == "disk-full" for copy in scene.till.copies()),
        scene.patience_s,
        lambda: f"no sale is refused: {scene.till.copies()[-1]}",
    )
    must(len(scene.till.acked()) == acked, "a sale is acked on a full disk")
    machine.shell("rm /var/full; sync")
    until(lambda: "disk-full" not in issues(), scene.patience_s, lambda: f"no room again: {issues()}", 1.0)
    scene.till.wait(scene.patience_s)
    scene.note(
        "disk full", "the sale refused as `disk-full` and said so, the same sale acked once there was room"
    )


def past(scene: Scene) -> None:
    """A start in 1970: the clock is not before what signed statements told, and the box sells."""
    machine = scene.machine
    # The daemon writes it once an hour; this is what it would have written a moment later.
    floor_s = (
        int(
            machine.shell(
                f"date -u -d '+{AHEAD_S} seconds' +%FT%TZ >/var/lib/storebox/time-floor; sync; date -u +%s"
            )
        )
        + AHEAD_S
    )
    machine.cut()
    took = scene.boot(clock="1970-01-01T00:00:00")
    now_s = int(machine.shell("date -u +%s"))
    must(now_s >= floor_s, f"the clock is {floor_s - now_s} s behind what was certain before")
    scene.till.sell(1, 0.0)
    scene.till.wait(scene.patience_s)
    scene.note("a start in 1970", f"READY in {took:.0f} s, the clock says {machine.shell('date -u +%FT%TZ')}")


def usb(scene: Scene) -> None:
    """A stick with the right name gets the box's report, and the screen says when it may be pulled."""
    file = scene.machine.folder / "stick.img"
    call(["mformat", "-C", "-F", "-v", "STOREBOX", "-T", str(STICK_BYTES // 512), "-i", str(file), "::"])
    with file.open("r+b") as content:
        # mtools invents a partition table in the boot sector, which shows the stick a second time.
        content.seek(446)
        content.write(bytes(64))
    scene.machine.cut()
    scene.boot(more=stick(file))
    took_s = scene.machine.wait_for("the report is on the stick", scene.patience_s)
    failed = scene.machine.shell("systemctl list-units --failed --plain --no-legend")
    must(not failed, f"failed units: {failed}")
    scene.machine.cut()
    listed = call(["mdir", "-/", "-b", "-i", str(file), "::"]).decode().split()
    names = sorted(name.rpartition("/")[2] for name in listed if not name.endswith("/"))
    must(names == ["log.txt", "state.txt"], f"on the stick: {listed}")
    state = call(["mtype", "-i", str(file), next(name for name in listed if name.endswith("state.txt"))])
    must(b"slot a" in state and b"storebox.service" in state, state.decode())
    scene.note("a stick named STOREBOX", f"log.txt and state.txt on it {took_s:.0f} s after power-on")
    scene.boot()
