"""Write the image of a box onto a card (or into a file), read it back, and put in what its first boot shall know."""

import argparse
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec
import zstandard

from appliance.domain.enrolling import read_claim
from appliance.domain.errors import ConfigError, Malformed
from appliance.domain.first_boot import FIRST_BOOT_NAME
from provisioning import card, first_boot, release, show
from provisioning.errors import FINE, Failed

CLAIM_NAME = "storebox-claim"
STEP = 4 * 1024 * 1024
# Zeros pack to nearly nothing: so little of a packed image is never more than 64 MiB.
PACKED_STEP = 2 * 1024


class Flashed(msgspec.Struct, frozen=True):
    """What was written, and read back the same; `settings` are the files put in beside.

    `signed_by` is the fingerprint of the key that vouches for the image; empty when nobody asked.
    """

    bytes: int
    sha256: str
    settings: list[str]
    signed_by: str


def flash(args: argparse.Namespace) -> int:
    """Write a card."""
    settings = _settings(args)
    if settings and not card.has_mtools():
        raise ConfigError("settings are put onto the card by mcopy: install the package mtools")
    if not args.image.is_file():
        raise ConfigError(f"{args.image}: no such file")
    card.check_target(args.to, sure=args.yes, fixed=args.yes_this_disk)
    signed_by = ""
    if args.verify_key is not None:
        signed_by = release.check(args.image, args.verify_key)
        show.step(f"{args.image.name} is signed by {signed_by}")
    try:
        size, digest = write(args.image, args.to)
        verify(args.to, size, digest)
        offset = card.fat_offset(args.to) if settings else 0
        for name, content in settings.items():
            card.put(args.to, offset, name, content)
            show.step(f"{name} is on the card")
        _sync(args.to)
    except OSError as error:
        raise Failed(f"{args.to}: {error.strerror}; what is on it now starts no box") from error
    done = Flashed(size, digest, list(settings), signed_by)
    show.answer(args, done, f"{args.to}: {size} bytes written and read back, SHA-256 {digest}")
    return FINE


def write(image: Path, target: Path) -> tuple[int, str]:
    """Write the image, unpacked, onto a target; on the disk when this returns. How much, and its SHA-256. Blocks.

    Raises Failed for an image that ends too soon.
    """
    size, hashed = 0, hashlib.sha256()
    packed = image.suffix == ".zst"
    total = image.stat().st_size
    descriptor = os.open(
        target, os.O_WRONLY | os.O_CREAT | (0 if target.is_block_device() else os.O_TRUNC), 0o600
    )
    with show.bar(f"writing {target}", 0 if packed else total) as done, os.fdopen(descriptor, "wb") as file:
        for piece in _unpacked(image) if packed else _pieces(image, STEP):
            file.write(piece)
            hashed.update(piece)
            size += len(piece)
            done(len(piece))
        file.flush()
        os.fsync(file.fileno())
    if not size:
        raise Failed(f"{image} is empty")
    return size, hashed.hexdigest()


def verify(target: Path, size: int, digest: str) -> None:
    """Read back what was written, from the medium and not from memory. Raises Failed when it differs. Blocks."""
    hashed, left = hashlib.sha256(), size
    with show.bar(f"reading back {target}", size) as done, target.open("rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        while left and (piece := file.read(min(STEP, left))):
            hashed.update(piece)
            left -= len(piece)
            done(len(piece))
    if left or hashed.hexdigest() != digest:
        raise Failed(f"{target} reads back differently from what was written: take another card")


def _settings(args: argparse.Namespace) -> dict[str, bytes]:
    """The files for the first boot. Raises ConfigError for what no box would take."""
    files = dict[str, bytes]()
    if text := first_boot.settings_text(args):
        files[FIRST_BOOT_NAME] = text.encode()
    if args.claim_file is not None:
        try:
            claim = args.claim_file.read_text().strip()
            read_claim(claim)
        except (OSError, UnicodeDecodeError, Malformed) as error:
            raise ConfigError(f"{args.claim_file}: {error}") from error
        files[CLAIM_NAME] = claim.encode() + b"\n"
    return files


def _pieces(path: Path, size: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(size):
            yield piece


def _unpacked(path: Path) -> Iterator[bytes]:
    unpacker = zstandard.ZstdDecompressor().decompressobj()
    begun = False
    try:
        for piece in _pieces(path, PACKED_STEP):
            rest = piece
            while rest:
                begun = True
                yield unpacker.decompress(rest)
                rest = unpacker.unused_data if unpacker.eof else b""
                if unpacker.eof:
                    unpacker, begun = zstandard.ZstdDecompressor().decompressobj(), False
    except zstandard.ZstdError as error:
        raise Failed(f"{path} is damaged: {error}") from error
    if begun:
        raise Failed(f"{path} ends too soon: it was not fetched whole")


def _sync(target: Path) -> None:
    with target.open("rb+") as file:
        os.fsync(file.fileno())
