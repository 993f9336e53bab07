"""A root file system out of locked packages: mmdebstrap, the program, and the files of this folder laid over it."""

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from image.module import put_module
from image.packages import HERE, fetch, lock_file, make_archive, read_lock
from image.program import compile_all, put_program
from image.recipe import Kind, Recipe
from image.tools import inside, run

# Manuals and translations; copyright files stay, the licences ask for them.
EXCLUDED = (
    "/usr/share/doc/*",
    "/usr/share/man/*",
    "/usr/share/info/*",
    "/usr/share/locale/*",
    "/usr/share/lintian/*",
)
INCLUDED = ("/usr/share/doc/*/copyright",)
# Kernel modules of what no box has or serves.
UNUSED_MODULES = (
    "sound", "drivers/media", "drivers/infiniband", "drivers/isdn", "drivers/staging", "drivers/iio", "drivers/comedi",
    "drivers/gpu/drm/amd", "drivers/gpu/drm/nouveau", "drivers/gpu/drm/radeon", "drivers/gpu/drm/i915",
    "drivers/gpu/drm/xe", "drivers/net/wireless/ath", "drivers/net/wireless/intel",
    "drivers/net/wireless/mediatek", "drivers/net/wireless/realtek", "drivers/net/wireless/marvell", "arch/x86/kvm",
    "drivers/firmware/qemu_fw_cfg.ko*",
)  # fmt: skip
# No Wi-Fi on a PC box; and without a list of countries, which its image lacks, cfg80211 asks for one for ever.
UNUSED_MODULES_ON: dict[Kind, tuple[str, ...]] = {
    "amd64": ("drivers/net/wireless", "net/wireless", "net/mac80211"),
    "rpi": (),
}
# What the packages' own set-up leaves that differs from build to build, or belongs to one box.
LEFT_OVER = (
    "var/lib/dbus/machine-id", "var/lib/systemd/*", "var/cache/*/*", "var/cache/*", "var/log/*", "var/lib/dpkg/*-old",
    "etc/*-", "etc/ssh/ssh_host_*", "etc/.pwd.lock", "etc/apt/sources.list", "tmp/*", "run/*",
)  # fmt: skip
# Defaults in a folder that leads to the data partition, and what keeps the boot partition of a Debian that is changed
# in place.
IN_THE_WAY = ("etc/iwd/main.conf", "etc/initramfs/post-update.d/z50-raspi-firmware")
ENABLED = (
    "nftables", "systemd-networkd", "systemd-resolved", "systemd-timesyncd", "storebox", "storebox-first-boot",
    "storebox-grow", "storebox-ssh", "storebox-console", "storebox-console.path", "storebox-update.path",
    "storebox-commit", "storebox-trial-over", "storebox-trial-over.timer",
)  # fmt: skip
ENABLED_ON: dict[Kind, tuple[str, ...]] = {"amd64": ("storebox-boot-entries",), "rpi": ("iwd",)}
# Nobody logs in at a console, packages are never changed in place, and nothing here traces or debugs the kernel, makes
# file systems in programs, shares pages or queues by name, or runs programs of other machines. Who needs a loop or a
# mapped device (RAUC) has the kernel load it.
MASKED = (
    "getty@.service", "serial-getty@.service", "console-getty.service", "container-getty@.service", "ssh.service",
    "ssh.socket", "sshd-unix-local.socket", "systemd-firstboot.service", "systemd-networkd-wait-online.service",
    "rauc-mark-good.service", "apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer",
    "e2scrub_all.timer", "e2scrub_reap.service",
    "sys-kernel-debug.mount", "sys-kernel-tracing.mount", "sys-kernel-config.mount", "sys-fs-fuse-connections.mount",
    "dev-hugepages.mount", "dev-mqueue.mount", "proc-sys-fs-binfmt_misc.automount", "systemd-binfmt.service",
    "systemd-update-done.service", "ldconfig.service", "systemd-sysusers.service", "systemd-hwdb-update.service",
    "systemd-network-generator.service", "systemd-udev-load-credentials.service",
    "systemd-journal-catalog-update.service",
    "modprobe@dm_mod.service", "modprobe@drm.service", "modprobe@loop.service",
)  # fmt: skip
# What systemd would look for at each start, before anything else, and no box has: scripts of System V, partitions to
# find, a hibernated system, SSH on a socket of a virtual machine, and so on.
MASKED_GENERATORS = (
    "getty",
    "gpt-auto",
    "hibernate-resume",
    "rc-local",
    "run",
    "ssh",
    "system-update",
    "sysv",
    "tpm2",
)


def make_root(
    kind: Kind, recipe: Recipe, version: str, epoch: int, source: Path, work: Path, root: Path
) -> None:
    """Make it in `root`, anew, with the program of the checkout `source`. Needs to be root."""
    base = _kept(recipe.architecture, recipe.architecture, epoch, work)
    shutil.rmtree(root, ignore_errors=True)
    run("cp", "-a", base, root)
    (root / "etc/storebox.lock").unlink()
    if kind == "rpi":
        put_module(epoch, base, work, root)
    for module in (root / "usr/lib/modules").iterdir():
        _remove(module / "kernel", (*UNUSED_MODULES, *UNUSED_MODULES_ON[kind]))
        inside(root, "depmod", module.name)
    _remove(root, IN_THE_WAY)
    for files in (HERE / "files", HERE / f"files.{kind}"):
        _lay_over(files, root)
    _put_units(source / "systemd", root)
    _put_updates(kind, work / "keys", root)
    put_program(recipe.architecture, epoch, source, work, root)
    _settle(kind, version, root)
    _set_times(epoch, root)
    inside(root, "update-initramfs", "-c", "-k", "all", environment={"SOURCE_DATE_EPOCH": str(epoch)})
    compile_all(root)
    _clean(epoch, root)


def make_tools(epoch: int, work: Path) -> Path:
    """The root in which file systems are made, and whose emulators an image is tried in."""
    return _kept("tools", "amd64", epoch, work)


def _kept(lock: str, architecture: str, epoch: int, work: Path) -> Path:
    """A root of the packages of a lock alone; kept as long as the lock is the same."""
    text, root = lock_file(lock).read_bytes(), work / f"base.{lock}"
    mark = root / "etc/storebox.lock"
    if mark.exists() and mark.read_bytes() == text:
        return root
    shutil.rmtree(root, ignore_errors=True)
    packages = read_lock(lock_file(lock))
    archive = work / f"archive.{lock}"
    shutil.rmtree(archive, ignore_errors=True)
    make_archive(fetch(packages, work / "debs"), archive)
    names = sorted({package.name for package in packages})
    paths = [f"path-exclude={pattern}" for pattern in EXCLUDED] + [
        f"path-include={pattern}" for pattern in INCLUDED
    ]
    run(
        "mmdebstrap", "--mode=root", "--variant=apt", f"--architectures={architecture}", "--format=directory",
        *(f"--dpkgopt={option}" for option in paths),
        '--aptopt=APT::Install-Recommends "false"', f"--include={','.join(names)}",
        "trixie", str(root), f"deb [trusted=yes] copy://{archive} ./",
        # The initrd is made once all of its files are there; emulated, it takes minutes.
        environment={"SOURCE_DATE_EPOCH": str(epoch), "INITRD": "No"},
    )  # fmt: skip
    mark.write_bytes(text)
    return root


def _lay_over(files: Path, root: Path) -> None:
    """Copy a tree of files, owned by root; a file that is executable here is so there."""
    for source in sorted(files.rglob("*")):
        target = root / source.relative_to(files)
        if source.is_dir() and not source.is_symlink():
            target.mkdir(parents=True, exist_ok=True)
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.is_dir() and not target.is_symlink():
            # Only an empty folder may make room for a link.
            target.rmdir()
        target.unlink(missing_ok=True)
        if source.is_symlink():
            target.symlink_to(source.readlink())
        else:
            shutil.copyfile(source, target)
            target.chmod(0o755 if os.access(source, os.X_OK) else 0o644)


def _put_units(units: Path, root: Path) -> None:
    """The same units, users and directories that install.sh puts on a system that is there already."""
    for unit in sorted(units.glob("*.*")):
        if unit.suffix in {".service", ".timer", ".target", ".socket", ".path"}:
            shutil.copyfile(unit, root / "usr/lib/systemd/system" / unit.name)
    for folder, place in (
        ("libexec", "usr/lib/storebox"),
        ("sysusers.d", "usr/lib/sysusers.d"),
        ("tmpfiles.d", "usr/lib/tmpfiles.d"),
        ("journald.conf.d", "usr/lib/systemd/journald.conf.d"),
    ):
        _lay_over(units / folder, root / place)
    example = root / "usr/share/storebox/storebox.toml"
    example.parent.mkdir(exist_ok=True)
    shutil.copyfile(units / "storebox.toml", example)


def _put_updates(kind: Kind, keys: Path, root: Path) -> None:
    """RAUC's side (image/rauc/README.md). Without a keyring in `keys`, one of a development authority is made there."""
    rauc = HERE / "rauc"
    run("sh", rauc / "authority", keys)
    (root / "etc/rauc").mkdir(exist_ok=True)
    shutil.copyfile(rauc / f"system.{kind}.conf", root / "etc/rauc/system.conf")
    shutil.copyfile(keys / "keyring.pem", root / "etc/rauc/keyring.pem")
    _lay_over(rauc / "rauc.service.d", root / "usr/lib/systemd/system/rauc.service.d")
    if kind == "rpi":
        shutil.copyfile(rauc / "tryboot", root / "usr/lib/storebox/tryboot")
        (root / "usr/lib/storebox/tryboot").chmod(0o755)


def _settle(kind: Kind, version: str, root: Path) -> None:
    """Users, the release's name, and what runs and what never does."""
    with (root / "usr/lib/os-release").open("a") as release:
        release.write(f"IMAGE_ID=storebox\nIMAGE_VERSION={version}\nVARIANT_ID={kind}\n")
    inside(root, "systemd-sysusers")
    inside(root, "passwd", "--lock", "root")
    inside(root, "systemctl", "--quiet", "enable", *ENABLED, *ENABLED_ON[kind])
    inside(root, "systemctl", "--quiet", "mask", *MASKED)
    inside(root, "systemctl", "--quiet", "set-default", "multi-user.target")
    generators = root / "etc/systemd/system-generators"
    generators.mkdir(exist_ok=True)
    for name in MASKED_GENERATORS:
        (generators / f"systemd-{name}-generator").symlink_to("/dev/null")
    (root / "boot/firmware").mkdir(parents=True, exist_ok=True)


def _set_times(epoch: int, root: Path) -> None:
    """One time for all: the initrd takes times over, and those of a kept base are of another day."""
    for path in (root, *root.rglob("*")):
        os.utime(path, (epoch, epoch), follow_symlinks=False)


def _clean(epoch: int, root: Path) -> None:
    _remove(root, LEFT_OVER)
    # The clock never starts before this (systemd, timesyncd).
    floor = root / "usr/lib/clock-epoch"
    floor.touch()
    os.utime(floor, (epoch, epoch))


def _remove(folder: Path, patterns: Iterable[str]) -> None:
    """What is there of these, with all that is in it."""
    for pattern in patterns:
        for path in sorted(folder.glob(pattern)):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
