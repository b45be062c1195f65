"""The layers of the design, held against the code's own imports: a wrong import fails here."""

import ast
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "bnexp"

LAYERS = (
    "bnexp", "errors", "records", "reference", "streams",
    "config", "data", "plan", "store",
    "nn", "probes", "training", "doctor", "engines",
    "analysis", "report", "runner", "deploy",
    "screen", "api", "cli", "claims", "papers", "main", "__main__",
)  # fmt: skip
"""Packages and modules below bnexp, from the bottom to the top: each may import only what stands before it."""

KEPT_APART = {
    "reference": {"bnexp", "errors", "records"},
    "nn": {"data", "plan", "store"},
    "probes": {"store"},
    "training": {"store"},
}
"""Layers that may not import these either, although they stand below."""

WITHOUT_TORCH = (
    "errors",
    "records",
    "reference",
    "config",
    "plan",
    "store",
    "analysis",
    "claims",
    "papers",
    "report",
)
"""Packages that can be imported without importing torch, as can the start of the command line."""

WITH_TORCH = ("bnexp.claims.checks",)
"""What of these packages may import it all the same: it is loaded only to measure."""

LONGEST = 400
"""Lines of a module."""


def modules(root: Path = PACKAGE) -> dict[str, Path]:
    """Dotted names and files of all modules."""
    found = {}
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def parsed(text: str) -> ast.Module:
    return ast.parse(text)


def part(module: str) -> str:
    """The layer that a module belongs to. The command line's entry stands above all commands, those of claims too."""
    if module == "bnexp.cli.main":
        return "main"
    return module.split(".")[1] if "." in module else module


def imported(nodes: Iterable[ast.AST], known: dict[str, Path]) -> Iterator[str]:
    """Every module that import statements name; `from package import module` counts as the module."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide from this test"
            base = node.module or ""
            for alias in node.names:
                yield f"{base}.{alias.name}" if f"{base}.{alias.name}" in known else base


@cache
def statements(text: str, *, at_once: bool) -> list[ast.AST]:
    """The import statements of a module: all, or those that run when it is imported itself."""
    nodes = at_import(parsed(text)) if at_once else ast.walk(parsed(text))
    return [node for node in nodes if isinstance(node, ast.Import | ast.ImportFrom)]


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
    """Pairs of (module, row of the table that it imports something of), within one row left out.

    `bnexp` itself is left out, too: it loads the front door's names on first use.
    """
    known = modules(root)
    return {
        (module, part(target))
        for module, path in known.items()
        if module != "bnexp"
        for target in imported(statements(path.read_text(), at_once=False), known)
        if target.split(".")[0] == "bnexp" and part(target) != part(module)
    }


class Imports(dict[str, set[str]]):
    """By module, those that it names in the statements that run when it is imported; read when they are asked for."""

    def __init__(self, root: Path = PACKAGE):
        self.known = modules(root)

    def __missing__(self, module: str) -> set[str]:
        text = self.known[module].read_text() if module in self.known else ""
        self[module] = set(imported(statements(text, at_once=True), self.known))
        return self[module]


def loaded_with(module: str, imports: Imports) -> set[str]:
    """All modules, ours and others', that importing a module imports at once, packages above them included."""
    seen, waiting = set[str](), [module]
    while waiting:
        name = waiting.pop()
        if name and name not in seen:
            seen.add(name)
            waiting += [name.rpartition(".")[0], *imports[name]]
    return seen


def violations(root: Path = PACKAGE) -> list[str]:
    return [
        f"{module} imports {row}"
        for module, row in sorted(crossings(root))
        if LAYERS.index(row) > LAYERS.index(part(module)) or row in KEPT_APART.get(part(module), ())
    ]


def torch_users(root: Path = PACKAGE) -> list[str]:
    """Modules that have to do without torch but import it, or something that does."""
    free = [name for name in modules(root) if part(name) in WITHOUT_TORCH and not name.startswith(WITH_TORCH)]
    free.append("bnexp.cli.main")
    imports = Imports(root)
    return [name for name in free if "torch" in loaded_with(name, imports)]


def test_the_layers_name_every_package_and_no_other() -> None:
    assert {part(module) for module in modules()} == set(LAYERS)


def test_packages_import_only_from_the_layers_below() -> None:
    assert violations() == []


def test_modules_have_no_cycle() -> None:
    imports = Imports()
    left = {name: imports[name] & imports.known.keys() - {name} for name in imports.known}
    while ready := {name for name, others in left.items() if not others & left.keys()}:
        left = {name: others for name, others in left.items() if name not in ready}
    assert left == {}


def test_nothing_that_answers_at_once_imports_torch() -> None:
    assert torch_users() == []


def test_tables_and_the_page_of_a_report_do_without_what_takes_long_to_import() -> None:
    imports = Imports()
    for module in ("bnexp.analysis.runs", "bnexp.report.html.page", "bnexp.report.watching"):
        assert {"jaxtyping", "matplotlib", "scipy", "joblib"} & loaded_with(module, imports) == set()


def test_pyplot_with_its_state_for_a_whole_process_stays_out() -> None:
    lines = (line for path in modules().values() for line in path.read_text().splitlines() if "pyplot" in line)
    assert [line for line in lines if line.lstrip().startswith(("import ", "from "))] == []


def test_torch_is_found_where_it_is_imported() -> None:
    assert {"torch", "numpy"} <= loaded_with("bnexp.runner.run", Imports())


def test_modules_can_be_read_in_one_sitting() -> None:
    assert [name for name, path in modules().items() if len(path.read_text().splitlines()) > LONGEST] == []


def calls_of_print(path: Path) -> list[int]:
    calls = (node for node in ast.walk(parsed(path.read_text())) if isinstance(node, ast.Call))
    return [node.lineno for node in calls if isinstance(node.func, ast.Name) and node.func.id == "print"]


def test_only_the_command_line_prints() -> None:
    known = modules()
    quiet = [name for name in known if part(name) not in ("screen", "cli", "main") and name != "bnexp.claims.command"]
    assert {name: lines for name in quiet if (lines := calls_of_print(known[name]))} == {}
    assert calls_of_print(known["bnexp.cli.main"])


WRONG = [
    ("nn/mlp.py", "from bnexp.training.loop import train", "bnexp.nn.mlp imports training"),
    ("config/load.py", "def f():\n    from bnexp.plan import trials", "bnexp.config.load imports plan"),
    ("store/files.py", "import bnexp.analysis.compare", "bnexp.store.files imports analysis"),
    ("data/raw.py", "from bnexp import plan", "bnexp.data.raw imports plan"),
    ("nn/mlp.py", "from bnexp.data.raw import RawSet", "bnexp.nn.mlp imports data"),
]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The package's code where it can be spoilt."""
    for path in modules().values():
        target = tmp_path / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(path.read_text())
    return tmp_path / "bnexp"


@pytest.mark.parametrize(("file", "line", "expected"), WRONG)
def test_a_wrong_import_is_found(copy: Path, file: str, line: str, expected: str) -> None:
    (copy / file).write_text(f"{(copy / file).read_text()}\n{line}\n")
    assert violations(copy) == [expected]


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("plan.py", "import torch"),
        ("report/table.py", "from torch import nn"),
        ("cli/options.py", "from bnexp.nn.layers import Linear"),
    ],
)
def test_torch_is_found_however_it_comes_in(copy: Path, file: str, line: str) -> None:
    (copy / file).write_text(f"{(copy / file).read_text()}\n{line}\n")
    module = "bnexp.cli.main" if file.startswith("cli") else "bnexp." + file.removesuffix(".py").replace("/", ".")
    assert module in torch_users(copy)


def test_torch_within_a_function_is_no_import_at_start(copy: Path) -> None:
    (copy / "plan.py").write_text(f"{(copy / 'plan.py').read_text()}\ndef later():\n    import torch\n")
    assert torch_users(copy) == []
