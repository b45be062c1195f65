"""Printing: tables drawn for a terminal, plain lines in a pipe, other formats and JSON for scripts."""

import codecs
import gc
import io
import json
import shutil
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any
from unicodedata import combining, normalize

from rich.console import Console
from rich.text import Text

from bnexp.config.source import sources_in
from bnexp.report.table import Table, to_rich, to_text
from bnexp.screen import plain, warn

if TYPE_CHECKING:
    from bnexp.analysis.comparison import Comparison
    from bnexp.analysis.study import Study
    from bnexp.config.experiment import ExperimentConfig

LACKING = "bnexp"
"""Name of the codec error handler for characters that an encoding lacks."""

_PAIRS = """
× x   · .   • *   − -   – -   — -   ‐ -   … ...   ’ '   ‘ '   “ "   ” "   „ "   ′ '   † +   ‖ ||   ⁄ /   ° deg
→ ->  ← <-  ↑ ^   ↓ v   ± +/- ≥ >=  ≤ <=  ≠ !=    ≈ ~   √ sqrt  ∞ inf   ∂ d    ∇ grad
─ -   │ |   ┤ +   ├ +   ┬ +   ┴ +   ┼ +   ┌ +     ┐ +   └ +     ┘ +    ╷ |    ╵ |    ╴ -    ╶ -    ━ -
α alpha   β beta   γ gamma   δ delta   ε eps   η eta   θ theta   λ lambda   μ mu   ρ rho   σ sigma   τ tau   φ phi
Γ Gamma   Δ Delta  Θ Theta   Λ Lambda  Σ Sigma Φ Phi   Ω Omega
"""
_ASCII = dict(zip(_PAIRS.split()[::2], _PAIRS.split()[1::2], strict=True))
_BRAILLE = range(0x2801, 0x2900)
"""Dots that curves in a terminal are drawn with."""


def write_everywhere() -> None:
    """Let standard output and error write in ASCII what their encoding lacks, instead of failing after all the work."""
    codecs.register_error(LACKING, _replaced)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=LACKING)


def freeze_imports() -> None:
    """Let the garbage collector skip what is imported, and look less often: tables have many cells and no cycles."""
    gc.freeze()
    gc.set_threshold(20_000)


def as_written(text: str) -> str:
    """Return text as standard output will show it, so that columns are as wide as their content."""
    return text if is_unicode() else text.encode(sys.stdout.encoding, LACKING).decode(sys.stdout.encoding)


def is_unicode() -> bool:
    """Tell whether standard output can show every character."""
    return codecs.lookup(sys.stdout.encoding or "utf-8").name.startswith("utf")


def _replaced(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(_in_ascii, error.object[error.start : error.end])), error.end


def _in_ascii(sign: str) -> str:
    """Return a letter without its accents, a small digit as a digit, a sign in words, and anything else as ?."""
    if combining(sign):
        return ""
    if ord(sign) in _BRAILLE:
        return "."
    parts = normalize("NFKD", sign)
    return "".join(_ASCII.get(part, part if part.isascii() else "") for part in parts) or "?"


MOST_PLOTS = 4
"""Panels drawn in a terminal."""


def saying(*, silent: bool) -> Callable[[str], None]:
    """Return the function that reports the progress of something long, or a silent one."""
    return (lambda text: None) if silent else warn


def say_code(*configs: "ExperimentConfig", silent: bool) -> None:
    """Say which code of the user's own a command is about to import: files, or modules by their names."""
    sources = [source for config in configs for source in sources_in(config.model_dump())]
    if places := dict.fromkeys(source.path.name if source.path else source.place for source in sources):
        saying(silent=silent)(f"Your code: {', '.join(places)}")


def print_table(*tables: Table) -> None:
    """Print tables in the form that a terminal or a pipe can show."""
    shown = [table.rewritten(lambda text: as_written(plain(text))) for table in tables]
    if sys.stdout.isatty():
        console = Console()
        for number, table in enumerate(shown):
            if number:
                console.print()
            console.print(to_rich(table))
    else:
        print("\n".join(map(to_text, shown)), end="")


def print_text(text: str) -> None:
    """Print lines, broken between words where a terminal is too narrow for them."""
    if sys.stdout.isatty():
        Console().print(Text(as_written(plain(text))))
    else:
        print(plain(text))


def print_json(value: Any, *, indent: int | None = 2) -> None:
    """Print a value as JSON, with nothing lost in any encoding; an infinity or NaN would be a bug.

    Without an indent it is one line.
    """
    text = json.dumps(value, indent=indent, allow_nan=False, ensure_ascii=not is_unicode())
    print("".join(sign if sign.isprintable() or sign == "\n" else json.dumps(sign)[1:-1] for sign in text))


def print_comparisons(
    compared: "Sequence[tuple[Study, Comparison]]",
    *,
    view: str = "main",
    form: str = "table",
    columns: Sequence[str] = (),
    plot: bool = False,
) -> None:
    """Print comparisons in a format: table, md, csv, json or latex."""
    if form == "json":
        from bnexp.report.summary import comparison_json

        runs = [{"run": study.name, "runs": list(study.runs)} for study, _ in compared]
        print_json([run | comparison_json(found, columns) for run, (_, found) in zip(runs, compared, strict=True)])
        return
    for number, (study, comparison) in enumerate(compared):
        if number:
            print()
        if form == "table":
            print_views(comparison, view, study.name, columns)
        elif form == "csv":
            _print_csv(comparison, view, columns)
        else:
            from bnexp.report.summary import latex, markdown

            write = latex if form == "latex" else markdown
            print(plain(write(comparison, view, study.name, columns)), end="")
        if plot:
            print("\n" + _plot(study, comparison), end="")


def print_views(comparison: "Comparison", view: str, title: str, columns: Sequence[str] = ()) -> None:
    """Print the tables of a view, and the warnings under them."""
    from bnexp.report.views import remarks, tables

    print_table(*tables(comparison, view, title, columns))
    if lines := remarks(comparison):
        print_text("\n" + "\n".join(lines))


def _print_csv(comparison: "Comparison", view: str, columns: Sequence[str]) -> None:
    """Print rows for other programs, and the remarks on standard error."""
    from bnexp.report.columns import DIVERGED_NOTE
    from bnexp.report.summary import summary_csv
    from bnexp.report.views import remarks

    diverged = [DIVERGED_NOTE] if any(row.diverged for row in comparison.rows) else []
    for line in (*remarks(comparison), *diverged):
        warn(line)
    print(plain(summary_csv(comparison, view, columns)), end="")


def _plot(study: "Study", comparison: "Comparison") -> str:
    from bnexp.analysis.study import METRICS
    from bnexp.report.panels import make_panels
    from bnexp.report.terminal_plot import plot_curves

    column, width = METRICS[comparison.metric], min(120, shutil.get_terminal_size().columns)
    panels, label = make_panels(study, column, limit=MOST_PLOTS), column.replace("_", " ")
    return plot_curves(panels, arms=study.arms, label=label, width=width, colour=sys.stdout.isatty())
