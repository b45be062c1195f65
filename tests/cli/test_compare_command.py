"""`bnexp compare`: what it shows, in which form, of which trials, and what it warns about."""

import csv
import io
import json
from pathlib import Path

import pytest

from tests.cli.command import Command

SMALL = ("model.depth=1", "model.width=8", "train.epochs=1", "data.train_size=100")


@pytest.fixture
def name(runs: Path) -> str:
    (path,) = runs.iterdir()
    return path.name


def table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_the_main_view_has_every_table_that_applies_and_the_warnings_last(runs: Path, cli: Command, name: str) -> None:
    lines = cli("compare").out.splitlines()
    titles = [name, "Over all grid points", "Each arm at its best", "Robustness"]
    assert [line for line in lines if line in titles] == titles
    assert "Careful: few seeds: 2 pairs per row; p can't fall below 0.05 with fewer than 6 (seeds: 6)." in lines
    lag = "after 8 updates, 43 % of their initial value is still in them (norm.momentum 0.1)"
    assert lines[-1] == f"Careful: running averages of before: {lag}; remedy: norm.statistics: population."


@pytest.mark.parametrize(
    ("view", "header"),
    [
        ("equal", "lr   arm     n  final test accuracy"),
        ("overall", "arm     seeds  final test accuracy"),
        ("best", "arm     best point"),
        ("robust", "axis  arm     worst final test accuracy"),
        ("time", "lr   arm     epochs to 0.9  reached  first"),
    ],
)
def test_a_view_is_one_table(runs: Path, cli: Command, name: str, view: str, header: str) -> None:
    lines = cli("compare", "--view", view).out.splitlines()
    assert lines[0].startswith(name)
    assert lines[2].startswith(header)
    assert sum(line == "" for line in lines) == 3  # under the title, above the notes, above the warnings


def test_a_view_without_rows_says_so(runs: Path, cli: Command) -> None:
    assert "nothing to show as diverged" in cli("compare", "--view", "diverged").out


def test_warnings_reach_every_format(runs: Path, cli: Command) -> None:
    warning = "Careful: few seeds: 2 pairs per row; p can't fall below 0.05 with fewer than 6 (seeds: 6)."
    assert f"\n- {warning}\n" in cli("compare", "--format", "md").out
    assert f"\n{warning}\\par\n" in cli("compare", "--format", "latex").out
    (run,) = cli("compare", "--json").json()
    assert warning.removeprefix("Careful: ").removesuffix(".") in run["warnings"]
    # Rows of a CSV have to stay a table for other programs.
    result = cli("compare", "--format", "csv")
    assert "Careful" not in result.out
    assert f"bnexp: {warning}\n" in result.err


def test_csv_json_and_markdown_hold_the_same_rows(runs: Path, cli: Command) -> None:
    options = ("compare", "--filter", "lr<0.5", "--sort", "mean")
    rows = table(cli(*options, "--format", "csv").out)
    (run,) = cli(*options, "--only-changed", "--json").json()
    assert run["grid_keys"] == []
    (run,) = cli(*options, "--json").json()
    assert cli(*options, "--format", "json").out == cli(*options, "--json").out
    assert [(row["train.lr"], row["arm"]) for row in rows] == [
        (str(row["point"]["train.lr"]), row["arm"]) for row in run["rows"]
    ]
    assert [float(row["mean"]) for row in rows] == [row["mean"] for row in run["rows"]]
    assert [row["mean"] for row in run["rows"]] == sorted((row["mean"] for row in run["rows"]), reverse=True)
    (best,) = cli(*options, "--top", "1", "--json").json()
    assert best["rows"] == run["rows"][:1]
    markdown = cli(*options, "--format", "md").out
    for row in run["rows"]:
        assert f"| 0.1 | {row['arm']} | 2 | {row['mean']:.3f} [" in markdown
    assert "- Careful: few seeds" in markdown


@pytest.mark.parametrize("view", ["overall", "best", "robust"])
def test_csv_of_another_view(runs: Path, cli: Command, view: str) -> None:
    rows = table(cli("compare", "--view", view, "--format", "csv").out)
    (run,) = cli("compare", "--json").json()
    key = {"overall": "overall", "best": "best", "robust": "robustness"}[view]
    assert [row["arm"] for row in rows] == [row["arm"] for row in run[key]]


def test_latex_is_a_tabular_with_what_latex_would_take_for_its_own_escaped(runs: Path, cli: Command) -> None:
    text = cli("compare", "--format", "latex", "--view", "equal").out
    assert r"\begin{tabular}{rlrrrrrrr}" in text
    body = text[text.index(r"\toprule") : text.index(r"\end{tabular}")].splitlines()
    rows = [line for line in body if line.endswith(r"\\")]
    assert len(rows) == 5
    assert all(line.count(" & ") == 8 for line in rows)
    assert text.startswith("\\begin{table}\n")
    chosen = cli("compare", "--format", "latex", "--view", "equal", "--columns", "arm, difference").out
    assert "\narm & difference to none \\\\\n" in chosen
    refused = cli("compare", "--columns", "ram")
    assert (refused.code, refused.err.split(";")[0]) == (2, "bnexp: --columns ram: no such column (nearest: arm)")


def test_a_filter_holds_in_every_format(runs: Path, cli: Command) -> None:
    for form in ("table", "md", "csv", "json", "latex"):
        text = cli("compare", "--filter", "arm!=before", "--format", form).out
        assert "none" in text
        assert "before" not in text.replace("flatters", "")


def test_by_averages_over_the_other_keys(experiment: Path, cli: Command) -> None:
    assert cli("run", experiment, *SMALL, "grid.model.init.scale=[0.1, 1]", "--quiet").code == 0
    (by_rate,) = cli("compare", "--by", "lr", "--json").json()
    assert by_rate["grid_keys"] == ["train.lr"]
    assert [(row["point"], row["n"], row["trials"]) for row in by_rate["rows"][::2]] == [
        ({"train.lr": rate}, 2, 4) for rate in (0.1, 1.0)
    ]
    refused = cli("compare", "--by", "depth")
    assert (refused.code, refused.err) == (
        2,
        "bnexp: --by depth: no such column; there are train.lr, model.init.scale\n",
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--filter", "arm!=befor"],
            "--filter arm!=befor: arm is never 'befor' (nearest: before); it is one of none, before; "
            'for example --filter "train.lr>0.1 and arm!=after"',
        ),
        (["--filter", "lr=1"], "--filter lr=1: can't be read (write == for equal); for example --filter "),
        (["--filter", "lr>=1 and"], "--filter lr>=1 and: can't be read ("),
        (["--filter", "lr>5"], "--filter lr>5: no trial is left of 8"),
        (["--plan", "-1"], "--plan -1: expected a difference above 0, such as 0.005"),
        (["--difference", "0.1"], "--difference: needs --plan WIDTH"),
        (
            ["--view", "tuning"],
            "--view tuning: nothing was tuned (with tune.grid or tune.sample every arm ",
        ),
        (["--sort", "menn"], "--sort menn: no such column (nearest: mean); there are arm, baseline, n, mean, low,"),
        (["--across", "depth"], "--across depth: no such column; there are train.lr"),
        (["--filter", "rl>1"], "--filter rl>1: rl: no such column; there are arm, seed, run,"),
        (["--columns", ", "], "--columns: expected names of columns with commas in between"),
        (["--columns", "x"], "--columns x: no such column; there are "),
    ],
)
def test_what_can_not_be_done_is_refused(runs: Path, cli: Command, words: list[str], message: str) -> None:
    result = cli("compare", *words)
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith(f"bnexp: {message}")


def test_a_plan_says_how_many_seeds_an_interval_takes(runs: Path, cli: Command) -> None:
    lines = cli("compare", "--plan", "0.05", "--difference", "0.1").out.splitlines()
    assert lines[0].endswith(": plan")
    assert lines[2].split("  ")[0] == "lr"
    assert [line.split()[:3] for line in lines[3:6]] == [
        ["0.1", "before", "2"],
        ["1", "before", "2"],
        ["all", "before", "2"],
    ]
    assert any(line.startswith("seeds for ±0.05: how many") for line in lines)
    (run,) = cli("compare", "--plan", "0.05", "--json").json()
    assert [row["point"]["train.lr"] for row in run["plan"]] == [0.1, 1, "all"]
    assert all(row["seeds_low"] <= row["seeds"] for row in run["plan"])
    assert cli("compare", "--json").json()[0]["plan"] == []


def test_check_turns_warnings_into_exit_1(experiment: Path, cli: Command) -> None:
    fair = ("seeds=6", "grid={}", "model.norm.statistics=population")
    assert cli("run", experiment, *SMALL, *fair, "--quiet").code == 0
    clean = cli("compare", "--check")
    assert (clean.code, "Careful" in clean.out) == (0, False)
    assert cli("run", experiment, *SMALL, "seeds=2", "grid={}", "--quiet").code == 0
    assert cli("compare", "--check").code == 1
    assert cli("compare").code == 0


def test_that_arms_were_tuned_is_said_but_fails_no_check_and_has_a_view(experiment: Path, cli: Command) -> None:
    fair = ("seeds=6", "grid={}", "model.norm.statistics=population")
    tuned = ("tune.grid={train.lr: [0.1, 1]}", "tune.seeds=[10, 11]")
    assert cli("run", experiment, *SMALL, *fair, *tuned, "--quiet").code == 0
    (name,) = (run["run"] for run in cli("list", "--json").json() if ".tuning" not in run["run"])
    checked = cli("compare", name, "--check")
    assert (checked.code, "Careful: tuned: " in " ".join(checked.out.split())) == (0, True)
    assert cli("compare", name, "--filter", "seed<5", "--check").code == 1
    # The same run has a tuning curve.
    lines = cli("compare", name, "--view", "tuning").out.splitlines()
    assert lines[0] == f"{name}: accuracy by number of tries"
    assert [line.split()[:4] for line in lines[3:7]] == [
        [tries, "of", "2", arm] for tries in ("1", "2") for arm in ("none", "before")
    ]
    (shown,) = cli("compare", name, "--view", "tuning", "--json").json()
    assert [(row["tries"], row["arm"]) for row in shown["tuning"]][:2] == [(1, "none"), (1, "before")]
    assert cli("compare", name, "--json").json()[0]["tuning"] == []


def test_runs_that_are_named_are_joined_by_their_settings(experiment: Path, cli: Command) -> None:
    for arm in ("none", "before"):
        assert cli("run", experiment, *SMALL, f"arms=[{arm}]", f"name={arm}", "grid={}", "--quiet").code == 0
    (joined,) = cli("compare", "none", "before", "--json").json()
    assert [run.rpartition("-")[0] for run in joined["runs"]] == ["none", "before"]
    _, before = joined["rows"]
    assert (before["arm"], before["pairs"]) == ("before", 2)
    assert before["difference"] is not None
    alone = cli("compare", "--json").json()
    assert [len(run["rows"]) for run in alone] == [1, 1]


def test_json_is_json_whatever_diverged_and_csv_has_the_definition_beside_it(experiment: Path, cli: Command) -> None:
    done = ("run", experiment, *SMALL, "train.lr=1e30", "model.activation=relu", "grid={}", "--quiet")
    assert cli(*done).code == 0
    (run,) = cli("compare", "--metric", "final_train_loss", "--json").json()
    assert [row["mean"] for row in run["rows"]].count(None) >= 1
    assert json.dumps(run, allow_nan=False)
    assert "bnexp: diverged: a number is no longer finite, or" in cli("compare", "--format", "csv").err


def test_plot_draws_the_curves_under_the_tables(runs: Path, cli: Command, name: str) -> None:
    plain, plotted = cli("compare").out, cli("compare", "--plot").out
    assert plotted.startswith(plain)
    drawn = plotted.removeprefix(plain)
    assert "lr 0.1" in drawn
    assert "o none" in drawn
    assert "\x1b" not in drawn  # no colours in a pipe
