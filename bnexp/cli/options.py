"""Arguments and options that several commands share, and their completions in the shell."""

import os
import re
from glob import escape, glob
from pathlib import Path
from typing import Annotated

import typer


def complete_config(incomplete: str) -> list[str]:
    """Shipped configurations, and YAML files here."""
    from bnexp.config.load import shipped

    files = glob(f"{escape(incomplete)}*.yaml")
    return [name for name in (*shipped(), *files) if name.startswith(incomplete)]


def complete_key(incomplete: str) -> list[str]:
    """Dotted keys of all settings."""
    return [key for key in _choices() if key.startswith(incomplete)]


def complete_config_or_setting(ctx: typer.Context, incomplete: str) -> list[str]:
    """Configurations; after one of them also settings, and after a setting's `=` its choices."""
    before = ctx.params.get("arguments") or []
    *_, key = [""] + [word for word in before if word != "="]
    if before and (before[-1] == "=" or key in _choices()):  # bash cuts a word at its `=`
        return [value for value in _choices().get(key, ()) if value.startswith(incomplete)]
    return [*complete_config(incomplete), *(complete_setting(incomplete) if before else ())]


def complete_setting(incomplete: str) -> list[str]:
    """`key=` of every setting that begins like this; if it is only one, with its choices or its default."""
    values = {key: [f"{key}={value}" for value in values] for key, values in _choices().items()}
    if any(incomplete.startswith(f"{key}=") for key in values):
        return [word for words in values.values() for word in words if word.startswith(incomplete)]
    begun = [key for key in values if key.startswith(incomplete)]
    # The shell adds a space after a word without alternatives, but `key=` needs a value.
    return [f"{key}=" for key in begun] + (values[begun[0]] if len(begun) == 1 else [])


def _choices() -> dict[str, list[str]]:
    """Return the keys of all settings, each with its choices or else its default."""
    from bnexp.config.documentation import all_sections
    from bnexp.config.experiment import ExperimentConfig
    from bnexp.config.keys import is_key

    settings = [setting for section in all_sections() for setting in section.settings]
    known = [setting for setting in settings if is_key(ExperimentConfig, setting.key)]
    return {setting.key: list(setting.choices) or [setting.default_text] for setting in known}


def complete_run(incomplete: str) -> list[str]:
    """Return the names of run folders."""
    from bnexp.store.finding import runs_folder

    found = glob(f"{escape(str(runs_folder()))}/{escape(incomplete)}*/config.yaml")
    return [Path(path).parent.name for path in found]


def _device(name: str) -> str:
    from bnexp.engines.engine import check_device

    return check_device(name)


Runs = Annotated[Path, typer.Option("--runs", envvar="BNEXP_RUNS", help="Folder that holds the run folders.")]
Device = Annotated[str, typer.Option("--device", callback=_device, help="auto, cpu, cuda, cuda:i or mps.")]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers",
        min=1,
        help="Processes that work side by side, one thread each. Default: one per core or GPU, where that saves time.",
    ),
]
EngineName = Annotated[
    str, typer.Option("--engine", help="local: this process; ray: a Ray cluster, or all devices of this machine.")
]
Address = Annotated[
    str | None,
    typer.Option("--address", help="Ray cluster to join: auto or HOST:PORT. Default: start Ray on this machine."),
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
        help="Run folders, their names, 'base-*', or experiments. Default: the newest run of every experiment.",
        autocompletion=complete_run,
    ),
]

DEFAULT_RUNS = Path("runs")


def split(arguments: list[str]) -> tuple[list[Path], list[str]]:
    """Tell configurations from overrides: an override has a `=` and isn't a file.

    Raises:
        InputError: no configuration, one that can't be found, or an override with spaces outside of quotes.
    """
    from bnexp.config.load import find
    from bnexp.errors import InputError

    for place in range(len(arguments) - 1):
        if whole := _in_one_word(arguments[place], " ".join(arguments[place + 1 :])):
            raise InputError(f"command line: {arguments[place]}: a setting and its value are one word: {whole}")
    overrides = [word for word in arguments if "=" in word and not os.path.exists(word)]
    paths = [find(word) for word in arguments if word not in overrides]
    if not paths:
        raise InputError("no configuration given; try bnexp run configs/quickstart.yaml, or bnexp list configs")
    return paths, overrides


def _in_one_word(word: str, rest: str) -> str:
    """Return how to write an override that spaces have cut into words; nothing if it wasn't cut."""
    from bnexp.config.experiment import ExperimentConfig
    from bnexp.config.keys import is_key

    key, equals, value = word.partition("=")
    if os.path.exists(word):
        return ""
    if equals and re.match(r"[\[{]", value) and not re.search(r"[\]}]$", value):
        end = re.search(r"[\]}](?= |$)", rest)
        return f"'{word} {rest[: end.end()]}'" if end else ""
    if value or not (is_key(ExperimentConfig, key) or rest.startswith("=")):
        return ""
    return f"{key}={rest.lstrip(' =').split(' ')[0]}"


def config_or_run(word: str, runs: Path) -> Path:
    """Return the configuration file that a word means: that of a run folder, a file, a shipped name, or a run's name.

    Raises:
        InputError: none of these; the message lists what there is.
    """
    from bnexp.errors import InputError

    if os.path.isdir(word):
        return _config_of_run(word, runs)
    try:
        return split([word])[0][0]
    except InputError as no_config:
        try:
            return _config_of_run(word, runs)
        except InputError as no_run:
            raise InputError(f"{no_config}\n{no_run}") from None


def _config_of_run(word: str, runs: Path) -> Path:
    from bnexp.store.files import CONFIG
    from bnexp.store.finding import find_run  # imports pandas

    return find_run(word, runs).path / CONFIG
