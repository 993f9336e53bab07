"""What an image is made of: packages and partitions of each kind of box."""

from typing import Literal, NamedTuple

Kind = Literal["amd64", "rpi"]

MIB = 1024 * 1024

# What these need comes by itself; nothing that they merely recommend does.
PACKAGES = (
    "systemd",
    "systemd-sysv",
    "udev",
    "dbus",
    "systemd-repart",  # grows the data partition
    "systemd-resolved",
    "systemd-timesyncd",
    "systemd-zram-generator",
    "python3-minimal",
    "libpython3.13-stdlib",
    "libsqlite3-0",
    "nftables",
    "openssh-server",  # starts only where a technician's key was provisioned
    "rauc",
    "rauc-service",
    "initramfs-tools",
    "busybox",
    "zstd",
    "e2fsprogs",  # checks the data partition
    "dosfstools",
    "kmod",
    "iproute2",
    "procps",
    "netbase",
    "tzdata",
    "ca-certificates",
    "less",
)


class Recipe(NamedTuple):
    """One kind of image. Sizes are in MiB."""

    architecture: str
    packages: tuple[str, ...]
    boot_mib: int
    # What comes from Debian's backports, by name; what these need in a version that is only there comes along.
    backports: tuple[str, ...] = ()
    root_mib: int = 768
    config_mib: int = 33
    # Large enough that ext4 can grow it to the largest card.
    data_mib: int = 320


RECIPES: dict[Kind, Recipe] = {
    "amd64": Recipe("amd64", (*PACKAGES, "linux-image-amd64", "efibootmgr"), boot_mib=128),
    "rpi": Recipe(
        "arm64",
        (*PACKAGES, "linux-image-arm64", "raspi-firmware", "iwd", "wireless-regdb", "firmware-brcm80211"),
        boot_mib=256,
        # Debian's own kernel has no drivers for a Pi 5 (decision 0025).
        backports=("linux-image-arm64", "linux-headers-arm64", "linux-base"),
    ),
}

# What a Pi's module is compiled with, for the kernel of its image; of no use on a box.
HEADERS = ("linux-headers-arm64", "binutils", "make")

# What makes file systems and kernels' bundles, and the machines that an image is tried in, in the versions of the
# image's own Debian.
TOOLS = (
    "erofs-utils",
    "systemd-ukify",
    "systemd-boot-efi",
    "mtools",
    "dosfstools",
    "e2fsprogs",
    "fdisk",
    "zstd",
    "device-tree-compiler",
    "qemu-system-x86",
    "qemu-system-arm",
    "ovmf",
)
