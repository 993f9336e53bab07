"""Reading the project's pages: sections, tables and the code in them, and the sources that they are held against."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(DOCS.rglob("*.md"))]

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def section(page: Path, heading: str) -> str:
    """The text under a heading, down to the next one of its level or above."""
    text = page.read_text(encoding="utf-8")
    found = re.search(rf"^(#+) {re.escape(heading)}$", text, re.MULTILINE)
    assert found, f"{page.name} has no heading {heading!r}"
    rest = text[found.end() :]
    end = re.search(rf"^#{{1,{len(found[1])}}} ", rest, re.MULTILINE)
    return rest[: end.start()] if end else rest


def table(text: str) -> list[list[str]]:
    """The rows of every table in a text, without heads and rules; an escaped bar stays in its cell."""
    rows: list[list[str]] = []
    lines = text.splitlines()
    for index, line in enumerate(lines):
        is_head = index + 1 < len(lines) and re.fullmatch(r"\|[ |:-]+\|", lines[index + 1])
        if line.startswith("|") and not is_head and not re.fullmatch(r"\|[ |:-]+\|", line):
            cells = re.split(r"(?<!\\)\|", line.strip().strip("|"))
            rows.append([cell.strip().replace("\\|", "|") for cell in cells])
    return rows


def code_of(cell: str) -> str:
    """The first `code` in a cell."""
    found = re.search(r"`([^`]*)`", cell)
    return found[1] if found else cell


def codes(text: str) -> list[str]:
    """The first column of the tables in a text."""
    return [code_of(row[0]) for row in table(text)]


def anchors(page: Path) -> set[str]:
    """What can stand behind `#` in a link to a page, as the common renderers make it of its headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def modules(*packages: str) -> Iterator[tuple[Path, ast.Module]]:
    """The parsed sources of some packages."""
    for path in sorted(path for package in packages for path in (ROOT / package).rglob("*.py")):
        yield path, ast.parse(path.read_text(encoding="utf-8"), str(path))
