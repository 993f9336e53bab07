"""Tables that cannot lie: errors, settings, metrics and events stand in the documents as they are in the code.

They are read as they stand in the Markdown. Where code and document can be compared, they must be equal both ways:
a document that names something which is gone misleads as much as one that leaves something out.
"""

import ast
import importlib
import json
import operator
import re
import tomllib
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from prometheus_client import CollectorRegistry, generate_latest

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
from tests.documents import DOCS, ROOT, code_of, codes, modules, section, table

# The demo answers nobody: its errors are sentences on a screen.
ANSWERING = ("appliance", "cloud", "till")


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
