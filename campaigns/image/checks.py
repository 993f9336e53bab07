"""What the image is on a good day, one function a promise. Each leaves the box on, and raises Failed when it broke."""

import time

from bench.processes import call, must
from campaigns.image.scene import TECHNICIAN, Scene
from campaigns.until import until
from image.tools import inside

# What may be reached from outside: tills, mDNS, and SSH since this card brought a technician's key.
LISTENING = {("tcp", 8480), ("tcp", 22), ("udp", 5353)}
# DHCP clients; the firewall lets in answers of servers alone.
CLIENTS = {("udp", 68), ("udp", 546)}
SECURITY_MAX = 1.5
READY_MAX_S = 3.0
SALES_A_DAY = 2_000
WRITTEN_DAY_MAX_MB = 150
# Whoever stands before it looks again; the script that writes it starts programs, in an emulator.
SCREEN_S = 30.0
GROWN_SALES, MEASURED_SALES = 80, 100
IDLE_S = 300.0
ONCE_A_START = ("storebox-steady.timer", "systemd-tmpfiles-clean.timer")
IMPORTING = (
    "for i in 1 2 3; do /opt/storebox/bin/python -c "
    "'import time; t = time.perf_counter(); import appliance.wiring; print(time.perf_counter() - t)'; done"
)


def system(scene: Scene) -> None:
    """A sound system: no failed unit, nothing but the served ports, a read-only root, watchdogs, limits."""
    machine = scene.machine
    failed = machine.shell("systemctl list-units --failed --plain --no-legend")
    must(not failed, f"failed units: {failed}")
    found = set[tuple[str, int]]()
    for line in machine.shell("ss -Htuln").splitlines():
        protocol, *_, local, _ = line.split()
        address, _, port = local.rpartition(":")
        if not address.startswith(("127.", "[::1]")):
            found.add((protocol, int(port)))
    must(found - CLIENTS == LISTENING, f"listening: {sorted(found)}")
    scene.note("listens", ", ".join(f"{port}/{protocol}" for protocol, port in sorted(found)))
    must(
        "erofs ro" in machine.shell("findmnt -no FSTYPE,OPTIONS / | tr -s ' '"),
        "the root is not a read-only erofs",
    )
    for place in ("/usr/x", "/etc/x", "/opt/storebox/x", "/boot/x"):
        said = machine.shell(f"touch {place} || true")
        must("Read-only file system" in said, f"{place} can be written: {said}")
    grown = int(machine.shell("df --output=size -BM /var | tail -n 1").strip(" M\n"))
    must(grown > 3_500, f"the data partition has {grown} MiB on a card of 6 GiB")
    scene.note("data partition on a card of 6 GiB", f"{grown} MiB")
    must(machine.shell("hostname") == "nantes", "the card's host name is not in force")
    # What stands on the screen, which is not the serial line.
    until(
        lambda: "storebox: READY" in machine.shell("cat /dev/vcs1"),
        SCREEN_S,
        lambda: f"the screen does not say READY: {machine.shell('head -c 500 /dev/vcs1')}",
    )
    must("/dev/zram0" in machine.shell("swapon --show --noheadings"), "no swap in memory")
    must(machine.shell("passwd --status root").split()[1] == "L", "root has a password")
    watchdog = machine.shell("systemctl show --value -p RuntimeWatchdogUSec -p RebootWatchdogUSec").split()
    must(set(watchdog) == {"14s"}, f"watchdog: {watchdog}")
    _lets_in_a_technician(scene)
    must(
        "policy drop" in machine.shell("nft list chain inet box input"),
        "the firewall lets in what it does not know",
    )
    kept = machine.shell("journalctl --header | grep -c '^File path: /var/log/journal/'")
    must(int(kept) > 0, "the log is lost at a restart")
    must(
        machine.shell("/usr/lib/storebox/on-trial && echo yes || echo no") == "no", "a kept slot is on trial"
    )
    for unit in machine.shell("ls /usr/lib/systemd/system/ | grep ^storebox | grep -v '\\.d$'").split():
        machine.shell(f"systemd-analyze verify --man=no --recursive-errors=no {unit}")
    score = float(
        machine.shell("systemd-analyze security storebox.service --no-pager | tail -n 1").split()[-3]
    )
    must(score <= SECURITY_MAX, f"systemd-analyze security: {score}")
    scene.note("systemd-analyze security storebox.service", f"{score}")
    scene.note(
        "kernel to all units (emulated)",
        machine.shell("systemd-analyze").partition("=")[2].split("\n")[0].strip(),
    )
    _starts_fast_enough(scene)


def _lets_in_a_technician(scene: Scene) -> None:
    """By the key that came with the card, through the firewall."""
    key, port = scene.machine.folder / TECHNICIAN, scene.machine.ssh_port
    known = ("-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "BatchMode=yes")
    said = call(
        ["ssh", "-q", "-i", str(key), "-p", str(port), *known, "root@127.0.0.1", "cat /run/storebox-slot"]
    )
    must(said.decode().strip() == scene.machine.shell("cat /run/storebox-slot"), f"by SSH: {said!r}")


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
        must(took_s / slower <= READY_MAX_S, f"unit start to READY, {when}: {took_s / slower:.2f} s")


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
    a_sale = (_written(scene) - before) / MEASURED_SALES
    scene.in_the_books()
    # A stretch in which nobody sells: what is written then is the box's own.
    # What comes once a start, in its fifteenth minute, would count as if it came with each of these.
    scene.machine.shell(f"systemctl stop {' '.join(ONCE_A_START)}")
    so_far = _written(scene)
    time.sleep(IDLE_S)
    sold = _written(scene)
    idle_day = (sold - so_far) / IDLE_S * 86_400
    day_mb = (a_sale * SALES_A_DAY + idle_day) / 1e6
    scene.note(
        f"written in a day of {SALES_A_DAY} sales",
        f"{day_mb:.0f} MB: {a_sale / 1e3:.0f} kB a sale, {idle_day / 1e6:.0f} MB by itself",
    )
    must(day_mb <= WRITTEN_DAY_MAX_MB, f"{day_mb:.0f} MB would be written in a day")
    # The box tells its own figure: what the device has counted since the machine's start, less than a day ago.
    scene.machine.shell("systemctl restart storebox")

    def told() -> int:
        return scene.till.status()["machine"]["written_day_bytes"] or 0

    until(
        lambda: told() >= sold,
        scene.patience_s,
        lambda: f"the box says that it wrote {told()} bytes, of {sold}",
        look_s=1.0,
    )
    scene.note("written since power-on, as the box tells", f"{told() / 1e6:.0f} MB")


def soak(scene: Scene) -> None:
    """A day's sales without a pause: the daemon stays within the memory that its unit allows it."""
    scene.till.sell(SALES_A_DAY, 0.0)
    scene.till.wait(scene.patience_s * 4)
    scene.in_the_books()
    peak, most = (
        int(scene.machine.shell(f"systemctl show --value -p {name} storebox"))
        for name in ("MemoryPeak", "MemoryMax")
    )
    events = scene.machine.shell("cat /sys/fs/cgroup/system.slice/storebox.service/memory.events")
    must("oom 0\noom_kill 0" in events and peak < most, f"memory: {peak} of {most} bytes, {events}")
    scene.note(
        f"memory in a day of {SALES_A_DAY} sales at once",
        f"at most {peak / 2**20:.0f} MiB of {most / 2**20:.0f}, page cache included; nothing killed",
    )


def _written(scene: Scene) -> int:
    """Bytes that the machine has written to its disk since it started (kernel, block/stat), all that it owes included.

    The kernel writes half a minute late, which else counts to whatever comes next.
    """
    return int(scene.machine.shell("sync; awk '{print $7 * 512}' /sys/class/block/vda/stat"))
