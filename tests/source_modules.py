"""The project's modules, parsed, and what each of them imports."""

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("appliance", "cloud", "till", "provisioning", "demo")


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
