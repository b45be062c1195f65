"""The import table of the design, held against the code's own imports: a wrong import fails here."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.helpers import crossed

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "bnexp"

ALLOWED: dict[str, set[str]] = {
    # what the user wrote
    "errors": set(),
    "streams": set(),
    "pace": set(),
    "words": set(),
    "draws": {"streams"},
    "records": set(),
    "reference": set(),
    "config": {"errors"},
    # what will be trained
    "effective": {"config", "data", "errors"},
    "plan": {"config", "data", "effective", "errors", "words"},
    # the pictures, the networks, the training
    "data": {"config", "draws", "errors", "streams", "words"},
    "nn": {"config", "draws", "streams"},
    "probes": {"config", "data", "draws", "errors", "nn", "plan", "records", "streams"},
    "training": {"config", "data", "draws", "nn", "plan", "probes", "records"},
    # where it runs
    "executors": {
        "bnexp", "config", "data", "errors", "pace", "plan", "records", "store", "training", "words",
    },
    # what is kept, what it means, what people look at
    "store": {"config", "errors", "plan", "records"},
    "analysis": {"config", "data", "effective", "errors", "records", "store", "words"},
    "report": {"errors", "analysis", "claims", "config", "data", "records", "store", "words"},
    # one experiment from end to end
    "environment": {"bnexp", "executors"},
    "interrupts": set(),
    "same_training": {"plan", "words"},
    "preparing": {"bnexp", "config", "data", "errors", "executors", "plan", "probes", "store"},
    "opening": {"environment", "errors", "executors", "plan", "preparing", "records", "store", "words"},
    "recording": {"executors", "pace", "records", "store", "training", "words"},
    "trained": {"data", "draws", "errors", "nn", "plan", "records", "store", "training"},
    "deploy": {"bnexp", "data", "errors", "executors", "nn", "plan", "report", "store", "trained", "training", "words"},
    "late_probes": {
        "config", "data", "draws", "errors", "executors", "nn", "plan", "probes", "records", "store", "trained",
        "training",
    },
    "overview": {
        "config", "data", "errors", "executors", "nn", "plan", "probes", "report", "same_training", "training",
        "words",
    },
    "tuning": {"analysis", "config", "plan", "store"},
    "staged": {"analysis", "config", "executors", "plan", "preparing", "store", "tuning"},
    "claims": {"analysis", "config", "effective", "errors", "plan", "store", "tuning", "words"},
    "checks": {
        "claims", "config", "data", "draws", "executors", "nn", "plan", "preparing", "records", "reference", "report",
        "runner", "store", "trained", "training", "words",
    },
    "claim_runs": {"bnexp", "checks", "claims", "config", "executors", "plan", "preparing", "staged"},
    "runner": {"errors", "executors", "interrupts", "opening", "pace", "preparing", "recording", "report", "store"},
    # the door
    "cli": {
        "analysis", "claim_runs", "claims", "config", "deploy", "errors", "executors", "interrupts",
        "late_probes", "opening", "overview", "plan", "preparing", "report", "runner", "same_training", "staged",
        "store", "training", "tuning", "words",
    },
    "__main__": {"cli"},
    "bnexp": set(),
}  # fmt: skip
"""For each package or module below bnexp, what else below bnexp it may import anywhere in its code."""

WITHOUT_TORCH = (
    "errors",
    "streams",
    "records",
    "reference",
    "config",
    "effective",
    "plan",
    "store",
    "analysis",
    "claims",
    "report",
)
"""Packages that can be imported without importing torch, as can the start of the command line."""

LONGEST = 300
"""Lines of a module."""


def modules(root: Path = PACKAGE) -> dict[str, Path]:
    """Dotted names and files of all modules."""
    found = {}
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def tree(path: Path) -> ast.Module:
    return parsed(path.read_text())


@cache
def parsed(text: str) -> ast.Module:
    return ast.parse(text)


def part(module: str) -> str:
    """The row of the table that a module belongs to."""
    return module.split(".")[1] if "." in module else module


def imported(nodes: Iterator[ast.AST], known: dict[str, Path]) -> Iterator[str]:
    """Every module that import statements name; `from package import module` counts as the module."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide from this test"
            base = node.module or ""
            for alias in node.names:
                yield f"{base}.{alias.name}" if f"{base}.{alias.name}" in known else base


def at_import(node: ast.AST) -> Iterator[ast.AST]:
    """The statements that run when a module is imported: not in functions, not under `if TYPE_CHECKING`."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        yield child
        yield from at_import(child)


def crossings(root: Path = PACKAGE) -> set[tuple[str, str]]:
    """Pairs of (module, row of the table that it imports something of), within one row left out."""
    known = modules(root)
    return {
        (module, part(target))
        for module, path in known.items()
        for target in imported(ast.walk(tree(path)), known)
        if target.split(".")[0] == "bnexp" and part(target) != part(module)
    }


def loaded_with(module: str, root: Path = PACKAGE) -> set[str]:
    """All modules, ours and others', that importing a module imports at once, packages above them included."""
    known, seen, waiting = modules(root), set[str](), [module]
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        if "." in name:
            waiting.append(name.rpartition(".")[0])
        if name in known:
            waiting += imported(at_import(tree(known[name])), known)
    return seen


def violations(root: Path = PACKAGE) -> list[str]:
    return [f"{module} imports {row}" for module, row in sorted(crossings(root)) if row not in ALLOWED[part(module)]]


def torch_users(root: Path = PACKAGE) -> list[str]:
    """Modules that have to do without torch but import it, or something that does."""
    free = [name for name in modules(root) if part(name) in WITHOUT_TORCH] + ["bnexp.cli.main"]
    return [name for name in free if "torch" in loaded_with(name, root)]


def test_the_table_names_every_package_and_no_other() -> None:
    assert {part(module) for module in modules()} == set(ALLOWED)


def test_packages_import_only_what_the_table_allows() -> None:
    assert violations() == []


def test_the_table_allows_nothing_that_is_not_used() -> None:
    used = {(part(module), row) for module, row in crossings()}
    assert {(row, other) for row, others in ALLOWED.items() for other in others} == used


def test_the_table_has_no_cycle() -> None:
    left = {row: set(others) for row, others in ALLOWED.items()}
    while ready := {row for row, others in left.items() if not others & left.keys()}:
        left = {row: others for row, others in left.items() if row not in ready}
    assert left == {}


def test_modules_have_no_cycle() -> None:
    known = modules()
    targets = {name: set(imported(at_import(tree(path)), known)) & known.keys() for name, path in known.items()}
    left = {name: others - {name} for name, others in targets.items()}
    while ready := {name for name, others in left.items() if not others & left.keys()}:
        left = {name: others for name, others in left.items() if name not in ready}
    assert left == {}


def test_nothing_that_answers_at_once_imports_torch() -> None:
    assert torch_users() == []


def test_torch_is_found_where_it_is_imported() -> None:
    assert {"torch", "numpy"} <= loaded_with("bnexp.runner")


@pytest.mark.parametrize("module", modules())
def test_a_module_can_be_read_in_one_sitting(module: str) -> None:
    assert len(modules()[module].read_text().splitlines()) <= LONGEST


def calls_of_print(module: str) -> list[int]:
    names = (node for node in ast.walk(tree(modules()[module])) if isinstance(node, ast.Call))
    return [node.lineno for node in names if isinstance(node.func, ast.Name) and node.func.id == "print"]


def test_only_the_command_line_prints() -> None:
    assert {
        module: calls_of_print(module) for module in modules() if part(module) != "cli" and calls_of_print(module)
    } == {}
    assert calls_of_print("bnexp.cli.main")


WRONG = {
    "a package further up": (
        "nn/linear.py",
        "from bnexp.training.loop import train",
        "bnexp.nn.linear imports training",
    ),
    "inside a function": (
        "config/load.py",
        "def f():\n    from bnexp.plan import trials",
        "bnexp.config.load imports plan",
    ),
    "as a whole": ("store/files.py", "import bnexp.analysis.compare", "bnexp.store.files imports analysis"),
    "of a module by its package": ("data/raw.py", "from bnexp import runner", "bnexp.data.raw imports runner"),
}


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The package's code where it can be spoilt."""
    for path in modules().values():
        target = tmp_path / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(path.read_text())
    return tmp_path / "bnexp"


@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_import_is_found(copy: Path, kind: str) -> None:
    file, line, expected = WRONG[kind]
    (copy / file).write_text(f"{(copy / file).read_text()}\n{line}\n")
    assert violations(copy) == [expected]


@pytest.mark.parametrize(
    ("file", "line"),
    crossed(
        ["plan.py", "store/files.py", "report/table.py", "cli/options.py"],
        ["import torch", "from torch import nn", "from bnexp.nn.linear import Linear"],
        fast=3,
    ),
)
def test_torch_is_found_however_it_comes_in(copy: Path, file: str, line: str) -> None:
    (copy / file).write_text(f"{(copy / file).read_text()}\n{line}\n")
    module = "bnexp.cli.main" if file.startswith("cli") else "bnexp." + file.removesuffix(".py").replace("/", ".")
    assert module in torch_users(copy)


def test_torch_within_a_function_is_no_import_at_start(copy: Path) -> None:
    (copy / "plan.py").write_text(f"{(copy / 'plan.py').read_text()}\ndef later():\n    import torch\n")
    assert torch_users(copy) == []
