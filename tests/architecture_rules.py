"""The rules for the shape of the code: each is a function from a module to its faults."""

import ast
import graphlib

from tests.source_modules import PACKAGES, Module, imports, names_of_imports

# What measures, torments and tests the packages; of the rules below only the length binds it.
TOOLS = ("bench", "campaigns", "tests")

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


def room(dotted: str) -> str:
    """The room that a module or a member of it belongs to: `appliance.storage`, `cloud`."""
    package, *rest = dotted.split(".")
    inner = f"{package}.{rest[0]}" if rest else package
    return inner if inner in MAY_TAKE else package


# --- Each gives the faults of one module, as sentences that begin with file and line.


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
