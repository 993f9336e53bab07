"""Cards and labels: what is written is read back, what cannot be right is refused, and nothing else is touched."""

import hashlib
import json
import os
import random
import resource
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
import segno
import zstandard
from PIL import Image

from appliance.domain.enrolling import claim_text
from appliance.domain.first_boot import FIRST_BOOT_NAME
from provisioning import card, flash, label
from provisioning.cli import run
from provisioning.errors import Failed
from tests.conftest import require
from tests.fakes.cards import FAT_AT, MIB, fat, gpt, mbr, on_card

BOX, FP = "sb-abcdefghijklmnop", "A1b2" * 10 + "xyz"
CLAIM = claim_text("https://cloud.example", "", "s" * 32, "S042")

needs_mtools = pytest.mark.usefixtures("mtools")


@pytest.fixture
def mtools() -> None:
    """What is put onto a card goes through these."""
    require("mformat", "mcopy", "mtype")


@pytest.fixture
def image(tmp_path: Path, mtools: None) -> Path:
    """The image of a box, packed."""
    path = tmp_path / "box.img.zst"
    path.write_bytes(zstandard.compress(mbr(fat())))
    return path


@pytest.fixture
def claim_file(tmp_path: Path) -> Path:
    path = tmp_path / "claim"
    path.write_text(CLAIM + "\n")
    return path


# --- flash


@needs_mtools
@pytest.mark.parametrize("table", [mbr, gpt])
def test_a_card_has_the_image_and_what_its_first_boot_needs(
    tmp_path: Path, claim_file: Path, capsys: pytest.CaptureFixture[str], table: object
) -> None:
    disk = mbr(fat()) if table is mbr else gpt(fat())
    image, to = tmp_path / "plain.img", tmp_path / "card"
    image.write_bytes(disk)

    options = ["--claim-file", str(claim_file), "--hostname", "nantes", "--authority", "A" * 43, "--json"]
    code = run(["flash", "--image", str(image), "--to", str(to), *options])

    assert code == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["bytes"], told["sha256"]) == (len(disk), hashlib.sha256(disk).hexdigest())
    assert told["settings"] == [FIRST_BOOT_NAME, flash.CLAIM_NAME]
    assert on_card(to, "storebox-claim") == CLAIM + "\n"
    assert 'hostname = "nantes"' in on_card(to, "storebox-first-boot.toml")
    assert f'authority = "{"A" * 43}"' in on_card(to, "storebox-first-boot.toml")
    assert to.read_bytes()[FAT_AT + 4 * MIB :] == disk[FAT_AT + 4 * MIB :]


@needs_mtools
def test_a_packed_image_is_unpacked_onto_the_card(tmp_path: Path, image: Path) -> None:
    assert run(["flash", "--image", str(image), "--to", str(tmp_path / "card")]) == 0

    assert (tmp_path / "card").read_bytes() == zstandard.decompress(image.read_bytes())


@needs_mtools
def test_an_image_that_was_not_fetched_whole_fails(
    tmp_path: Path, image: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image.write_bytes(image.read_bytes()[:-100])

    assert run(["flash", "--image", str(image), "--to", str(tmp_path / "card")]) == 1
    assert "ends too soon" in capsys.readouterr().err


@needs_mtools
def test_a_card_that_is_too_small_fails_and_says_that_it_starts_no_box(tmp_path: Path, image: Path) -> None:
    program = [sys.executable, "-c", "from provisioning.cli import main; main()"]

    done = subprocess.run(
        [*program, "flash", "--image", str(image), "--to", str(tmp_path / "card")],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (2 * MIB, 2 * MIB)),
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert "starts no box" in done.stderr


def test_a_card_that_reads_back_otherwise_fails(tmp_path: Path) -> None:
    image, to = tmp_path / "image", tmp_path / "card"
    image.write_bytes(random.Random(2).randbytes(MIB))
    size, digest = flash.write(image, to)
    with to.open("rb+") as file:
        file.seek(MIB // 2)
        file.write(b"\0\0\0\0")

    with pytest.raises(Failed, match="take another card"):
        flash.verify(to, size, digest)
    os.truncate(to, size - 1)
    with pytest.raises(Failed):
        flash.verify(to, size, digest)


def test_what_is_there_is_lost_only_when_somebody_says_so(tmp_path: Path) -> None:
    image, to = tmp_path / "image", tmp_path / "card"
    image.write_bytes(b"new")
    to.write_bytes(b"precious")

    assert run(["flash", "--image", str(image), "--to", str(to)]) == 2
    assert to.read_bytes() == b"precious"
    assert run(["flash", "--image", str(image), "--to", str(to), "--yes"]) == 0
    assert to.read_bytes() == b"new"


def test_what_is_no_disk_is_never_written(tmp_path: Path) -> None:
    image = tmp_path / "image"
    image.write_bytes(b"new")

    for to in ("/dev/null", str(tmp_path), str(tmp_path / "missing" / "card")):
        assert run(["flash", "--image", str(image), "--to", to, "--yes"]) == 2


@needs_mtools
@pytest.mark.parametrize(
    "options",
    [
        ["--claim-file", "/dev/null"],
        ["--claim-file", "x"],
    ],
)
def test_a_claim_that_is_none_is_refused_before_anything_is_written(
    tmp_path: Path, image: Path, options: list[str]
) -> None:
    to = tmp_path / "card"

    assert run(["flash", "--image", str(image), "--to", str(to), *options]) == 2
    assert not to.exists()


def test_without_mtools_settings_are_refused_and_the_package_is_named(
    tmp_path: Path,
    image: Path,
    claim_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    options = ["--to", str(tmp_path / "card"), "--claim-file", str(claim_file)]
    assert run(["flash", "--image", str(image), *options]) == 2
    assert "mtools" in capsys.readouterr().err


def test_an_image_without_fat_takes_no_settings(tmp_path: Path) -> None:
    (tmp_path / "image").write_bytes(bytes(MIB))

    with pytest.raises(Exception, match="no FAT partition"):
        card.fat_offset(tmp_path / "image")


# --- labels


def test_the_picture_holds_the_code_of_id_and_key(tmp_path: Path) -> None:
    assert run(["label", "--box", BOX, "--key-hash", FP, "--out", str(tmp_path / "l.png")]) == 0

    code = segno.make_qr(label.code(BOX, FP), error="m")
    rows = [list(row) for row in code.matrix_iter(border=2)]
    with Image.open(tmp_path / "l.png") as picture:
        assert picture.size == (label.WIDTH_MM * label.DOTS_PER_MM, label.HEIGHT_MM * label.DOTS_PER_MM)
        left = label.MARGIN_MM * label.DOTS_PER_MM
        scale = label.QR_MM * label.DOTS_PER_MM // len(rows)
        for y, row in enumerate(rows):
            for x, dark in enumerate(row):
                at = (left + x * scale + scale // 2, left + y * scale + scale // 2)
                assert (picture.getpixel(at) == 0) == bool(dark)


def test_the_page_has_the_labels_size_and_its_words(tmp_path: Path) -> None:
    assert run(["label", "--box", BOX, "--key-hash", FP, "--out", str(tmp_path / "l.pdf")]) == 0

    page = (tmp_path / "l.pdf").read_bytes()
    width, height = label.WIDTH_MM * 72 / 25.4, label.HEIGHT_MM * 72 / 25.4
    assert f"/MediaBox [0 0 {width:.2f} {height:.2f}]".encode() in page
    streams = [
        zlib.decompress(part.split(b"endstream")[0].strip(b"\r\n"))
        for part in page.split(b"stream\n")[1::2]
        if part.startswith(b"x\x9c")
    ]
    text = b"".join(streams).replace(b"\\", b"")
    assert BOX.encode() in text
    for line in label.grouped(FP):
        assert line.encode() in text


def test_the_groups_are_the_whole_hash() -> None:
    assert "".join(label.grouped(FP)).replace(" ", "") == FP


@pytest.mark.parametrize(
    "options",
    [
        ["--box", BOX],
        ["--box", "sb-1", "--key-hash", FP],
        ["--box", BOX, "--key-hash", "short"],
        ["--box", BOX, "--key-hash", FP, "--out", "label.txt"],
        ["--box", BOX, "--key-hash", FP, "--out", "/nowhere/label.png"],
    ],
)
def test_a_label_that_would_be_wrong_is_not_drawn(tmp_path: Path, options: list[str]) -> None:
    assert run(["label", "--out", str(tmp_path / "l.png"), *options]) == 2
    assert not (tmp_path / "l.png").exists()
