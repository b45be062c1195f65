"""Whatever lies in runs/ and however it is called: nothing hangs, nothing crashes, nothing reaches the terminal raw."""

import csv
import io
import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from bnexp.analysis.runs import ComparedRun, compare_run, one_by_one
from bnexp.config.load import resolve
from bnexp.config.yaml import parse
from bnexp.plan import run_name, trials
from bnexp.records import MEASURES, EpochRecord, Outcome
from bnexp.report.listings import list_runs
from bnexp.report.summary import write_report_files
from bnexp.screen import plain
from bnexp.store.checksums import checksum_lines, file_entry, table_entries, trial_entry
from bnexp.store.files import CHECKSUMS, CONFIG, CURVES, ENVIRONMENT, TRIALS
from bnexp.store.finding import find_together
from bnexp.store.reader import RunRecord
from bnexp.store.tables import row_values
from bnexp.store.writer import RunWriter
from tests.cli.command import Command, Result, in_this_process
from tests.helpers import crossed, experiment, no_batches
from tests.reliability.faults import EXPERIMENT, as_nobody, fast_folder

ESCAPES = (
    "\x1b[31mred",
    "\x1b]0;title\x07",
    "\x9b2J",
    "a\rb",
    "a\nb",
    "a\tb",
    "a\x7fb",
    "\u202egpj",
    "\u2066x",
    "\x00"[:0] + "\x08",
)
"""Names with what clears screens, changes colours and titles, or turns text around."""
RAW = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
SECONDS = 60
"""After which a command counts as hanging."""


def made_run(runs: Path, **raw: object) -> Path:
    """A finished run folder that nothing was trained for."""
    config = experiment(**{"arms": ["none", "before"], "seeds": 2, "grid": {"train.lr": [0.1, 1.0]}} | raw)
    planned = trials(config)
    path = runs / run_name(config)
    groups = [[trial.number for trial in planned]]
    writer = RunWriter.create(path, config, planned, {"device": "cpu"}, groups)
    numbers = tuple(groups[0])
    measures = {name: tuple(0.5 + number / 100 for number in numbers) for name in MEASURES}
    writer.append(EpochRecord(numbers, 1, 6, measures, (0.1,) * len(numbers), 0.5, *no_batches(len(numbers))))
    writer.end(Outcome(number, "completed") for number in numbers)
    writer.close()
    return path


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def runs(here: Path) -> Path:
    """A folder with one healthy run."""
    made_run(here / "runs", name="healthy")
    return here / "runs"


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """The command in this process; an uncaught error fails the test."""

    def command(*words: object) -> Result:
        capsys.readouterr()
        code = in_this_process(monkeypatch, *words)
        return Result(code, *capsys.readouterr())

    return command


def healthy(runs: Path) -> str:
    (name,) = (path.name for path in runs.glob("healthy-*"))
    return name


def check_shown(runs: Path, cli: Command) -> None:
    """Commands that read end well, show the healthy run, and print nothing raw."""
    for words in ("list", "compare --json"):
        result = cli(*words.split())
        assert (result.code, healthy(runs) in result.out) == (0, True), words
        assert not RAW.search(result.out + result.err), words


# Names


@pytest.mark.parametrize(("name", "damaged"), crossed(ESCAPES, [False, True], fast=7))
def test_the_name_of_a_folder_reaches_no_terminal_raw(runs: Path, cli: Command, name: str, damaged: bool) -> None:
    run = runs / f"{name}-00000000"
    shutil.copytree(runs / healthy(runs), run)
    if damaged:
        (run / "config.yaml").unlink()
    check_shown(runs, cli)
    result = cli("compare", run)
    assert result.code == (2 if damaged else 0)
    assert not RAW.search(result.out + result.err)


def test_a_name_that_is_no_text_is_shown_as_such(runs: Path, cli: Command) -> None:
    odd = os.fsdecode(b"latin-\xe9-00000000")
    shutil.copytree(runs / healthy(runs), runs / odd)
    check_shown(runs, cli)
    assert [row["run"] for row in cli("list", "--json").json()].count(odd) == 1


def test_names_in_a_terminal_are_made_harmless_too(
    runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from bnexp.cli.output import print_table
    from bnexp.report.table import plain_table

    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "dumb")
    for name in ESCAPES:
        print_table(plain_table(headers=("run", name), rows=((name, "1"),), title=name, notes=(name,)))
        assert not RAW.search(capsys.readouterr().out)


@pytest.mark.parametrize("name", ["x" * 5_000, "../" * 40 + "etc/passwd", "/", "..", "", "\x1b[2J", "a\nb", "-"])
def test_whatever_is_asked_for_by_name_is_answered(runs: Path, cli: Command, name: str) -> None:
    before = sorted(path for path in runs.rglob("*"))
    result = cli("compare", "--", name)
    assert (result.code, result.out) == (2, "")
    assert (": not a run folder" if os.path.lexists(name or ".") else ": no such run in ") in result.err
    assert not RAW.search(result.err)
    assert sorted(runs.rglob("*")) == before


# What lies in runs/


def pipe(path: Path) -> None:
    os.mkfifo(path)


def loop(path: Path) -> None:
    path.symlink_to(path.name)


def dangling(path: Path) -> None:
    path.symlink_to("nowhere")


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def file(path: Path) -> None:
    path.write_text("not a run")


def folder(path: Path) -> None:
    path.mkdir()


ODD: tuple[Callable[[Path], None], ...] = (pipe, loop, dangling, device, file, folder)


def test_what_is_no_run_is_passed_over(runs: Path, cli: Command) -> None:
    for odd in ODD:
        odd(runs / f"{odd.__name__}-00000000")
        odd(runs / f".hidden-{odd.__name__}")
    check_shown(runs, cli)
    assert [row["run"] for row in cli("list", "--json").json()] == [healthy(runs)]


@pytest.mark.parametrize(
    ("odd", "name"),
    crossed(ODD[:4], ["config.yaml", "environment.json", "trials.csv", "curves.csv", "checksums.txt"], fast=4),
)
def test_what_is_no_file_is_neither_waited_for_nor_read(
    runs: Path, cli: Command, odd: Callable[[Path], None], name: str
) -> None:
    run = runs / "odd-00000000"
    shutil.copytree(runs / healthy(runs), run)
    (run / name).unlink()
    odd(run / name)
    (_, listed) = sorted(cli("list", "--json").json(), key=lambda row: str(row["run"]))
    assert listed["state"] == "damaged"
    assert name in str(listed["headline"])
    assert cli("compare", run.name).code == (2 if name == "config.yaml" else 0)


@pytest.mark.skipif(os.geteuid() != 0, reason="only the superuser can take a file away from itself")
@pytest.mark.parametrize("name", ["", "config.yaml", "curves.csv"])
def test_what_may_not_be_read_is_named(monkeypatch: pytest.MonkeyPatch, cli: Command, name: str) -> None:
    with fast_folder() as here:
        here.chmod(0o755)
        monkeypatch.chdir(here)
        runs = here / "runs"
        made_run(runs, name="healthy")
        shutil.copytree(runs / healthy(runs), runs / "odd-00000000")
        (runs / "odd-00000000" / name).chmod(0)
        with as_nobody():
            check_shown(runs, cli)
            result = cli("list", "--json")
        states = {row["run"]: row["state"] for row in result.json()}
        assert states.get("odd-00000000", "damaged") == "damaged"
        monkeypatch.chdir("/")


# Links


def test_a_run_is_not_written_through_a_link(here: Path, cli: Command) -> None:
    (here / "exp.yaml").write_text(EXPERIMENT)
    name = run_name(resolve(parse(EXPERIMENT, "exp"), "exp"))
    (here / "elsewhere").mkdir()
    (here / "runs").mkdir()
    (here / "runs" / name).symlink_to(here / "elsewhere")
    for words in ([], ["--rerun"]):
        result = cli("run", "exp.yaml", *words)
        reason = "is a link, but runs are written into folders; remove it, or choose another --runs"
        assert (result.code, result.out, result.err) == (2, "", f"bnexp: runs/{name}: {reason}\n")
    assert list((here / "elsewhere").iterdir()) == []


def test_a_run_is_read_through_a_link(runs: Path, here: Path, cli: Command) -> None:
    (runs / "linked-00000000").symlink_to(runs / healthy(runs))
    assert {row["run"] for row in cli("list", "--json").json()} == {healthy(runs), "linked-00000000"}
    assert cli("compare", "linked").code == 0


# Text in a run that is meant to do harm


FORMULAS = ["=1+1", "@SUM(A1)", "'=1"]


def cells(text: str) -> Iterator[str]:
    for row in csv.reader(io.StringIO(text)):
        yield from row


def test_no_cell_is_run_by_a_spreadsheet(here: Path, cli: Command) -> None:
    run = made_run(here / "runs", grid={"data.root": FORMULAS})
    write_report_files(ComparedRun(run))
    written = [(run / file).read_text() for file in ("trials.csv", "summary.csv")]
    written += [
        cli("compare", "--format", "csv", "--view", view).out for view in ("equal", "overall", "best", "robust")
    ]
    for text in written:
        assert not [cell for cell in cells(text) if cell[:1] in "=+-@" and not number(cell)]
    assert all({f"'{formula}" for formula in FORMULAS} <= set(cells(text)) for text in written[:3])
    assert set(FORMULAS) == set(RunRecord(run).trials["data.root"])
    assert set(FORMULAS) == {row.point["data.root"] for row in compare_run(RunRecord(run)).rows}


def number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return not cell
    return True


def test_a_reason_with_escapes_is_kept_harmless(runs: Path, cli: Command) -> None:
    config = experiment(name="bad", arms=["none", "before"])
    path, planned = runs / run_name(config), trials(config)
    writer = RunWriter.create(path, config, planned, {"device": "cpu"}, [[0, 1]])
    writer.end([Outcome(0, "failed", reason="\x1b]0;x\x07=1+1"), Outcome(1, "failed", reason="=\x9bA1")])
    writer.close()
    assert not RAW.search((path / "trials.csv").read_text())
    assert list(RunRecord(path).trials["reason"]) == [" ]0;x =1+1", "= A1"]
    check_shown(runs, cli)


@pytest.mark.parametrize("sign", ["\x1b", "\x9b", "\x07", "\r", "\u202e", "\udce9"])
def test_plain_text_keeps_lines_and_letters_and_nothing_else(sign: str) -> None:
    assert plain("γ = 1\nok") == "γ = 1\nok"
    assert sign not in plain(f"a{sign}b")


# Folders of other programs


def sealed(run: Path, changed: dict[str, Callable[[str], str]]) -> None:
    """Change files of a run folder and have the checksums say that they are as they were written."""
    for name, change in changed.items():
        path = run / name
        path.write_text(change(path.read_text()))
    trials, records = (read_rows(run / name) for name in (TRIALS, CURVES))
    entries = [file_entry(name, (run / name).read_bytes()) for name in (CONFIG, ENVIRONMENT)]
    entries += [trial_entry(int(row[0]), row, 6) for row in trials]
    entries += table_entries(CURVES, map(row_values, records))
    (run / CHECKSUMS).write_bytes(checksum_lines(entries))


def read_rows(path: Path) -> list[list[str]]:
    with path.open(newline="") as file:
        return [*csv.reader(file)][1:]


def replaced(old: str, new: str) -> Callable[[str], str]:
    def change(text: str) -> str:
        assert old in text
        return text.replace(old, new)

    return change


FOREIGN: dict[str, dict[str, Callable[[str], str]]] = {
    "an arm of another name": {"config.yaml": replaced("before:", "behind:")},
    "another rate": {"trials.csv": replaced(",0.1,", ",0.2,")},
    "other seeds": {"config.yaml": replaced("- 1\n", "- 5\n")},
    "a result that is no number": {"trials.csv": replaced("0.5,", "half,")},
    "an outcome of its own": {"trials.csv": replaced("completed", "finished")},
    "records that are no numbers": {"curves.csv": replaced("0.5,", "half,")},
    "an environment that is a list": {"environment.json": lambda text: "[]"},
    "an environment that is no JSON": {"environment.json": lambda text: "{"},
    "groups that are numbers": {"environment.json": lambda text: '{"format": 2, "groups": [1]}'},
    "a configuration that is a list": {"config.yaml": lambda text: "- 1\n"},
    "a configuration that is no YAML": {"config.yaml": lambda text: "{"},
    "a configuration of another network": {"config.yaml": replaced("family: mlp", "family: transformer")},
}


@pytest.mark.parametrize("changed", FOREIGN.values(), ids=FOREIGN)
def test_a_folder_that_another_program_wrote_is_named_and_takes_no_other_run_with_it(
    runs: Path, changed: dict[str, Callable[[str], str]]
) -> None:
    run = made_run(runs, name="foreign", seeds=2)
    sealed(run, changed)
    states = {row.run: row.state for row in list_runs(runs)}
    assert states == {run.name: "damaged", healthy(runs): "complete"}
    warned: list[str] = []
    ((*_, kept),) = find_together([run.name, healthy(runs)], runs, warned.append)
    assert (kept.path.name, len(warned), run.name in warned[0]) == (healthy(runs), 1, True)


def test_what_a_comparison_can_not_be_made_of_is_left_out_and_named(runs: Path, cli: Command) -> None:
    odd = made_run(runs, name="odd", arms={"plain": {}}, grid={"train.momentum": [0.1, 0.2]})
    result = cli("compare", "--filter", "momentum<0.15")
    assert (result.code, odd.name in result.out) == (0, True)
    assert result.err.startswith(f"bnexp: left out: {healthy(runs)}: --filter momentum<0.15: momentum: no such column")
    result = cli("compare", "--filter", "nonsense<1")
    assert (result.code, result.err.count("no such column")) == (2, 1)


def test_whatever_goes_wrong_with_one_comparison_the_others_are_made(runs: Path) -> None:
    def breaks(some: Sequence[RunRecord]) -> str:
        if some[0].path.name.startswith("other"):
            raise KeyError("surprise")
        return some[0].path.name

    said: list[str] = []
    both = [[RunRecord(path)] for path in (runs / healthy(runs), made_run(runs, name="other"))]
    assert one_by_one(both, breaks, said.append) == [healthy(runs)]
    assert said == [f"left out: {both[1][0].path.name}: KeyError: 'surprise'"]
    with pytest.raises(KeyError, match="surprise"):
        one_by_one(both[1:], breaks, said.append)
