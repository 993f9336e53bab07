"""The Raspberry Pi image: its card as a Pi's firmware reads it, and its root on an emulated Pi 3 that starts from it.

The firmware itself is Broadcom's and runs on no emulator: QEMU loads what the card's boot partition holds in its place.
"""

import base64
import shutil
import time
from pathlib import Path

from bench.processes import must
from campaigns.image.card import boot_file, check_card, check_tables
from campaigns.image.drivers import check_drivers
from campaigns.image.figures import Figures
from campaigns.image.machine import TOOLS, Machine, shell_on
from campaigns.until import until

# A card is a power of two.
CARD_BYTES = 4 * 1024**3
DEVICE_TREE = "bcm2837-rpi-3-b.dtb"
# The Pi's small UART, as Debian's kernel numbers it; the large one belongs to its Bluetooth.
TERMINAL = "ttyS1"
# What the emulated firmware says (QEMU, hw/misc/bcm2835_property.c) of the tag that arms the try: it knows it not.
TRY = "bcm2835_property: unhandled tag 0x00038064"


class Pi(Machine):
    """An emulated Pi 3 with this card, and no network. Its one serial line is console and shell."""

    def command(self, clock: str) -> list[str]:  # noqa: ARG002  a Pi has no clock to set
        """What QEMU is started with, the boot partition's files in the folder beside the card."""
        for name in ("kernel8.img", "initrd.img", DEVICE_TREE):
            (self.folder / name).write_bytes(boot_file(self.disk, name))
        words = boot_file(self.disk, "cmdline.txt").decode().split()
        words[words.index("console=serial0,115200")] = f"console={TERMINAL},115200"
        # QEMU's Pi restarts at once when its watchdog is armed (hw/misc/bcm2835_powermgt.c).
        words.append("systemd.watchdog_sec=0")
        for name, text in shell_on(TERMINAL).items():
            words.append(f"systemd.set_credential_binary={name}:{base64.b64encode(text.encode()).decode()}")
        return [
            *self.emulator("aarch64"), "-M", "raspi3b", "-display", "none",
            "-kernel", str(self.folder / "kernel8.img"), "-initrd", str(self.folder / "initrd.img"),
            "-dtb", str(self.folder / DEVICE_TREE), "-append", " ".join(words),
            "-drive", f"if=sd,format=raw,file={self.disk},cache=writethrough",
            "-serial", "null",
            "-chardev",
            f"socket,id=line,path={self.folder / 'shell'},server=on,wait=off,logfile={self.console},logappend=on",
            "-serial", "chardev:line",
            # One log for each process, so for each run: %d is its number.
            "-d", "unimp", "-D", str(self.folder / "firmware.%d.log"),
        ]  # fmt: skip

    def restart(self, command: str, limit_s: float) -> None:
        """Restart it by a command inside, until it is a new machine. Raises Failed."""
        before = len(self._logs())
        self.shell(command)
        self.forget_shell()
        until(
            lambda: len(self._logs()) > before,
            limit_s,
            lambda: f"no restart:\n{self.said()}",
        )
        self.console.write_bytes(b"")
        self.started_s = time.monotonic()

    def tries(self) -> int:
        """How often the firmware was told to try the other slot, in all runs that have ended."""
        return sum(log.read_text(errors="replace").count(TRY) for log in self._logs())

    def _logs(self) -> list[Path]:
        return list(self.folder.glob("firmware.*.log"))


def on_a_pi(image: Path, folder: Path, patience_s: float, figures: Figures) -> None:
    """Check the card, start from it. Raises Failed."""
    for found in check_card(image):
        figures.note("card", found)
    for found in check_drivers(image, image.parent / "root"):
        figures.note("drivers", found)
    card = folder / "card.img"
    shutil.copyfile(image, card)
    with card.open("r+b") as file:
        file.truncate(CARD_BYTES)
    pi = Pi(image.parents[1] / TOOLS, folder, card)
    with pi:
        pi.start()
        figures.note(
            "power-on to a box that waits for its claim",
            f"{pi.wait_for('storebox: unclaimed', patience_s):.0f} s",
        )
        pi.wait_for("state  unclaimed", patience_s)
        _sound(pi, figures)
        _tries(pi, patience_s)
        figures.note("the firmware is told to try the other slot", "at a restart for a try, at no other")


def _sound(pi: Machine, figures: Figures) -> None:
    failed = pi.shell("systemctl list-units --failed --plain --no-legend")
    must(not failed, f"failed units: {failed}")
    figures.note("machine", pi.shell("tr '\\0' ' ' </proc/device-tree/model; uname -rm"))
    must(
        "erofs ro" in pi.shell("findmnt -no FSTYPE,OPTIONS / | tr -s ' '"),
        "the root is not a read-only erofs",
    )
    grown = int(pi.shell("df --output=size -BM /var | tail -n 1").strip(" M\n"))
    must(grown > 1_500, f"the data partition has {grown} MiB on a card of 4 GiB")
    figures.note("data partition on a card of 4 GiB", f"{grown} MiB")
    with pi.disk.open("rb") as card:
        check_tables(card.fileno())
    listening = pi.shell("ss -Hltn 'sport = :22'")
    must(not listening, f"SSH is open without a technician's key: {listening}")
    must(pi.shell("cat /run/storebox-slot") == "a", "another slot than a runs")
    dog = pi.shell("cat /sys/class/watchdog/watchdog0/identity")
    figures.note("watchdog, which an emulated Pi cannot arm", dog)


def _tries(pi: Pi, patience_s: float) -> None:
    """An update's try, as RAUC and the root unit begin it, reaches the firmware; a plain restart asks for none."""
    pi.restart(
        "rauc status mark-active other"
        ' && systemctl reboot --no-block "--reboot-argument=$(cat /run/storebox-reboot-argument)"',
        patience_s,
    )
    must(pi.tries() == 1, f"a restart for a try told the firmware so {pi.tries()} times")
    pi.wait_for("storebox: unclaimed", patience_s)
    pi.restart("systemctl reboot --no-block", patience_s)
    must(pi.tries() == 1, "a plain restart told the firmware to try the other slot")
