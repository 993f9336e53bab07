"""A Debian 13 whose systemd is PID 1 of namespaces of its own: no virtual machine, and a kernel that is the host's.

What it writes goes to a layer of its own over the root, and is gone with it. Not as on a box: no watchdog hardware, and
where the host has memory control in the old hierarchy, MemoryMax= bounds nothing.
"""

import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.processes import Failed
from campaigns.until import until

HERE = Path(__file__).parent
PACKAGES = "systemd,systemd-sysv,dbus,python3,python3-venv,ca-certificates,iproute2,procps"
ADDRESS = "192.168.77.2"
# What belongs to a kernel of one's own, or to a console that somebody sits at.
MASKED = (
    "systemd-modules-load.service",
    "dev-hugepages.mount",
    "sys-kernel-debug.mount",
    "sys-kernel-tracing.mount",
    "sys-fs-fuse-connections.mount",
    "systemd-logind.service",
    "console-getty.service",
    "getty@tty1.service",
)
NAMESPACES = ["--mount", "--pid", "--fork", "--kill-child", "--cgroup", "--net", "--ipc", "--uts"]
BOOT_S = 60.0


def make_root(root: Path) -> None:
    """A Debian 13 in a folder, unless it is there. Needs its archive, and some two minutes."""
    if (root / "usr/lib/systemd/systemd").exists():
        return
    root.parent.mkdir(parents=True, exist_ok=True)
    beside = root.with_name(root.name + ".new")
    shutil.rmtree(beside, ignore_errors=True)
    _run(["mmdebstrap", "--quiet", "--variant=minbase", f"--include={PACKAGES}", "trixie", str(beside)])
    beside.rename(root)


class Machine:
    """`boots` counts them; `console` is what was written to it. Use `open_machine`."""

    def __init__(self, root: Path, cgroups: Path) -> None:
        self.root = root
        self.boots = 0
        self.console = ""
        self._cgroups = cgroups
        self._process: subprocess.Popen[bytes] | None = None
        self._off = threading.Event()
        self._keeper: threading.Thread | None = None

    def power_on(self) -> None:
        """Boot, and boot again whenever it reboots. Returns once systemd has started what there is to start."""
        self._keeper = threading.Thread(target=self._keep_on, daemon=True)
        self._keeper.start()
        self.wait_for_boot(1)

    def power_off(self) -> None:
        """At once, as when the plug is pulled."""
        self._off.set()
        if self._process is not None:
            self._process.kill()
        if self._keeper is not None:
            self._keeper.join()

    def run(self, *command: str, check: bool = True) -> str:
        """What a command prints in the machine. Raises Failed when it fails and `check` is not False."""
        return _run(["nsenter", "--target", str(self._init()), "--all", "--", *command], check=check)

    def start(self, *command: str) -> subprocess.Popen[str]:
        """A command in the machine that runs beside."""
        inside = ["nsenter", "--target", str(self._init()), "--all", "--", *command]
        return subprocess.Popen(inside, stdout=subprocess.PIPE, text=True)  # noqa: S603  tools of this machine

    def beside(self, *command: str) -> list[str]:
        """A command of the host's that has the machine's network, and nothing else of it."""
        return ["nsenter", "--target", str(self._init()), "--net", "--", *command]

    def show(self, unit: str, name: str) -> str:
        """A property of a unit."""
        return self.run("systemctl", "show", "--property", name, "--value", unit).strip()

    def is_active(self, unit: str) -> bool:
        """Whether a unit is active right now; also False while the machine reboots."""
        try:
            return self.run("systemctl", "is-active", unit, check=False).strip() == "active"
        except (Failed, OSError):
            return False

    def wait_for_boot(self, number: int) -> None:
        """Return once it has booted that often."""
        until(lambda: self.boots >= number and self._is_up(), BOOT_S, lambda: f"boot {number}")

    def _is_up(self) -> bool:
        try:
            said = self.run("systemctl", "is-system-running", check=False).strip()
        except (Failed, OSError):
            return False
        return said in ("running", "degraded")

    def _init(self) -> int:
        if self._process is None or self._process.poll() is not None:
            raise Failed("the machine is off")
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        if not children:
            raise Failed("the machine is off")
        return int(children[0])

    def _keep_on(self) -> None:
        while not self._off.is_set():
            self._boot()

    def _boot(self) -> None:
        group = self._cgroups / f"storebox-units-{os.getpid()}-{self.boots}"
        group.mkdir()
        reader, terminal = os.openpty()
        listening = threading.Thread(target=self._listen, args=(reader,), daemon=True)
        listening.start()
        enter = 'echo $$ > "$0/cgroup.procs"; exec unshare "$@"'
        init = [str(HERE / "init.sh"), str(self.root), os.ttyname(terminal)]
        command = ["/bin/sh", "-c", enter, str(group), *NAMESPACES, "/bin/bash", *init]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL)  # noqa: S603  tools of this machine
        self.boots += 1
        code = self._process.wait()
        os.close(terminal)
        listening.join()
        os.close(reader)
        _forget(group)
        # A PID 1 that reboots is ended by SIGHUP (pid_namespaces(7)).
        if code != -signal.SIGHUP:
            self._off.set()

    def _listen(self, reader: int) -> None:
        while True:
            try:
                self.console += os.read(reader, 4_096).decode(errors="replace")
            except OSError:  # the last who had it open is gone
                return


@contextmanager
def open_machine(root: Path, work: Path) -> Iterator[Machine]:
    """A machine that begins as `root` is, switched on by who wants it, off and forgotten when the block is left."""
    cgroups = next(
        Path(fields[1])
        for line in Path("/proc/self/mounts").read_text().splitlines()
        if (fields := line.split())[2] == "cgroup2"
    )
    for name in ("upper", "work", "merged"):
        (work / name).mkdir()
    layers = f"lowerdir={root},upperdir={work / 'upper'},workdir={work / 'work'}"
    _run(["mount", "-t", "overlay", "-o", layers, "overlay", str(work / "merged")])
    machine = Machine(work / "merged", cgroups)
    try:
        _run(["chroot", str(machine.root), "systemctl", "--quiet", "mask", *MASKED])
        yield machine
    finally:
        machine.power_off()
        _run(["umount", "--recursive", str(work / "merged")], check=False)


def _run(command: list[str], *, check: bool = True) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  tools of this machine
    if check and done.returncode != 0:
        raise Failed(
            f"{' '.join(command)} exited {done.returncode}: {done.stdout[-500:]}{done.stderr[-1500:]}"
        )
    return done.stdout


def _forget(group: Path) -> None:
    def gone() -> bool:
        try:
            for folder in sorted((path for path in group.rglob("*") if path.is_dir()), reverse=True):
                folder.rmdir()
            group.rmdir()
        except OSError:  # the last of its processes are about to end
            return not group.exists()
        return True

    until(gone, BOOT_S, lambda: f"{group} is empty")
