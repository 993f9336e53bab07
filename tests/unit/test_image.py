"""The recipe of the image, without building it: locks are whole, units are there, the firewall's rules can be read."""

import re
import subprocess
from pathlib import Path

import pytest

from image import disk
from image.packages import Package, lock_file, read_lock
from image.recipe import HEADERS, MIB, RECIPES, TOOLS, Kind
from image.root import ENABLED, ENABLED_ON, MASKED
from image.tools import Failed
from tests.conftest import require

ROOT = Path(__file__).parents[2]
FILES = ROOT / "image/files"
KINDS = list(RECIPES)


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        *((recipe.architecture, recipe.packages) for recipe in RECIPES.values()),
        ("headers", HEADERS),
        ("tools", TOOLS),
    ],
)
def test_a_lock_names_each_package_once_and_all_that_the_recipe_wants(
    name: str, wanted: tuple[str, ...]
) -> None:
    locked = read_lock(lock_file(name))
    names = [package.name for package in locked]
    assert len(names) == len(set(names))
    assert set(wanted) <= set(names)
    architecture = {"headers": "arm64", "tools": "amd64"}.get(name, name)
    assert {package.file.rpartition("_")[2] for package in locked} <= {f"{architecture}.deb", "all.deb"}
    assert locked == sorted(locked, key=lambda package: package.path), "`make image-lock` sorts them"
    assert "://" not in lock_file(name).read_text(), "a lock names no host"


def test_a_pis_module_is_compiled_for_the_kernel_that_a_pi_has() -> None:
    """Headers of another version would make a module that this kernel refuses."""
    there, added = read_lock(lock_file("arm64")), read_lock(lock_file("headers"))
    (kernel,) = (package for package in there if re.fullmatch(r"linux-image-[0-9].*-arm64", package.name))
    (headers,) = (package for package in added if re.fullmatch(r"linux-headers-[0-9].*-arm64", package.name))
    assert headers.file.replace("linux-headers-", "linux-image-") == kernel.file
    assert not {package.name for package in there} & {package.name for package in added}


def test_a_line_that_is_no_line_of_a_lock_is_named(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    lock.write_text(
        "0" * 64 + "  debian/pool/main/b/bash/bash_5_amd64.deb\n" + "0" * 63 + "  debian/pool/x.deb\n"
    )
    with pytest.raises(Failed, match="line 2"):
        read_lock(lock)


@pytest.mark.parametrize("kind", KINDS)
def test_each_unit_that_is_enabled_is_ours_or_debians(kind: Kind) -> None:
    """Ours stand in systemd/ or beside the recipe; the others come with a package that the lock names."""
    ours = {path.name for folder in ("systemd", "image") for path in (ROOT / folder).rglob("storebox*")}
    for unit in (*ENABLED, *ENABLED_ON[kind]):
        name = unit if "." in unit else f"{unit}.service"
        if name.startswith("storebox"):
            assert name in ours, name
        else:
            package = re.sub(r"^systemd-networkd$", "systemd", unit)
            assert package in {locked.name for locked in read_lock(lock_file(RECIPES[kind].architecture))}
    assert not set(MASKED) & {f"{unit}.service" for unit in ENABLED}


def test_each_program_that_a_unit_starts_is_there_and_may_be_run() -> None:
    for unit in FILES.parent.rglob("*.service"):
        for path in re.findall(r"^Exec\w+=-?(/usr/lib/storebox/[\w-]+)", unit.read_text(), re.MULTILINE):
            found = [
                folder / path[1:] for folder in FILES.parent.glob("files*") if (folder / path[1:]).exists()
            ]
            assert found, f"{unit.name} starts {path}"
            assert all(program.stat().st_mode & 0o111 for program in found), path


def test_the_firewalls_rules_can_be_read() -> None:
    require("nft", root=True)
    done = subprocess.run(
        ["nft", "--check", "--file", FILES / "etc/nftables.conf"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_the_initrd_fstab_and_updates_know_the_partitions_that_the_disk_has() -> None:
    ends = {part.end for part in disk.layout(RECIPES["amd64"], *[Path("x")] * 4)}
    texts = [
        path.read_text() for path in (ROOT / "image").rglob("*") if path.is_file() and path.suffix != ".py"
    ]
    named = {end for text in texts for end in re.findall(rf"{disk.DISK}([0-9a-f]{{2}})\b", text)}
    assert named
    assert named <= ends


@pytest.mark.parametrize("kind", KINDS)
def test_partitions_are_aligned_and_an_image_fits_a_card_of_four_gigabytes(kind: Kind) -> None:
    parts = disk.layout(RECIPES[kind], *[Path("x")] * 4)
    assert all(part.size % MIB == 0 for part in parts)
    assert sum(part.size for part in parts) + 2 * MIB < 3_900_000_000
    assert [part.size for part in parts if part.name.endswith("-a")] == [
        part.size for part in parts if part.name.endswith("-b")
    ]


def test_a_package_is_named_as_in_its_file() -> None:
    package = Package("0" * 64, "debian/pool/main/libz/libzstd/libzstd1_1.5.7_amd64.deb")
    assert (package.name, package.file) == ("libzstd1", "libzstd1_1.5.7_amd64.deb")
