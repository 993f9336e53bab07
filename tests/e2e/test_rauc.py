"""RAUC itself: real bundles under a throw-away authority, its real service on a bus of its own, slots that are files.

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

from appliance.domain.update import BundleInfo, Reason, Request, SlotsView, Verdict
from appliance.gateways.rauc import Rauc, RaucFailed
from appliance.services.installing import Installer
from appliance.storage.update_files import UpdateFiles, UpdateRecords, sha256_of
from tests.conftest import require

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

RAUC = Path(__file__).parents[2] / "image" / "rauc"
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


@pytest.fixture(autouse=True)
def tools() -> None:
    require("rauc", "openssl", "mksquashfs", "dbus-daemon", root=True, device="/dev/loop-control")


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The development authority, made by its own script."""
    require("openssl")
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
    require("gdbus")
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


def content(machine: Machine, slot: str) -> bytes:
    return (machine.folder / "slots" / slot).read_bytes()[: SLOT_BYTES // 4]


def test_a_release_is_written_beside_tried_once_and_kept(
    machine: Machine, keys: Path, tmp_path: Path
) -> None:
    fetched = bundle(tmp_path, keys)
    machine.fetch(fetched)
    assert machine.rauc.info(fetched) == BundleInfo("storebox-rpi", "0.2.0")
    assert machine.rauc.slots() == SlotsView("storebox-rpi", "storebox-a", "storebox-b")

    machine.ask("install", fetched)
    assert content(machine, "b2") == (tmp_path / "root.img").read_bytes()
    assert content(machine, "b1") == (tmp_path / "boot.img").read_bytes()
    assert content(machine, "a2") == bytes(SLOT_BYTES // 4)
    machine.start()
    assert machine.rauc.slots().booted == "storebox-a", "written is not yet tried"

    machine.ask("restart", fetched)
    assert (machine.restarts, machine.autoboot("all")) == (1, "2")
    machine.start()
    assert machine.rauc.slots().booted == "storebox-b"
    machine.installer().settle(Verdict)

    outcome = machine.records.outcome()
    assert outcome is not None
    assert (outcome.state, outcome.was) == ("updated", "0.1.0")
    machine.start()
    assert (machine.rauc.slots().booted, machine.autoboot("tryboot")) == ("storebox-b", "2")


def test_one_that_fails_its_proof_or_never_comes_up_is_left(
    machine: Machine, keys: Path, tmp_path: Path
) -> None:
    fetched = bundle(tmp_path, keys)
    for reason in (Reason.SALE_FAILED, Reason.NEVER_CAME_UP):
        machine.fetch(fetched)
        machine.ask("install", fetched)
        machine.ask("restart", fetched)
        machine.start()
        assert machine.rauc.slots().booted == "storebox-b"
        if reason is Reason.SALE_FAILED:
            machine.installer().settle(lambda: Verdict(Reason.SALE_FAILED, "no ack"))
        machine.start()
        machine.installer().settle(Verdict)

        assert machine.rauc.slots().booted == "storebox-a"
        outcome = machine.records.outcome()
        assert outcome is not None
        assert (outcome.state, outcome.reason) == ("rolled-back", reason)


def test_rauc_itself_refuses_what_is_not_ours_or_for_other_hardware(
    machine: Machine, keys: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    thief = tmp_path_factory.mktemp("thief")
    subprocess.run([RAUC / "authority", thief], check=True)
    forged, foreign = bundle(tmp_path, thief), bundle(tmp_path, keys, kind="amd64")
    altered = bundle(tmp_path, keys, version="0.2.1")
    body = bytearray(altered.read_bytes())
    body[len(body) // 2] ^= 1
    altered.write_bytes(body)

    for refused, why in (
        (forged, "signature verification failed"),
        (foreign, "Compatible mismatch|compatible"),
        (altered, "signature|digest"),
    ):
        with pytest.raises(RaucFailed, match=why):
            machine.rauc.install(refused)
    assert content(machine, "b2") == bytes(SLOT_BYTES // 4)


@pytest.mark.parametrize(
    ("kind", "stolen", "reason"),
    [
        ("rpi", True, Reason.BAD_SIGNATURE),
        ("amd64", False, Reason.OTHER_HARDWARE),
    ],
)
def test_the_root_unit_names_why(
    machine: Machine,
    keys: Path,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    kind: str,
    stolen: bool,
    reason: Reason,
) -> None:
    signer = keys
    if stolen:
        signer = tmp_path_factory.mktemp("thief")
        subprocess.run([RAUC / "authority", signer], check=True)
    fetched = bundle(tmp_path, signer, kind=kind)
    machine.fetch(fetched)

    machine.ask("install", fetched)

    outcome = machine.records.outcome()
    assert outcome is not None
    assert (outcome.state, outcome.reason) == ("refused", reason)
    assert content(machine, "b2") == bytes(SLOT_BYTES // 4)


def test_the_recipe_makes_what_a_box_takes(keys: Path, tmp_path: Path) -> None:
    """The format of boxes, with the image's own configuration but for the place of the keyring."""
    for kind in ("amd64", "rpi"):
        system = tmp_path / f"{kind}.conf"
        text = (RAUC / f"system.{kind}.conf").read_text()
        text = text.replace("/etc/rauc/keyring.pem", str(keys / "keyring.pem"))
        system.write_text(text.replace("/var/lib/storebox-update", str(tmp_path)))

        made = bundle(tmp_path, keys, kind=kind, format="verity")

        assert Rauc(system).info(made) == BundleInfo(f"storebox-{kind}", "0.2.0")


def test_the_authority_s_keys_are_for_its_maker_alone_and_made_once(keys: Path) -> None:
    before = (keys / "keyring.pem").read_bytes()
    subprocess.run([RAUC / "authority", keys], check=True)

    assert (keys / "keyring.pem").read_bytes() == before
    assert {path.stat().st_mode & 0o077 for path in keys.glob("*.key")} == {0}
