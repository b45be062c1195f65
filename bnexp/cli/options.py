"""Options that several commands share, and what the shell may complete them with."""

from glob import escape, glob
from pathlib import Path
from typing import Annotated

import typer


def complete_config(incomplete: str) -> list[str]:
    """Shipped configurations, and YAML files here."""
    from bnexp.config.shipped import shipped

    files = glob(f"{escape(incomplete)}*.yaml")
    return [name for name in (*shipped(), *files) if name.startswith(incomplete)]


def complete_run(incomplete: str) -> list[str]:
    """Run folders in runs/."""
    return [Path(path).parent.name for path in glob(f"runs/{escape(incomplete)}*/config.yaml")]


Runs = Annotated[Path, typer.Option("--runs", help="Folder that holds the run folders.")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:i.")]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers",
        min=1,
        help="Processes that work side by side, one thread each. Default: one per core or GPU, where that saves time.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")]
RunName = Annotated[
    str,
    typer.Argument(metavar="RUN", help="A run folder, its name, or an experiment's name.", autocompletion=complete_run),
]
Trials = Annotated[
    list[int] | None, typer.Option("--trial", min=0, help="A trial, by its number. Repeatable; default: all.")
]
RunNames = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[RUN]...",
        help="Run folders, their names, or names of experiments; none: the newest run of every experiment.",
        autocompletion=complete_run,
    ),
]

DEFAULT_RUNS = Path("runs")
