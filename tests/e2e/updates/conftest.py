"""A Pi whose partitions are files: RAUC's own service on a bus of its own, and the image's own configuration.

The machine's start is the only thing played here: which slot runs is what a box's initrd would have found out. The
whole of it, with firmware and kernels, is the image's test.
"""

import configparser
import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from appliance.domain.update import Request
from appliance.gateways.rauc import Rauc
from appliance.services.installing import Installer
from appliance.storage.update_files import UpdateFiles, UpdateRecords, sha256_of
from tests.conftest import require

RAUC = Path(__file__).parents[3] / "image" / "rauc"
BUS = """<busconfig>
  <type>system</type>
  <listen>unix:path={bus}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/> <allow own="*"/> <allow send_destination="*"/> <allow receive_sender="*"/>
  </policy>
</busconfig>
"""
NOBODY = 65_534
SLOT_BYTES = 4 * 1024 * 1024


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The development authority, made by its own script."""
    require("rauc", "openssl", "mksquashfs", "dbus-daemon", "gdbus", root=True, device="/dev/loop-control")
    folder = tmp_path_factory.mktemp("keys")
    subprocess.run([RAUC / "authority", folder], check=True)
    return folder


def bundle(
    folder: Path,
    keys: Path,
    *,
    kind: str = "rpi",
    version: str = "0.2.0",
    format: str = "plain",
) -> Path:
    """A bundle by the recipe; what it holds differs from run to run."""
    for name in ("boot.img", "root.img"):
        (folder / name).write_bytes(os.urandom(SLOT_BYTES // 4))
    out = folder / f"storebox-{version}-{kind}-{format}.raucb"
    files = map(str, (folder / "boot.img", folder / "root.img", keys, out))
    command = [str(RAUC / "bundle"), kind, version, *files]
    subprocess.run(command, check=True, capture_output=True, env=os.environ | {"FORMAT": format})
    return out


@dataclass
class Machine:
    """A Pi whose partitions are files; `start` is what its firmware and initrd do."""

    folder: Path
    system: Path
    rauc: Rauc
    files: UpdateFiles
    records: UpdateRecords
    restarts: int = 0
    boots: int = 0
    service: ExitStack | None = None

    def autoboot(self, section: str) -> str:
        parser = configparser.ConfigParser()
        parser.read(self.folder / "config/autoboot.txt")
        return parser[section]["boot_partition"]

    def start(self) -> None:
        """Power on: the slot that is to be tried, if the restart was asked for with that; else the committed one."""
        argument = self.folder / "run/storebox-reboot-argument"
        tried = argument.exists() and argument.read_text() == "0 tryboot\n"
        slot = {"2": "a", "3": "b"}[self.autoboot("tryboot" if tried else "all")]
        for left in (self.folder / "run").iterdir():
            left.unlink()  # /run does not outlive a restart
        (self.folder / "run/storebox-slot").write_text(f"{slot}\n")
        self.boots += 1
        self._serve(f"storebox-{slot}")

    def stop(self) -> None:
        if self.service is not None:
            self.service.close()
            self.service = None

    def _serve(self, booted: str) -> None:
        self.stop()
        self.service = ExitStack()
        service = self.service.enter_context(
            subprocess.Popen(
                ["rauc", f"--conf={self.system}", "service", f"--override-boot-slot={booted}"],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
        )
        self.service.callback(service.terminate)
        # It answers once it is on the bus.
        wait = ["gdbus", "wait", "--system", "--timeout", "20", "de.pengutronix.rauc"]
        subprocess.run(wait, check=True)

    def installer(self) -> Installer:
        version = "0.1.0" if self.rauc.slots().booted == "storebox-a" else "0.2.0"
        return Installer(self.files, self.records, self.rauc, version, f"boot-{self.boots}", self._restart)

    def ask(self, do: str, fetched: Path) -> None:
        request = Request("install" if do == "install" else "restart", 1, "0.2.0", sha256_of(fetched))
        self.files.ask(request)
        self.installer().serve()

    def fetch(self, fetched: Path) -> None:
        self.files.take(b"an offer")
        self.files.append(fetched.read_bytes(), 0)
        assert self.files.finish(sha256_of(fetched))
        for path in (self.folder / "update", self.files.bundle):
            os.chown(path, NOBODY, NOBODY)  # the daemon's user

    def _restart(self) -> None:
        self.restarts += 1


@pytest.fixture
def machine(tmp_path: Path, keys: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    for name in ("config", "run", "records", "slots"):
        (tmp_path / name).mkdir()
    (tmp_path / "config/autoboot.txt").write_text(
        "[all]\ntryboot_a_b=1\nboot_partition=2\n[tryboot]\nboot_partition=3\n"
    )
    system = tmp_path / "system.conf"
    system.write_text(a_system(tmp_path, keys))
    bus = tmp_path / "bus"
    (tmp_path / "bus.conf").write_text(BUS.format(bus=bus))
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={bus}")
    monkeypatch.setenv("STOREBOX_BOOT_CONFIG", str(tmp_path / "config"))
    monkeypatch.setenv("STOREBOX_RUN", str(tmp_path / "run"))
    daemon = ["dbus-daemon", f"--config-file={tmp_path / 'bus.conf'}", "--nofork", "--print-address"]
    with subprocess.Popen(daemon, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        machine = Machine(
            tmp_path,
            system,
            Rauc(system),
            UpdateFiles(tmp_path / "update"),
            UpdateRecords(tmp_path / "records"),
        )
        try:
            machine.start()
            yield machine
        finally:
            machine.stop()
            process.terminate()


def a_system(folder: Path, keys: Path) -> str:
    """The image's own configuration of a Pi, with files for partitions, and bundles that need no dm-verity."""
    text = (RAUC / "system.rpi.conf").read_text()
    for end in ("a1", "a2", "b1", "b2"):
        slot = folder / "slots" / end
        slot.write_bytes(bytes(SLOT_BYTES))
        text = text.replace(f"/dev/disk/by-partuuid/53746f72-6562-6f78-8000-0000000000{end}", str(slot))
    assert "/dev/disk" not in text
    for said, here in (
        ("bundle-formats=verity", "bundle-formats=plain"),
        ("/run/rauc/mnt", str(folder / "mnt")),
        ("/var/lib/storebox-update/rauc", str(folder / "rauc")),
        ("/etc/rauc/keyring.pem", str(keys / "keyring.pem")),
        ("/usr/lib/storebox/tryboot", str(RAUC / "tryboot")),
    ):
        assert said in text
        text = text.replace(said, here)
    return text
