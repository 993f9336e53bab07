"""What a package says of its licences (Debian's copyright files, Python's metadata), in SPDX's words if they fit."""

import re
from collections.abc import Iterable
from email.message import Message
from pathlib import Path

from cyclonedx.spdx import fixup_id, is_expression
from debian.deb822 import Deb822

# Names that mean one SPDX licence beyond doubt: those of Debian's format, and what Python's projects write.
_MEANT = {
    "expat": "MIT",
    "artistic": "Artistic-1.0",
    "artistic-2": "Artistic-2.0",
    "apache-2": "Apache-2.0",
    "apache 2": "Apache-2.0",
    "apache 2.0": "Apache-2.0",
    "apache software license": "Apache-2.0",
    "cc0": "CC0-1.0",
    "openldap-2.8": "OLDAP-2.8",
    "mit license": "MIT",
    "python software foundation license": "PSF-2.0",
}
_GNU = re.compile(
    r"(?P<family>[AL]?GPL)-?v?(?P<major>\d)(?:\.(?P<minor>\d))?(?P<later>\+|-or-later|-only)?", re.I
)
_MANUAL = re.compile(r"GFDL(?P<plain>-NIV)?-(?P<version>1\.[1-3])(?P<later>\+)?", re.I)
_JOINT = re.compile(r"(?:,\s*|\s+)(and|or)\s+", re.I)
# A short name is one word, with at most an exception; what has more words is the licence's text.
_SHORT = re.compile(r"[^\s,]+(?: with [\w.-]+(?: [\w.-]+)? exception)?", re.I)
_CLASSIFIER = "License :: "
_FORMATS = ("copyright-format", "dep5", "dep-5")


def of_copyright_file(path: Path) -> tuple[str, ...]:
    """The licences that a file in Debian's machine-readable format names, sorted; none when it is in another.

    Format: <https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/>.
    """
    with path.open(encoding="utf-8", errors="replace") as file:
        head = file.readline()
        if not head.lower().startswith("format") or not any(word in head.lower() for word in _FORMATS):
            return ()
        file.seek(0)
        # A paragraph without Files only gives the text of a name.
        named = [
            paragraph["License"].partition("\n")[0].strip()
            for number, paragraph in enumerate(Deb822.iter_paragraphs(file, use_apt_pkg=False))
            if "License" in paragraph and ("Files" in paragraph or number == 0)
        ]
    return tuple(sorted({said for name in named if (said := _said(name))}))


def of_metadata(metadata: Message) -> tuple[str, ...]:
    """The licences of a Python distribution: its expression (PEP 639), or what older fields say, sorted."""
    if expression := metadata.get("License-Expression"):
        return (str(expression),)
    older = [str(metadata.get("License", ""))]
    older += [
        str(said).rpartition(" :: ")[2]
        for said in metadata.get_all("Classifier", [])
        if str(said).startswith(_CLASSIFIER)
    ]
    # Some put the whole text there.
    return tuple(sorted({spdx(said) or said for said in older if said and "\n" not in said}))


def spdx(name: str) -> str | None:
    """SPDX's identifier for a licence's short name, or None when there is none that surely means the same."""
    if gnu := _GNU.fullmatch(name):
        later = "only" if gnu["later"] in (None, "-only") else "or-later"
        return fixup_id(f"{gnu['family']}-{gnu['major']}.{gnu['minor'] or 0}-{later}")
    if manual := _MANUAL.fullmatch(name):
        plain, later = "-no-invariants" if manual["plain"] else "", "or-later" if manual["later"] else "only"
        return fixup_id(f"GFDL-{manual['version']}{plain}-{later}")
    return fixup_id(_MEANT.get(name.lower(), name))


def _said(name: str) -> str:
    """A short name of Debian's format: as an SPDX expression when all of it can be said so, else as it stands."""
    operands = _JOINT.split(name)
    if not all(_SHORT.fullmatch(operand) for operand in operands[::2]):
        return ""
    # "A or B, and C" binds otherwise than SPDX does.
    if "," in name and len(operands) > 3:
        return name
    words = [_joined(operands[at : at + 1], at) for at in range(len(operands))]
    expression = " ".join(word for word in words if word)
    return expression if all(words) and (len(words) == 1 or is_expression(expression)) else name


def _joined(operand: Iterable[str], at: int) -> str | None:
    """One word of an expression: every second one is `and` or `or`."""
    (word,) = operand
    if at % 2:
        return word.upper()
    base, _, exception = word.partition(" with ")
    if not exception:
        return spdx(base)
    if (known := spdx(base)) is None:
        return None
    words = re.sub(r" exception$", "", exception, flags=re.I).replace(" ", "-")
    wholes = (f"{known} WITH {words}-exception", f"{known} WITH {words}")
    return next((whole for whole in wholes if is_expression(whole)), None)
