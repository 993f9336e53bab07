"""That a Pi's kernel has drivers for what a box lives on, on each board that the image serves.

Only a Pi 3 is emulated. Of the others this can be read: what their device trees name, and which module, or what in the
kernel itself, says that it drives that.
"""

from pathlib import Path

from bench.processes import must
from campaigns.image.card import boot_file

# By board: what a device tree says ("compatible"), and what a bus with numbers does. The card first: its drivers, and
# what these wait for (power, pins), are needed before there is a root.
CARD = {
    "bcm2837-rpi-3-b.dtb": ("brcm,bcm2835-sdhost", "brcm,bcm2835-gpio"),
    "bcm2837-rpi-3-b-plus.dtb": ("brcm,bcm2835-sdhost", "brcm,bcm2835-gpio"),
    "bcm2711-rpi-4-b.dtb": (
        "brcm,bcm2711-emmc2", "brcm,bcm2711-gpio", "raspberrypi,firmware-gpio", "regulator-gpio", "regulator-fixed",
    ),
    "bcm2712-rpi-5-b.dtb": (
        "brcm,bcm2712-sdhci", "brcm,brcmstb-gpio", "brcm,bcm2712c0-aon-pinctrl", "regulator-gpio", "regulator-fixed",
    ),
    "bcm2712-d-rpi-5-b.dtb": ("brcm,bcm2712-sdhci", "brcm,brcmstb-gpio", "brcm,bcm2712d0-aon-pinctrl"),
}  # fmt: skip
# The watchdog, and the message box to the firmware, through which a slot is tried.
EVERYWHERE = ("platform:bcm2835-wdt", "brcm,bcm2835-mbox", "raspberrypi,bcm2835-firmware")
# What leads to the watchdog, USB and Ethernet.
REST = {
    "bcm2837-rpi-3-b.dtb": ("brcm,bcm2835-pm-wdt", "brcm,bcm2835-usb", "usb:v0424pEC00"),
    "bcm2837-rpi-3-b-plus.dtb": ("brcm,bcm2835-pm-wdt", "brcm,bcm2835-usb", "usb:v0424p7800"),
    "bcm2711-rpi-4-b.dtb": (
        "brcm,bcm2711-pm", "brcm,bcm2711-pcie", "brcm,bcm2711-genet-v5", "pci:v*d*sv*sd*bc0Csc03i30"
    ),
    "bcm2712-rpi-5-b.dtb": (
        "brcm,bcm2712-pm", "brcm,bcm2712-pcie", "brcm,bcm2712-mip", "pci:v00001DE4d00000001",
        "raspberrypi,rp1-clocks", "raspberrypi,rp1-gpio", "raspberrypi,rp1-gem", "snps,dwc3",
    ),
    "bcm2712-d-rpi-5-b.dtb": ("brcm,bcm2712d0-pinctrl",),
}  # fmt: skip


def check_drivers(disk: Path, root: Path) -> list[str]:
    """What drives each board, in words. Raises Failed for a device that nothing drives, or not early enough."""
    (modules,) = (root / "usr/lib/modules").iterdir()
    drivers = _drivers(modules)
    # Modules are packed already: initramfs-tools leaves them as they are, in an archive before the packed one.
    initrd = boot_file(disk, "initrd.img")
    found = list[str]()
    for board, card in CARD.items():
        tree, needed = boot_file(disk, board), (*card, *EVERYWHERE, *REST[board])
        for device in needed:
            must(":" in device or f"{device}\0".encode() in tree, f"{board} names no {device}")
            must(any(name.startswith(device) for name in drivers), f"{board}: nothing drives {device}")
        early = {drivers[device] for device in card} - {""}
        absent = [name for name in early if f"/{name}.ko".encode() not in initrd]
        must(not absent, f"{board}: not in the initrd: {', '.join(absent)}")
        by = ", ".join(sorted(early)) or "what is in the kernel"
        found.append(f"{board}: {len(needed)} devices have drivers; its card {by}")
    return found


def _drivers(modules: Path) -> dict[str, str]:
    """Which module drives what; no name: the kernel itself. Names of files have `-` where modules may have `_`."""
    files = [path.name.partition(".ko")[0] for path in modules.rglob("*.ko*")]
    names = {name.replace("-", "_"): name for name in files}
    drivers = dict[str, str]()
    for line in (modules / "modules.alias").read_text().splitlines():
        if line.startswith("alias "):
            pattern, _, module = line.removeprefix("alias ").rpartition(" ")
            drivers[pattern.removeprefix("of:N*T*C")] = names[module]
    for entry in (modules / "modules.builtin.modinfo").read_bytes().split(b"\0"):
        _, _, pattern = entry.decode().partition(".alias=")
        drivers[pattern.removeprefix("of:N*T*C")] = ""
    return drivers
