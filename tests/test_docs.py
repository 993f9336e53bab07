"""Documents that cannot lie: what they name exists, and what exists is named.

Tables are read as they stand in the Markdown. Where code and document can be compared, they must be equal both ways:
a document that names something which is gone misleads as much as one that leaves something out.
"""

import argparse
import ast
import importlib
import json
import math
import operator
import re
import subprocess
import sys
import tomllib
import types
import typing
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from openapi_spec_validator import validate
from prometheus_client import CollectorRegistry, generate_latest

from appliance.api.app import ROUTES
from appliance.api.metrics import StatusCollector
from appliance.config import Config
from appliance.domain.errors import StoreboxError
from appliance.domain.first_boot import FirstBoot
from appliance.domain.flags import FLAGS
from appliance.domain.link import Cause
from appliance.domain.update import Reason, State
from appliance.domain.wire import JournalView, ModeView, Status
from appliance.runtime.problem import status_of
from appliance.runtime.settings import convert_settings
from cloud.config import Settings
from cloud.words import LANGUAGES, UPDATE_REASONS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(DOCS.rglob("*.md"))]
# The demo answers nobody: its errors are sentences on a screen.
ANSWERING = ("appliance", "cloud", "till")

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


# --- Reading Markdown


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


# --- Errors


def declared_errors() -> list[type[StoreboxError]]:
    """Every error class with a code of its own."""
    found = []
    for path, tree in modules(*ANSWERING):
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and any(is_code(line) for line in node.body):
                dotted = ".".join(path.relative_to(ROOT).with_suffix("").parts)
                kind = getattr(importlib.import_module(dotted), node.name)
                if issubclass(kind, StoreboxError):
                    found.append(kind)
    return found


def is_code(line: ast.stmt) -> bool:
    """Whether a line of a class says `code = ...`, alone or in a pair."""
    targets = line.targets if isinstance(line, ast.Assign) else []
    targets = [line.target] if isinstance(line, ast.AnnAssign) else targets
    return any(ast.unparse(target).strip("()").split(", ")[0] == "code" for target in targets)


ON_THE_WIRE = "Codes of the box and of the cloud"
OF_THE_TILL = "Codes of the reference till"


def test_every_error_code_is_documented_with_its_status() -> None:
    documented = {code_of(row[0]): int(row[1]) for row in table(section(DOCS / "ERRORS.md", ON_THE_WIRE))}

    wire = [kind for kind in declared_errors() if not kind.__module__.startswith("till.")]
    assert {kind.code: status_of(kind()).value for kind in wire} == documented


def test_every_code_of_the_till_is_documented() -> None:
    till = {kind.code for kind in declared_errors() if kind.__module__.startswith("till.")}

    assert till == set(codes(section(DOCS / "ERRORS.md", OF_THE_TILL)))


def test_every_cause_is_documented() -> None:
    assert codes(section(DOCS / "ERRORS.md", "Causes of the link's state")) == [
        cause.value for cause in Cause
    ]


def test_every_flag_of_a_sale_is_documented() -> None:
    assert list(FLAGS) == codes(section(DOCS / "ERRORS.md", "Flags of a sale"))


def test_every_reason_of_an_update_is_documented_and_has_its_words() -> None:
    reasons = [reason.value for reason in Reason]

    assert codes(section(DOCS / "UPDATES.md", "Reasons")) == reasons
    assert codes(section(DOCS / "UPDATES.md", "What a box does")) == list(typing.get_args(State))
    for language in LANGUAGES:
        assert list(UPDATE_REASONS[language]) == reasons


# --- Configuration


def keys_of(kind: type[msgspec.Struct], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Each key of a configuration with its default as TOML, tables flattened."""
    hints = typing.get_type_hints(kind)
    for field in msgspec.structs.fields(kind):
        inner = hints[field.name]
        if isinstance(inner, types.UnionType):
            inner, _ = typing.get_args(inner)  # a table that may be left out
        if isinstance(inner, type) and issubclass(inner, msgspec.Struct):
            yield from keys_of(inner, f"{prefix}{field.encode_name}.")
        else:
            yield prefix + field.encode_name, as_toml(field)


def as_toml(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return "required"
    value = field.default_factory() if field.default is msgspec.NODEFAULT else field.default
    return json.dumps(str(value) if isinstance(value, Path) else value)


@pytest.mark.parametrize(("heading", "kind"), [("The box", Config), ("Head office", Settings)])
def test_every_configuration_key_is_documented_with_its_default(
    heading: str, kind: type[msgspec.Struct]
) -> None:
    text = section(DOCS / "CONFIGURATION.md", heading).split("###")[0]

    assert [(code_of(row[0]), code_of(row[1])) for row in table(text)] == list(keys_of(kind))


def test_the_example_of_a_configuration_can_be_used() -> None:
    text = section(DOCS / "CONFIGURATION.md", "The box")

    (example,) = re.findall(r"^```toml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    convert_settings(tomllib.loads(example), Config, origin="the example")


FIRST_BOOT = "What a card tells its first boot"


def test_every_setting_of_a_card_is_documented_with_its_default() -> None:
    text = section(DOCS / "PROVISIONING.md", FIRST_BOOT)

    assert [(code_of(row[0]), code_of(row[1])) for row in table(text)] == list(keys_of(FirstBoot))


def test_the_example_of_a_cards_settings_has_every_key_that_can_stand_beside_another() -> None:
    (example,) = re.findall(
        r"^```toml\n(.*?)^```", section(DOCS / "PROVISIONING.md", FIRST_BOOT), re.M | re.S
    )

    settings = convert_settings(tomllib.loads(example), FirstBoot, origin="the example")

    said = {key for key, _ in keys_of(FirstBoot)} - {"wifi.passphrase"}
    assert all(operator.attrgetter(key)(settings) for key in said)


# --- Metrics


def a_status() -> Status:
    numbers: dict[str, Any] = {
        field.name: 0 for field in msgspec.structs.fields(Status) if field.type in (int, float)
    }
    return Status(
        box="sb-test",
        shop="S001",
        software="0",
        state="online",
        mode=ModeView("cloud", "online", "ok", "2026-11-22T08:00:00.000Z"),
        journal=JournalView(1, 1, "00", 1, 0, 0.0),
        issues=[],
        **numbers,
    )


def test_every_metric_is_documented_with_its_type() -> None:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(StatusCollector(a_status()))
    exposed = generate_latest(registry).decode()

    kinds = re.findall(r"^# TYPE (\w+) (\w+)$", exposed, re.MULTILINE)
    assert kinds == [
        (code_of(row[0]), row[1]) for row in table(section(DOCS / "METRICS.md", "Metrics")) if len(row) == 3
    ]


def test_an_alarm_watches_a_metric_that_exists() -> None:
    page = DOCS / "METRICS.md"
    known = set(codes(page.read_text(encoding="utf-8")))

    assert set(re.findall(r"storebox_\w+", section(page, "Worth an alarm"))) <= known


# --- Events


def recorded_kinds() -> Iterator[str]:
    """The kind of each `record(...)` and `Draft(...)` of the box."""
    for path, tree in modules("appliance"):
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call):
                continue
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if name not in ("record", "Draft"):
                continue
            match node.args[:1]:
                case [ast.Constant(value=str(kind))]:
                    yield kind
                case [ast.Name(id="kind")]:
                    pass  # journal.record hands on what it was given
                case _:
                    pytest.fail(f"{path}:{node.lineno}: say the kind of the event right here")


def test_every_kind_of_event_is_documented() -> None:
    assert set(recorded_kinds()) == set(codes(section(DOCS / "EVENTS.md", "Kinds that the box records")))


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


# --- The wire


def test_the_openapi_document_is_made_from_the_code() -> None:
    made = subprocess.run(
        [sys.executable, DOCS / "openapi/print_box.py"], cwd=ROOT, capture_output=True, text=True, check=True
    )

    kept = (DOCS / "openapi/box.json").read_text(encoding="utf-8")
    assert made.stdout == kept, "make openapi"


def test_the_openapi_document_is_valid() -> None:
    validate(json.loads((DOCS / "openapi/box.json").read_text(encoding="utf-8")))


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_every_call_of_the_box_is_in_the_protocol(route: Any) -> None:
    told = section(DOCS / "PROTOCOL.md", "The box on the LAN (default port 8480)")

    assert re.search(rf"`{route.method} {re.escape(route.path)}[`?]", told)


def test_every_call_of_the_cloud_is_in_the_protocol() -> None:
    told = section(DOCS / "PROTOCOL.md", "The cloud (default port 8490)")
    trees = [
        tree
        for path, tree in modules("cloud")
        if path.name in ("api.py", "bundles.py", "est.py", "office.py")
    ]

    calls = [
        (node.func.attr.upper(), node.args[0].value)
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and ast.unparse(node.func.value) == "web"
        and node.func.attr in ("get", "post", "put")
        and isinstance(node.args[0], ast.Constant)
    ]
    assert len(calls) > 10
    for method, path in calls:
        short = str(path).replace("/v1/catalogue/changes", ".../changes")
        assert re.search(rf"`({method} )?({re.escape(str(path))}|{re.escape(short)})[`?]", told), path
