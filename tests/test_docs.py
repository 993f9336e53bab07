"""Documents that cannot lie: the commands, files, tests and limits that they name exist, and what exists is named."""

import argparse
import ast
import importlib
import math
import re
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.documents import DOCS, PAGES, ROOT, anchors, code_of, codes, every_page, section, table

# --- Commands


def scripts() -> dict[str, str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return {name: target.removesuffix(":main") for name, target in project["scripts"].items()}


def commands_of(parser: argparse.ArgumentParser) -> Iterator[tuple[str, str | None]]:
    """Each command that a parser knows, as its words, with its line of help; groups are opened."""
    for action in parser._actions:  # argparse has no public way to ask
        if isinstance(action, argparse._SubParsersAction):
            told = {choice.dest: choice.help for choice in action._choices_actions}
            for name, inner in action.choices.items():
                yield name, told.get(name)
                yield from ((f"{name} {words}", text) for words, text in commands_of(inner))


@pytest.mark.parametrize("script", scripts())
def test_every_command_has_help_and_is_documented(script: str) -> None:
    parser = importlib.import_module(scripts()[script])._parser()
    documented = (DOCS / "CONFIGURATION.md").read_text(encoding="utf-8")

    assert f"`{script}" in documented
    for words, text in commands_of(parser):
        assert text, f"{script} {words} has no help"
        assert f"`{script} {words}" in documented, f"{script} {words} is not in docs/CONFIGURATION.md"


@every_page
def test_a_command_that_a_page_names_exists(page: Path) -> None:
    named = re.findall(r"\b(storebox(?:-cloud|-till|-demo)?)((?: [a-z-]+)*)", code_in(page))
    for script, rest in named:
        words = {words for words, _ in commands_of(importlib.import_module(scripts()[script])._parser())}
        first = rest.split()[:1]
        if words and first and not first[0].startswith("-"):
            assert first[0] in words, f"{page.name}: there is no command `{script} {first[0]}`"


def code_in(page: Path) -> str:
    """All that stands in a page as code: fenced blocks and spans that begin with a program's name."""
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r"^```(?:sh|console)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return "\n".join([*blocks, *re.findall(r"`(storebox[^`.]*)`", text)])


@every_page
def test_a_make_target_that_a_page_names_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    text = page.read_text(encoding="utf-8")

    named = re.findall(r"(?:`|^)make ([a-z]+)", text, re.MULTILINE)
    assert set(named) <= targets


# --- Links, paths, tests, limits


@every_page
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if target.startswith(("https://", "http://")):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), f"{page.name} links to {target}"
        assert not anchor or anchor in anchors(there), f"{page.name}: no heading for {target}"


def test_every_decision_is_listed_once_and_says_what_would_change_our_mind() -> None:
    pages = sorted(path for path in (DOCS / "decisions").glob("0*.md"))

    listed = re.findall(
        r"\((0\d{3}-[\w-]+\.md)\)", (DOCS / "decisions/README.md").read_text(encoding="utf-8")
    )
    assert listed == [page.name for page in pages]
    for page in pages:
        headings = re.findall(r"^## (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
        assert headings == ["Context", "Decision", "Price", "What would change our mind"], page.name


def test_the_map_of_folders_is_the_tree() -> None:
    mapped = {path.rstrip("/") for path in codes(section(ROOT / "README.md", "Where things are"))}

    assert all((ROOT / path).exists() for path in mapped), [p for p in mapped if not (ROOT / p).exists()]
    packages = {str(path.parent.relative_to(ROOT)) for path in ROOT.glob("*/__init__.py")}
    rooms = {str(path.parent.relative_to(ROOT)) for path in ROOT.glob("appliance/*/__init__.py")}
    assert packages | rooms <= mapped


def named_tests(page: Path) -> set[tuple[str, str]]:
    return set(re.findall(r"`(tests/[\w/]+\.py)(?:::(test_\w+))?`", page.read_text(encoding="utf-8")))


@pytest.mark.parametrize(("path", "name"), sorted({pair for page in PAGES for pair in named_tests(page)}))
def test_a_test_that_a_page_names_exists(path: str, name: str) -> None:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))

    functions = {
        node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert not name or name in functions


def test_each_promise_names_its_test_or_says_that_none_holds_it_yet() -> None:
    promises = table(section(DOCS / "ARCHITECTURE.md", "Promises, and the tests that hold them"))

    assert [row[0] for row in promises] == [str(number) for number in range(1, 13)]
    for number, _, held in promises:
        assert "::test_" in held or "not held yet" in held, f"promise {number}"


UNITS = {"": 1, "KiB": 2**10, "MiB": 2**20, "s": 1, "min": 60, "h": 3_600, "%": 0.01}


def amount(text: str) -> float:
    """`8 MiB` is 8388608, `1,000` is 1000, `2 min` is 120."""
    found = re.match(r"([\d,.]+) ?(KiB|MiB|min|s|h|%)?", text)
    assert found, f"no amount: {text!r}"
    return float(found[1].replace(",", "")) * UNITS[found[2] or ""]


def limits() -> Iterable[list[str]]:
    return table(section(DOCS / "ARCHITECTURE.md", "Limits"))


@pytest.mark.parametrize("row", limits(), ids=lambda row: row[0])
def test_a_limit_is_what_the_code_says(row: list[str]) -> None:
    _, said, where, _ = row
    dotted, _, constant = code_of(where).rpartition(".")

    value: Any = getattr(importlib.import_module(dotted), constant)
    assert math.isclose(amount(said), value)
