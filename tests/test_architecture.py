"""The shape of the code: imports run down only, nothing hides, time and chance have one door.

Each rule of tests/architecture_rules.py has a test of its own over every module.
At the end each rule is shown a planted fault, so that a rule which stopped seeing is noticed.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.architecture_rules import (
    LINES_MAX,
    TOOLS,
    cycle_among,
    has_no_room,
    imports_lazily,
    is_impure,
    is_too_long,
    leaves_contracts_unsaid,
    reaches_up,
    says_not_what_it_is_for,
    takes_time_or_chance,
)
from tests.source_modules import ROOT, Module, read_tree

# --- The rules, held against the code.

MODULES = read_tree(ROOT)
every_module = pytest.mark.parametrize("module", MODULES, ids=str)


def assert_none(faults: list[str]) -> None:
    assert not faults, "\n" + "\n".join(faults)


def test_there_is_code_to_look_at() -> None:
    assert any(module.name.startswith("appliance.domain.") for module in MODULES)


@every_module
def test_every_module_has_a_room(module: Module) -> None:
    assert_none(has_no_room(module))


@every_module
def test_imports_run_down_only(module: Module) -> None:
    assert_none(reaches_up(module))


@every_module
def test_no_import_hides_in_a_function(module: Module) -> None:
    assert_none(imports_lazily(module))


def test_no_import_goes_round_in_a_circle() -> None:
    cycle = cycle_among(MODULES)
    assert not cycle, "these import each other: " + " <- ".join(cycle)


@every_module
def test_the_domain_is_pure(module: Module) -> None:
    assert_none(is_impure(module))


@every_module
def test_time_and_chance_come_through_one_door(module: Module) -> None:
    assert_none(takes_time_or_chance(module))


@pytest.mark.parametrize("module", [*MODULES, *read_tree(ROOT, TOOLS)], ids=str)
def test_a_module_stays_short(module: Module) -> None:
    assert_none(is_too_long(module))


@every_module
def test_a_module_says_what_it_is_for(module: Module) -> None:
    assert_none(says_not_what_it_is_for(module))


@every_module
def test_the_domain_states_its_contracts(module: Module) -> None:
    assert_none(leaves_contracts_unsaid(module))


# --- The rules, held against planted code.


def plant(root: Path, path: str, source: str) -> Module:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(source, encoding="utf-8")
    return next(module for module in read_tree(root) if module.path == Path(path))


@pytest.mark.parametrize(
    ("rule", "path", "source"),
    [
        (has_no_room, "appliance/utils/text.py", ""),
        (reaches_up, "appliance/domain/sale.py", "from appliance.storage.journal import Journal"),
        (reaches_up, "appliance/domain/sale.py", "from appliance import storage"),
        (reaches_up, "appliance/domain/sale.py", "from ..storage import journal"),
        (reaches_up, "appliance/services/drain.py", "import appliance.gateways.cloud"),
        (reaches_up, "appliance/services/drain.py", "def f():\n    from appliance.api import routes"),
        (reaches_up, "appliance/wiring.py", "from cloud.ingest import ingest"),
        (reaches_up, "cloud/ingest.py", "from appliance.storage import journal"),
        (reaches_up, "demo/shop.py", "from cloud.store import Store"),
        (imports_lazily, "till/cli.py", "def main():\n    import json"),
        (
            imports_lazily,
            "till/cli.py",
            "class A:\n    async def f(self):\n        if x:\n            import json",
        ),
        (is_impure, "appliance/domain/sale.py", "import asyncio"),
        (is_impure, "appliance/domain/sale.py", "from os.path import join"),
        (takes_time_or_chance, "cloud/app.py", "import time"),
        (takes_time_or_chance, "cloud/app.py", "from time import monotonic"),
        (takes_time_or_chance, "cloud/app.py", "import datetime as dt\ndt.datetime.now(dt.UTC)"),
        (takes_time_or_chance, "cloud/app.py", "from datetime import date\nnow = date.today"),
        (takes_time_or_chance, "cloud/app.py", "import random\nrandom.random()"),
        (takes_time_or_chance, "cloud/app.py", "from random import choice as pick\npick([1])"),
        (takes_time_or_chance, "cloud/app.py", "import random\nrng = random.Random(1)"),
        (is_too_long, "cloud/app.py", "\n" * (LINES_MAX + 1)),
        (says_not_what_it_is_for, "cloud/app.py", "x = 1"),
        (leaves_contracts_unsaid, "appliance/domain/sale.py", "def total(): ..."),
        (leaves_contracts_unsaid, "appliance/domain/sale.py", "class Sale: ..."),
    ],
)
def test_a_planted_fault_is_found(
    rule: Callable[[Module], list[str]], path: str, source: str, tmp_path: Path
) -> None:
    faults = rule(plant(tmp_path, path, source))

    assert len(faults) == 1
    assert faults[0].startswith(path)


@pytest.mark.parametrize(
    ("rule", "path", "source"),
    [
        (reaches_up, "appliance/api/sales.py", "from appliance.services.selling import Desk\nimport json"),
        (reaches_up, "appliance/storage/journal.py", "from appliance.storage.rows import Row"),
        (reaches_up, "cloud/ingest.py", "from appliance.domain import event\nfrom cloud import store"),
        (reaches_up, "demo/shop.py", "from till.client import Till"),
        (
            imports_lazily,
            "till/cli.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import json",
        ),
        (takes_time_or_chance, "appliance/runtime/clock.py", "import time"),
        (takes_time_or_chance, "cloud/wiring.py", "import random\nrng = random.Random()"),
        (takes_time_or_chance, "cloud/app.py", "import random\ndef f(rng: random.Random):\n    rng.random()"),
        (takes_time_or_chance, "cloud/app.py", "from datetime import datetime\ndatetime.fromisoformat('')"),
    ],
)
def test_what_is_allowed_is_left_alone(
    rule: Callable[[Module], list[str]], path: str, source: str, tmp_path: Path
) -> None:
    assert rule(plant(tmp_path, path, source)) == []


def test_a_planted_cycle_is_found(tmp_path: Path) -> None:
    plant(tmp_path, "till/a.py", "from till import b")
    plant(tmp_path, "till/b.py", "import till.c")
    plant(tmp_path, "till/c.py", "from till.a import x")

    assert set(cycle_among(read_tree(tmp_path))) == {"till.a", "till.b", "till.c"}


def test_a_name_for_types_only_makes_no_cycle(tmp_path: Path) -> None:
    plant(tmp_path, "till/a.py", "from till import b")
    plant(
        tmp_path, "till/b.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from till import a"
    )

    assert cycle_among(read_tree(tmp_path)) == []
