"""One emulated PC with the image's disk: started, cut off, asked.

The image is not changed for it. The shell by which a test looks inside comes from outside, as systemd credentials in
the firmware's SMBIOS tables (systemd.system-credentials(7)), on a second serial port; no box has one.
"""

import base64
import json
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from bench.processes import Failed
from campaigns.until import until

# The tools' root, beside an image's folder, and the firmware in it.
TOOLS = "base.tools"
CODE, VARS = "usr/share/OVMF/OVMF_CODE_4M.fd", "usr/share/OVMF/OVMF_VARS_4M.fd"
# Where the guest finds the host's loopback. The whole campaign runs in a network namespace of its own: nothing else is
# reached from there.
OFFICE = "10.0.2.2"
# The address that QEMU gives the guest also leads to this namespace's loopback: a till finds the box where it says. The
# till's own address must be another one, or the box would hear from itself, and its kernel drops that.
BOX = "10.0.2.15"
# What the console says when the kernel is at its end, and when the box serves.
RESTARTS, SERVES = "reboot: Restarting system", "storebox: READY"
# Devices that only some starts have.
WATCHDOG = ("-device", "i6300esb,addr=0x7", "-action", "watchdog=reset")


def stick(file: Path) -> tuple[str, ...]:
    """A USB stick with this content."""
    drive = f"if=none,id=stick,format=raw,file={file}"
    return ("-device", "qemu-xhci,addr=0x8", "-drive", drive, "-device", "usb-storage,drive=stick")


def shell_on(terminal: str) -> dict[str, str]:
    """The credentials that make systemd run a shell there."""
    unit = (
        "[Unit]\nDefaultDependencies=no\n[Service]\nExecStart=/bin/sh\nStandardInput=tty-force\nStandardOutput=tty\n"
        f"StandardError=tty\nTTYPath=/dev/{terminal}\nRestart=always\nOOMScoreAdjust=-1000\n"
    )
    return {
        "systemd.extra-unit.test-shell.service": unit,
        "systemd.unit-dropin.sysinit.target": "[Unit]\nWants=test-shell.service\n",
    }


class Machine:
    """A machine of 1 GiB, like a Pi. `folder` keeps disk, firmware variables and console between two starts.

    The emulator and its firmware are those of `tools`, the root that `make image` leaves beside the images.

    When it restarts by itself, or its watchdog resets it, it is a new QEMU that goes on: what a restart keeps is on
    disk or in the firmware's variables, and QEMU 7.2 ran the firmware ten times slower in a process that had run a
    system before (40 to 110 s instead of 8).
    """

    def __init__(self, tools: Path, folder: Path, disk: Path, *, ssh_port: int = 0) -> None:
        self.tools = tools
        self.folder = folder
        self.disk = disk
        self.console = folder / "console.log"
        self.ssh_port = ssh_port
        self._network = f"user,id=net,hostfwd=tcp:{BOX}:8480-:8480,hostfwd=tcp:127.0.0.1:{ssh_port}-:22"
        self._process: subprocess.Popen[bytes] | None = None
        # It is on while this thread lives.
        self._keeper: threading.Thread | None = None
        self._switch, self._plugged = threading.Lock(), False
        self._shell: socket.socket | None = None
        self.started_s = 0.0
        if not (folder / "vars.fd").exists():
            shutil.copyfile(tools / VARS, folder / "vars.fd")

    def start(self, *, clock: str = "utc", more: Sequence[str] = ()) -> None:
        """Switch it on, with `more` devices.

        The disk's cache is honest: what the guest flushed is in the file, else not (writethrough).
        """
        assert self._keeper is None, "it is on"
        self.console.unlink(missing_ok=True)
        command = [*self.command(clock), *more, "-no-reboot"]
        self.started_s = time.monotonic()
        self._plugged, self._process = True, self._qemu(command)
        self._keeper = threading.Thread(target=self._keep_on, args=(self._process, command))
        self._keeper.start()

    def _qemu(self, command: list[str]) -> subprocess.Popen[bytes]:
        with (self.folder / "qemu.log").open("ab") as log:
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)  # noqa: S603  our own words

    def _keep_on(self, process: subprocess.Popen[bytes], command: list[str]) -> None:
        """Start QEMU again each time that it ends well, which is a restart: nothing here powers itself off."""
        while process.wait() == 0:
            with self._switch:
                if not self._plugged:
                    return
                self._process = process = self._qemu(command)

    def emulator(self, processor: str) -> list[str]:
        """QEMU of the tools' root, run where this process is: by that root's dynamic linker, with its libraries."""
        qemu = f"qemu-system-{processor}"
        linker, libraries = self.tools / "lib64/ld-linux-x86-64.so.2", self.tools / "usr/lib/x86_64-linux-gnu"
        program, data = self.tools / "usr/bin" / qemu, self.tools / "usr/share/qemu"
        return [str(linker), "--argv0", qemu, "--library-path", str(libraries), str(program), "-L", str(data)]

    def command(self, clock: str) -> list[str]:
        """What QEMU is started with: a PC."""
        command = [
            *self.emulator("x86_64"), "-M", "q35", "-accel", "tcg,thread=multi", "-cpu", "Opteron_G3",
            "-smp", "2", "-m", "1G",
            "-nodefaults", "-display", "none", "-rtc", f"base={clock}",
            "-drive", f"if=pflash,format=raw,readonly=on,file={self.tools / CODE}",
            "-drive", f"if=pflash,format=raw,file={self.folder / 'vars.fd'}",
            "-drive", f"if=none,id=disk,format=raw,file={self.disk},cache=writethrough",
            # Fixed places: the firmware remembers its disk by them.
            "-device", "virtio-blk-pci,drive=disk,addr=0x4", "-netdev", self._network,
            "-device", "virtio-net-pci,netdev=net,addr=0x5,romfile=",
            "-object", "rng-random,id=random,filename=/dev/urandom", "-device", "virtio-rng-pci,rng=random,addr=0x6",
            "-chardev", f"file,id=console,path={self.console},append=on", "-serial", "chardev:console",
            "-serial", f"unix:{self.folder / 'shell'},server=on,wait=off",
            "-qmp", f"unix:{self.folder / 'monitor'},server=on,wait=off",
        ]  # fmt: skip
        for name, text in shell_on("ttyS1").items():
            coded = base64.b64encode(text.encode()).decode()
            command += ["-smbios", f"type=11,value=io.systemd.credential.binary:{name}={coded}"]
        return command

    def cut(self) -> None:
        """Pull the plug: the machine is gone between two instructions."""
        self.forget_shell()
        if self._keeper is None:
            return
        with self._switch:
            assert self._process is not None
            self._plugged = False
            self._process.kill()
        self._keeper.join()
        self._keeper = self._process = None

    def wait_for(self, text: str, limit_s: float, *, times: int = 1) -> float:
        """Until the console has said this; how long after power-on. Raises Failed."""

        def said() -> bool:
            if self.console.exists() and self.heard().count(text) >= times:
                return True
            if self._keeper is None or not self._keeper.is_alive():
                raise Failed(f"the machine is off: {(self.folder / 'qemu.log').read_text()[-500:]}")
            return False

        left_s = self.started_s + limit_s - time.monotonic()
        until(said, left_s, lambda: f"no {text!r} on the console:\n{self.said()}", 0.2)
        return time.monotonic() - self.started_s

    def wait_for_watchdog(self, limit_s: float) -> None:
        """Until the hardware's watchdog resets it. Raises Failed."""
        with socket.socket(socket.AF_UNIX) as monitor:
            monitor.settimeout(limit_s)
            monitor.connect(str(self.folder / "monitor"))
            monitor.sendall(b'{"execute": "qmp_capabilities"}')
            try:
                with monitor.makefile("rb") as told:
                    if any(json.loads(line).get("event") == "WATCHDOG" for line in told):
                        return
            except TimeoutError as error:
                raise Failed(f"no reset by the watchdog in {limit_s:.0f} s") from error
        raise Failed("the machine went away before its watchdog reset it")

    def heard(self) -> str:
        """All that its consoles said since it was switched on."""
        return self.console.read_bytes().decode(errors="replace")

    def forget_shell(self) -> None:
        """It restarted: the shell inside is another one."""
        if self._shell is not None:
            self._shell.close()
            self._shell = None

    def said(self) -> str:
        """The end of what is on the console."""
        return self.heard()[-2000:]

    def shell(self, command: str, limit_s: float = 120.0) -> str:
        """What a command inside prints; its exit code must be 0. Raises Failed."""
        if self._shell is None:
            self._shell = socket.socket(socket.AF_UNIX)
            self._shell.connect(str(self.folder / "shell"))
            # Whatever the firmware and an earlier reader left is read away; no echo, no prompt.
            self._ask("stty -echo; PS1=; PS2=", limit_s)
        # Not straight to the terminal, for which programs write otherwise.
        return self._ask(
            f"said=$( {{ {command}\n}} 2>&1 ); code=$?; printf '%s\\n' \"$said\"; (exit $code)", limit_s
        )

    def _ask(self, command: str, limit_s: float) -> str:
        assert self._shell is not None
        mark = f"{time.monotonic_ns():x}"
        # The mark is put together inside, so that an echoed command line does not look like the end.
        self._shell.sendall(
            f"printf '<%s' {mark}; echo '>'; {{ {command}\n}} 2>&1; echo \"<\"{mark}\"/$?>\"\n".encode()
        )
        said, until_s = b"", time.monotonic() + limit_s
        begin, end = f"<{mark}>".encode(), f"<{mark}/".encode()
        while end not in said or b">" not in said.partition(end)[2]:
            self._shell.settimeout(max(0.1, until_s - time.monotonic()))
            try:
                piece = self._shell.recv(65536)
            except TimeoutError as error:
                raise Failed(
                    f"no answer inside to {command!r} in {limit_s:.0f} s: {said[-500:]!r}"
                ) from error
            if not piece:
                raise Failed(f"the machine went away during {command!r}")
            said += piece
        text, _, rest = said.partition(begin)[2].partition(end)
        answer = text.decode(errors="replace").replace("\r\n", "\n").strip("\n")
        if (code := rest.partition(b">")[0]) != b"0":
            raise Failed(f"{command!r} exited {code.decode()} inside: {answer[-1500:]}")
        return answer

    def __enter__(self) -> "Machine":
        return self

    def __exit__(self, *_: object) -> None:
        self.cut()
        for name in ("shell", "monitor"):
            (self.folder / name).unlink(missing_ok=True)
