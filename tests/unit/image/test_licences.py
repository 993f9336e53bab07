"""Licences' names: SPDX's where they surely mean the same, else as their author wrote them, and never prose."""

from email.message import Message
from pathlib import Path

import pytest

from image import licences

HEAD = "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n"


def named(tmp_path: Path, text: str) -> tuple[str, ...]:
    path = tmp_path / "copyright"
    path.write_bytes(text.encode("latin-1"))
    return licences.of_copyright_file(path)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("GPL-2", "GPL-2.0-only"),
        ("GPL-2.0+", "GPL-2.0-or-later"),
        ("GPLv3+", "GPL-3.0-or-later"),
        ("LGPL-2.1", "LGPL-2.1-only"),
        ("AGPL-3+", "AGPL-3.0-or-later"),
        ("GFDL-NIV-1.3+", "GFDL-1.3-no-invariants-or-later"),
        ("Expat", "MIT"),
        ("BSD-3-clause", "BSD-3-Clause"),
        ("GPL-1+ or Artistic", "GPL-1.0-or-later OR Artistic-1.0"),
        ("GPL-2 with Linux-syscall-note exception", "GPL-2.0-only WITH Linux-syscall-note"),
        ("GPL-2+ with Libtool exception", "GPL-2.0-or-later WITH Libtool-exception"),
        # No version, no identifier; "public-domain" is no licence; SPDX binds `or` looser than Debian's comma does.
        ("GPL", "GPL"),
        ("public-domain", "public-domain"),
        ("GPL-3+ with Bison exception", "GPL-3+ with Bison exception"),
        ("GPL or MIT-US-export", "GPL or MIT-US-export"),
        ("GPL-1+ or Artistic, and Expat", "GPL-1+ or Artistic, and Expat"),
    ],
)
def test_a_short_name_of_debian(tmp_path: Path, name: str, said: str) -> None:
    assert named(tmp_path, f"{HEAD}\nFiles: *\nCopyright: \xe9\nLicense: {name}\n") == (said,)


def test_each_name_counts_once_and_a_paragraph_of_text_not_at_all(tmp_path: Path) -> None:
    text = f"{HEAD}License: Zlib\n\nFiles: a\nLicense: ISC\n\nFiles: b\nLicense: ISC\n Text.\n\nLicense: MIT\n Text.\n"

    assert named(tmp_path, text) == ("ISC", "Zlib")


def test_a_licence_that_stands_where_its_name_belongs_is_no_name(tmp_path: Path) -> None:
    prose = "This software is provided 'as-is', without any express or implied\n warranty."

    assert named(tmp_path, f"{HEAD}\nFiles: *\nLicense: {prose}\n") == ()


def test_a_copyright_file_in_no_format_names_nothing(tmp_path: Path) -> None:
    assert named(tmp_path, "This is Debian's package of x.\n\nLicense: MIT\n") == ()
    assert named(tmp_path, "") == ()


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ([("License-Expression", "MIT"), ("License", "GPL")], ("MIT",)),
        ([("License", "Apache 2.0"), ("Classifier", "License :: OSI Approved :: Apache Software License")],
         ("Apache-2.0",)),
        ([("License", "MIT License"), ("Classifier", "License :: OSI Approved :: Apache Software License")],
         ("Apache-2.0", "MIT")),
        ([("License", "All of\nthe text"), ("Classifier", "License :: OSI Approved :: BSD License")], ("BSD License",)),
        ([("Classifier", "Programming Language :: Python")], ()),
    ],
)  # fmt: skip
def test_what_pythons_metadata_say(headers: list[tuple[str, str]], said: tuple[str, ...]) -> None:
    metadata = Message()
    for key, value in headers:
        metadata[key] = value

    assert licences.of_metadata(metadata) == said
