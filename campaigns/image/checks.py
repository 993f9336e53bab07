"""What the image promises, one function a promise. Each leaves the box on, and raises Failed when it broke."""

import contextlib
import json
import random
import time
import urllib.request

from bench.processes import Failed
from campaigns.image.scene import Scene
from image.tools import inside

# What may be reached from outside: tills, mDNS, and SSH since this card brought a technician's key.
LISTENING = {("tcp", 8480), ("tcp", 22), ("udp", 5353)}
# DHCP clients; the firewall lets in answers of servers alone.
CLIENTS = {("udp", 68), ("udp", 546)}
SECURITY_MAX = 1.5
DAEMON_BACK_MAX_S = 30.0
RESET_MAX_S = 15.0
READY_MAX_S = 3.0
SALES_A_DAY = 2_000
WRITTEN_DAY_MAX_MB = 150
GROWN_SALES, MEASURED_SALES = 80, 100
IDLE_S = 120.0
SEED = 1
IMPORTING = (
    "for i in 1 2 3; do /opt/storebox/bin/python -c "
    "'import time; t = time.perf_counter(); import appliance.wiring; print(time.perf_counter() - t)'; done"
)


def system(scene: Scene) -> None:
    """A sound system: no failed unit, nothing but the served ports, a read-only root, watchdogs, limits."""
    machine = scene.machine
    failed = machine.shell("systemctl list-units --failed --plain --no-legend")
    _must(not failed, f"failed units: {failed}")
    found = set[tuple[str, int]]()
    for line in machine.shell("ss -Htuln").splitlines():
        protocol, *_, local, _ = line.split()
        address, _, port = local.rpartition(":")
        if not address.startswith(("127.", "[::1]")):
            found.add((protocol, int(port)))
    _must(found - CLIENTS == LISTENING, f"listening: {sorted(found)}")
    scene.note("listens", ", ".join(f"{port}/{protocol}" for protocol, port in sorted(found)))
    _must(
        "erofs ro" in machine.shell("findmnt -no FSTYPE,OPTIONS / | tr -s ' '"),
        "the root is not a read-only erofs",
    )
    for place in ("/usr/x", "/etc/x", "/opt/storebox/x", "/boot/x"):
        said = machine.shell(f"touch {place} || true")
        _must("Read-only file system" in said, f"{place} can be written: {said}")
    grown = int(machine.shell("df --output=size -BM /var | tail -n 1").strip(" M\n"))
    _must(grown > 3_500, f"the data partition has {grown} MiB on a card of 6 GiB")
    scene.note("data partition on a card of 6 GiB", f"{grown} MiB")
    _must(machine.shell("hostname") == "nantes", "the card's host name is not in force")
    # What stands on the screen, which is not the serial line.
    _must("storebox: READY" in machine.shell("cat /dev/vcs1"), "the screen does not say READY")
    _must("/dev/zram0" in machine.shell("swapon --show --noheadings"), "no swap in memory")
    _must(machine.shell("passwd --status root").split()[1] == "L", "root has a password")
    watchdog = machine.shell("systemctl show --value -p RuntimeWatchdogUSec -p RebootWatchdogUSec").split()
    _must(set(watchdog) == {"14s"}, f"watchdog: {watchdog}")
    machine.shell("nft list set inet box served")
    for unit in machine.shell("ls /usr/lib/systemd/system/ | grep ^storebox | grep -v '\\.d$'").split():
        machine.shell(f"systemd-analyze verify --man=no --recursive-errors=no {unit}")
    score = float(
        machine.shell("systemd-analyze security storebox.service --no-pager | tail -n 1").split()[-3]
    )
    _must(score <= SECURITY_MAX, f"systemd-analyze security: {score}")
    scene.note("systemd-analyze security storebox.service", f"{score}")
    scene.note(
        "kernel to all units (emulated)",
        machine.shell("systemd-analyze").partition("=")[2].split("\n")[0].strip(),
    )
    _starts_fast_enough(scene)


def _starts_fast_enough(scene: Scene) -> None:
    """From unit start to READY, at the machine's start and alone; an emulated second is held against a real one."""
    slower = _importing_s(scene.machine.shell(IMPORTING)) / _importing_s(_native(scene, IMPORTING))
    for when in ("at power-on", "alone"):
        if when == "alone":
            scene.machine.shell("systemctl restart storebox")
        began, ready = scene.machine.shell(
            "systemctl show --value -p ExecMainStartTimestampMonotonic -p ActiveEnterTimestampMonotonic storebox"
        ).split()
        took_s = (int(ready) - int(began)) / 1e6
        scene.note(
            f"unit start to READY, {when}",
            f"{took_s:.1f} s where Python is {slower:.0f} times slower than here: {took_s / slower:.2f} s",
        )
        _must(took_s / slower <= READY_MAX_S, f"unit start to READY, {when}: {took_s / slower:.2f} s")


def _native(scene: Scene, command: str) -> str:
    return inside(scene.image.parent / "root", "/bin/sh", "-c", command).decode()


def _importing_s(said: str) -> float:
    """The fastest of several: the first one also reads from the disk."""
    return min(map(float, said.split()))


def sales(scene: Scene) -> None:
    """A till sells, all of it comes to head office, and the box says what it writes in a day of that."""
    # Until the WAL has the size that it keeps.
    scene.till.sell(GROWN_SALES, 0.25)
    scene.till.wait(scene.patience_s)
    before = _written(scene)
    scene.till.sell(MEASURED_SALES, 0.6)
    scene.till.wait(scene.patience_s)
    sold = _written(scene)
    _in_the_books(scene)
    time.sleep(IDLE_S)
    idle_day = (_written(scene) - sold) / IDLE_S * 86_400
    a_sale = (sold - before) / MEASURED_SALES
    day_mb = (a_sale * SALES_A_DAY + idle_day) / 1e6
    scene.note(
        f"written in a day of {SALES_A_DAY} sales",
        f"{day_mb:.0f} MB: {a_sale / 1e3:.0f} kB a sale, {idle_day / 1e6:.0f} MB by itself",
    )
    _must(day_mb <= WRITTEN_DAY_MAX_MB, f"{day_mb:.0f} MB would be written in a day")
    # The box tells its own figure: what the device has counted since the machine's start, less than a day ago.
    scene.machine.shell("systemctl restart storebox")
    until_s = time.monotonic() + scene.patience_s
    while (told := scene.till.status()["machine"]["written_day_bytes"]) is None or told < sold:
        _must(time.monotonic() < until_s, f"the box says that it wrote {told} bytes, of {sold}")
        time.sleep(1)
    scene.note("written since power-on, as the box tells", f"{told / 1e6:.0f} MB")


def soak(scene: Scene) -> None:
    """A day's sales without a pause: the daemon stays within the memory that its unit allows it."""
    scene.till.sell(SALES_A_DAY, 0.0)
    scene.till.wait(scene.patience_s * 4)
    _in_the_books(scene)
    peak, most = (
        int(scene.machine.shell(f"systemctl show --value -p {name} storebox"))
        for name in ("MemoryPeak", "MemoryMax")
    )
    events = scene.machine.shell("cat /sys/fs/cgroup/system.slice/storebox.service/memory.events")
    _must("oom 0\noom_kill 0" in events and peak < most, f"memory: {peak} of {most} bytes, {events}")
    scene.note(
        f"memory in a day of {SALES_A_DAY} sales at once",
        f"at most {peak / 2**20:.0f} MiB of {most / 2**20:.0f}, page cache included; nothing killed",
    )


def power(scene: Scene) -> None:
    """The plug is pulled in the middle of selling, again and again: each acked sale is still there, and READY comes."""
    rng = random.Random(SEED)
    boots = list[float]()
    for number in range(1, scene.cuts + 1):
        known = len(scene.till.acked())
        scene.till.sell(400, 0.2)
        acked = scene.till.wait_for_acks(known + rng.randint(0, 12), scene.patience_s)
        time.sleep(rng.uniform(0.0, 0.5))
        scene.machine.cut()
        scene.till.stop()
        acked = scene.till.acked()
        boots.append(scene.boot())
        journal = scene.till.status()["journal"]
        last = max(copy["seq"] for copy in acked.values())
        epochs = {copy["epoch"] for copy in acked.values()}
        _must(epochs == {journal["epoch"]}, f"cut {number}: epoch {journal['epoch']}, acked in {epochs}")
        _must(
            journal["seq"] >= last, f"cut {number}: seq {journal['seq']}, acked up to {last}: sales are lost"
        )
        print(
            f"   cut {number}: {len(acked)} acked, up to seq {last}; seq {journal['seq']}, READY in {boots[-1]:.0f} s",
            flush=True,
        )
    said = scene.machine.shell("storebox verify --json || true")
    scene.till.sell(1, 0.0)
    scene.till.wait(scene.patience_s)
    held = _in_the_books(scene)
    scene.note(
        "power cuts while selling", f"{scene.cuts}; {held} acked sales, each in the books once, 0 lost"
    )
    scene.note("power-on to READY after a cut", f"{min(boots):.0f} to {max(boots):.0f} s")
    scene.note("the journal afterwards", said[:200])


def hung(scene: Scene) -> None:
    """A daemon that hangs is started again within 30 s; a machine that hangs is reset by its watchdog."""
    machine = scene.machine
    before = machine.shell("systemctl show --value -p MainPID storebox")
    hung_s = float(machine.shell(f"kill -STOP {before}; cut -d ' ' -f 1 /proc/uptime"))
    until_s = time.monotonic() + scene.patience_s
    while machine.shell("systemctl show --value -p MainPID storebox") in {before, "0"}:
        _must(time.monotonic() < until_s, "a stopped daemon is never started again")
        time.sleep(0.5)
    said = machine.shell("journalctl -b -o cat -u storebox --no-pager | grep -c 'Watchdog timeout'")
    _must(said != "0", "it was not the watchdog")
    began = machine.shell("systemctl show --value -p ExecMainStartTimestampMonotonic storebox")
    took_s = int(began) / 1e6 - hung_s
    _must(took_s <= DAEMON_BACK_MAX_S, f"a stopped daemon is started again after {took_s:.1f} s")
    scene.note("stopped daemon to its next start", f"{took_s:.1f} s")
    machine.cut()
    machine.start(watchdog=True)
    firmware_s = machine.wait_for("EFI stub", scene.patience_s)
    machine.wait_for("storebox: READY", scene.patience_s)
    # A kernel that has crashed and does not restart by itself: only the hardware is left.
    began_s = time.monotonic()
    with contextlib.suppress(Failed):
        machine.shell("sysctl -q kernel.panic=0; echo c >/proc/sysrq-trigger", 2)
    machine.wait_for("EFI stub", time.monotonic() - machine.started_s + 120, times=2)
    took_s = time.monotonic() - began_s - firmware_s
    scene.note("crashed machine to its reset, without its firmware's start", f"{took_s:.1f} s")
    _must(took_s <= RESET_MAX_S, f"a crashed machine is reset after {took_s:.1f} s")
    machine.forget_shell()
    machine.wait_for("storebox: READY", scene.patience_s * 2, times=2)
    machine.cut()
    scene.boot()


def full(scene: Scene) -> None:
    """A full disk: sales are refused aloud, nothing falls over, and selling goes on once there is room."""
    machine = scene.machine
    machine.shell(
        "fallocate -l $(df --output=avail -B1 /var | tail -n 1) /var/full || dd if=/dev/zero of=/var/full bs=1M; true",
        600,
    )
    until_s = time.monotonic() + scene.patience_s
    while "disk-full" not in (issues := scene.till.status()["issues"]):
        _must(time.monotonic() < until_s, f"a full disk is no issue: {issues}")
        time.sleep(1)
    _must(machine.shell("systemctl is-active storebox") == "active", "a full disk ended the daemon")
    machine.shell("rm /var/full; sync")
    while scene.till.status()["issues"]:
        _must(
            time.monotonic() < until_s + scene.patience_s, f"no room again: {scene.till.status()['issues']}"
        )
        time.sleep(1)
    scene.till.sell(1, 0.0)
    scene.till.wait(scene.patience_s)
    scene.note("disk full", "refused and said so, sold again afterwards")


def past(scene: Scene) -> None:
    """A start in 1970: the clock is not before the image, and the box sells."""
    machine = scene.machine
    machine.cut()
    took = scene.boot(clock="1970-01-01T00:00:00")
    year = int(machine.shell("date -u +%Y"))
    _must(year >= 2026, f"the clock says {year}")
    scene.till.sell(1, 0.0)
    scene.till.wait(scene.patience_s)
    scene.note("a start in 1970", f"READY in {took:.0f} s, the clock says {machine.shell('date -u +%FT%TZ')}")


def _in_the_books(scene: Scene) -> int:
    """How many acked sales the till knows; each is in head office's books exactly once."""
    acked = scene.till.acked()
    token = scene.office.ask("admin-token")
    held = list[str]()
    after = ""
    while True:
        request = urllib.request.Request(
            f"https://127.0.0.1:{scene.office.port}/v1/sales?after={after}&limit=1000",
            headers={"Authorization": f"Bearer {token}"},
        )
        context = scene.office.context()
        with urllib.request.urlopen(request, context=context, timeout=30) as answer:  # noqa: S310  our own head office
            rows = [json.loads(line) for line in answer.read().splitlines()]
        if not rows:
            break
        held += [row["sale_id"] for row in rows]
        after = rows[-1]["sale_id"]
    _must(len(held) == len(set(held)), "a sale is in the books twice")
    lost = set(acked) - set(held)
    _must(not lost, f"{len(lost)} acked sales are not in the books")
    return len(acked)


def _written(scene: Scene) -> int:
    """Bytes that the machine has written to its disk since it started (kernel, block/stat)."""
    return int(scene.machine.shell("awk '{print $7 * 512}' /sys/class/block/vda/stat"))


def _must(holds: bool, what: str) -> None:
    if not holds:
        raise Failed(what)
