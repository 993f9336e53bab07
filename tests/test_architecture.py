"""The shape of the code: imports run down only, nothing hides, time and chance have one door.

Each rule is a function from a module to its faults, and a test of its own over every module.
At the end each rule is shown a planted fault, so that a rule which stopped seeing is noticed.
"""

import ast
import graphlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("appliance", "cloud", "till", "provisioning", "demo")
# What measures and torments them; of the rules below only the length binds it.
TOOLS = ("bench", "campaigns")

# Who may take from whom. Each room may also take from itself, and everybody from the bare `appliance`.
_BASE = {"appliance.domain", "appliance.runtime"}
_BELOW_API = _BASE | {"appliance.config", "appliance.storage", "appliance.services"}
_BELOW_WIRING = _BELOW_API | {"appliance.gateways", "appliance.api"}
MAY_TAKE: dict[str, set[str]] = {
    "appliance": set(),
    "appliance.domain": set(),
    "appliance.runtime": {"appliance.domain"},
    "appliance.config": _BASE,
    "appliance.gateways": _BASE | {"appliance.config"},
    "appliance.storage": _BASE,
    "appliance.services": _BASE | {"appliance.storage", "appliance.config"},
    "appliance.api": _BELOW_API,
    "appliance.places": {"appliance.config"},
    "appliance.lan": _BELOW_WIRING,
    "appliance.updating": _BELOW_WIRING | {"appliance.places"},
    "appliance.setup": _BELOW_WIRING | {"appliance.places"},
    "appliance.stopped": _BELOW_WIRING | {"appliance.places"},
    "appliance.wiring": _BELOW_WIRING | {"appliance.lan", "appliance.places", "appliance.updating"},
    "appliance.cli_identity": _BELOW_WIRING | {"appliance.places", "appliance.stopped"},
    "appliance.cli_tills": _BELOW_WIRING | {"appliance.places", "appliance.wiring"},
    "appliance.cli_journal": _BELOW_WIRING | {"appliance.places", "appliance.stopped"},
    "appliance.cli_rescue": _BELOW_WIRING,
    "appliance.cli_diagnostics": _BELOW_WIRING | {"appliance.places"},
    "appliance.cli_first_boot": _BASE,
    "appliance.cli_update": _BELOW_WIRING | {"appliance.places", "appliance.updating"},
    "appliance.cli": _BELOW_WIRING
    | {"appliance.places", "appliance.setup", "appliance.stopped", "appliance.wiring"}
    | {"appliance.cli_identity", "appliance.cli_journal", "appliance.cli_rescue", "appliance.cli_tills"}
    | {"appliance.cli_diagnostics", "appliance.cli_first_boot", "appliance.cli_update"},
    "cloud": _BASE,
    "till": _BASE,
    # A technician's tool finds boxes on the LAN as a till does.
    "provisioning": _BASE | {"till"},
    # The demo talks to the cloud and to the box as a shop does: over the wire.
    "demo": _BASE | {"till"},
}

# The domain decides; it does not wait, look, store or ask. (Top-level names of modules.)
IMPURE = {
    *("aiohttp", "aiosqlite", "psutil", "zeroconf"),
    *("asyncio", "logging", "os", "pathlib", "random", "socket", "sqlite3", "ssl"),
    *("subprocess", "tempfile", "threading", "time"),
}

# Modules that may import inside a function, each with its reason. None so far: keep it so.
LAZY_IMPORTS_ALLOWED: dict[str, str] = {}

CLOCK = "appliance.runtime.clock"
WALL_CLOCK = {
    "datetime.date.today",
    "datetime.datetime.now",
    "datetime.datetime.today",
    "datetime.datetime.utcnow",
}
# Where the parts are put together: there a generator is made from a seed, all others are handed it.
COMPOSITION_ROOTS = {"cli", "cli_identity", "wiring"}
LINES_MAX = 300


@dataclass(frozen=True)
class Module:
    """One source file of a tree, parsed."""

    path: Path  # relative to the tree
    name: str  # dotted; a package bears the name of its folder
    tree: ast.Module
    lines: int

    def __str__(self) -> str:
        return str(self.path)


@dataclass(frozen=True)
class Import:
    """One imported name: `import a.b` gives module a.b; `from a import b` gives module a, member b."""

    module: str
    member: str
    line: int
    in_function: bool
    typing_only: bool

    @property
    def full(self) -> str:
        return f"{self.module}.{self.member}" if self.member else self.module


def read_tree(root: Path, packages: Iterable[str] = PACKAGES) -> list[Module]:
    """All modules of these packages under `root`, in a stable order (the workers of a test run must agree)."""
    modules = []
    for path in sorted(path for package in packages for path in (root / package).rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        relative = path.relative_to(root)
        name = ".".join(relative.with_suffix("").parts).removesuffix(".__init__")
        modules.append(Module(relative, name, ast.parse(text, str(relative)), len(text.splitlines())))
    return modules


def imports(module: Module) -> Iterator[Import]:
    """Every import of the module, also those inside functions and under TYPE_CHECKING."""

    def walk(nodes: Iterable[ast.AST], in_function: bool, typing_only: bool) -> Iterator[Import]:
        for node in nodes:
            match node:
                case ast.Import(names=names):
                    for alias in names:
                        yield Import(alias.name, "", node.lineno, in_function, typing_only)
                case ast.ImportFrom(names=names):
                    source = absolute(module, node)
                    for alias in names:
                        yield Import(source, alias.name, node.lineno, in_function, typing_only)
                case ast.If(test=test) if ast.unparse(test).endswith("TYPE_CHECKING"):
                    yield from walk(node.body, in_function, True)
                    yield from walk(node.orelse, in_function, typing_only)
                case ast.FunctionDef() | ast.AsyncFunctionDef():
                    yield from walk(ast.iter_child_nodes(node), True, typing_only)
                case _:
                    yield from walk(ast.iter_child_nodes(node), in_function, typing_only)

    return walk(module.tree.body, False, False)


def absolute(module: Module, node: ast.ImportFrom) -> str:
    """The module that a `from` names, with the leading dots of a relative one worked out."""
    if node.level == 0:
        return node.module or ""
    parts = module.name.split(".")
    package = parts if module.path.name == "__init__.py" else parts[:-1]
    return ".".join([*package[: len(package) - node.level + 1], *filter(None, [node.module])])


def room(dotted: str) -> str:
    """The room that a module or a member of it belongs to: `appliance.storage`, `cloud`."""
    package, *rest = dotted.split(".")
    inner = f"{package}.{rest[0]}" if rest else package
    return inner if inner in MAY_TAKE else package


# --- The rules: each gives the faults of one module, as sentences that begin with file and line.


def has_no_room(module: Module) -> list[str]:
    if module.name in MAY_TAKE or room(module.name) != "appliance":
        return []
    return [f"{module}: stands in no room; give it one in MAY_TAKE"]


def reaches_up(module: Module) -> list[str]:
    home = room(module.name)
    allowed = MAY_TAKE.get(home, set()) | {home, "appliance"}
    return [
        f"{module}:{taken.line}: {home} must not take from {room(taken.full)} ({taken.full})"
        for taken in imports(module)
        if taken.module.split(".")[0] in PACKAGES and room(taken.full) not in allowed
    ]


def imports_lazily(module: Module) -> list[str]:
    if module.name in LAZY_IMPORTS_ALLOWED:
        return []
    return [
        f"{module}:{taken.line}: imports {taken.full} inside a function; the arrow belongs at the top"
        for taken in imports(module)
        if taken.in_function and not taken.typing_only
    ]


def is_impure(module: Module) -> list[str]:
    if room(module.name) != "appliance.domain":
        return []
    return [
        f"{module}:{taken.line}: the domain is pure and must not import {taken.module}"
        for taken in imports(module)
        if taken.module.split(".")[0] in IMPURE
    ]


def takes_time_or_chance(module: Module) -> list[str]:
    if module.name == CLOCK:
        return []
    faults = [
        f"{module}:{taken.line}: imports time; take a Clock"
        for taken in imports(module)
        if taken.module == "time"
    ]
    aliases = names_of_imports(module)
    called = {id(node.func) for node in ast.walk(module.tree) if isinstance(node, ast.Call)}
    for node in ast.walk(module.tree):
        if not isinstance(node, ast.Name | ast.Attribute):
            continue
        head, _, tail = ast.unparse(node).partition(".")
        meant = f"{aliases.get(head, head)}.{tail}".removesuffix(".")
        if meant in WALL_CLOCK:
            faults.append(f"{module}:{node.lineno}: {meant} reads the wall clock; take a Clock")
        elif meant == "random.Random":
            # As a type it may stand anywhere.
            if id(node) in called and module.path.stem not in COMPOSITION_ROOTS:
                faults.append(f"{module}:{node.lineno}: makes a random.Random; be handed one")
        elif meant.startswith("random.") and meant.count(".") == 1 and head in aliases:
            faults.append(f"{module}:{node.lineno}: {meant} has a hidden state; take a random.Random")
    return faults


def names_of_imports(module: Module) -> dict[str, str]:
    """What each imported name of the module stands for: `dt` -> `datetime`, `now` -> `clock.now`."""
    names: dict[str, str] = {}
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.split(".")[0]  # `import a.b` binds a
                names |= {alias.asname: alias.name} if alias.asname else {top: top}
        elif isinstance(node, ast.ImportFrom):
            source = absolute(module, node)
            names |= {alias.asname or alias.name: f"{source}.{alias.name}" for alias in node.names}
    return names


def is_too_long(module: Module) -> list[str]:
    if module.lines <= LINES_MAX:
        return []
    return [f"{module}: {module.lines} lines, more than {LINES_MAX}; it has more than one reason to exist"]


def says_not_what_it_is_for(module: Module) -> list[str]:
    return [] if ast.get_docstring(module.tree) else [f"{module}:1: a file opens with what it is for"]


def leaves_contracts_unsaid(module: Module) -> list[str]:
    if room(module.name) != "appliance.domain":
        return []
    return [
        f"{module}:{node.lineno}: {node.name} is public and has no docstring"
        for node in module.tree.body
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        if not node.name.startswith("_") and not ast.get_docstring(node)
    ]


def cycle_among(modules: list[Module]) -> list[str]:
    """One cycle of imports at run time, as the names along it; empty when there is none."""
    names = {module.name for module in modules}
    graph = {
        module.name: {
            taken.full if taken.full in names else taken.module
            for taken in imports(module)
            if not taken.typing_only
        }
        & names
        for module in modules
    }
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return [str(name) for name in error.args[1]]
    return []


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
