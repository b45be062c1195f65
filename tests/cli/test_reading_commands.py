"""`bnexp compare`, `list` and `show`: what they say about runs and configurations, for people and for scripts."""

import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from bnexp import __version__
from bnexp.config.load import resolve, shipped
from bnexp.config.yaml import parse
from bnexp.report.listings import Listed
from bnexp.store.files import locked
from tests.cli.command import Command, Trained, tree
from tests.helpers import rewrite


@pytest.fixture
def name(trained: Trained) -> str:
    return trained.path.name


def test_compare_prints_the_table_that_the_run_ended_with(
    runs: Path, cli: Command, trained: Trained, name: str
) -> None:
    result = cli("compare")
    assert (result.code, result.err) == (0, "")
    head, blank, table = result.out.split("\n", 2)
    assert (head, blank) == (name, "")
    assert table in trained.result.out


def test_compare_takes_metric_baseline_and_threshold(runs: Path, cli: Command) -> None:
    options = ("--metric", "best_val_accuracy", "--baseline", "before", "--threshold", "0.05", "--json")
    (run,) = cli("compare", *options).json()
    assert (run["metric"], run["baseline"], run["threshold"]) == ("best_val_accuracy", "before", 0.05)
    assert {row["arm"] for row in run["rows"] if row["difference"] is not None} == {"none"}
    assert {row["epochs_to_threshold"] for row in run["rows"]} <= {0, 1}


@pytest.mark.parametrize(
    "command", [["compare"], ["list"], ["list", "configs"], ["show", "exp.yaml"], ["show", "tiny"]]
)
def test_reading_writes_nothing_and_quiet_prints_nothing(
    runs: Path, cli: Command, here: Path, command: list[str]
) -> None:
    before = tree(here)
    for options in ([], ["--json"], ["--quiet"]):
        result = cli(*command, *options)
        assert (result.code, result.out == "") == (0, "--quiet" in options)
    assert tree(here) == before


def test_compare_without_a_name_takes_the_newest_run_of_every_experiment(runs: Path, cli: Command, name: str) -> None:
    for copy, started in (("tiny-00000000", "1999"), ("tiny-ffffffff", "2999"), ("other-1-00000000", "1999")):
        shutil.copytree(runs / name, runs / copy)
        about = runs / copy / "environment.json"
        rewrite(about, about.read_text().replace('"started": "20', f'"started": "{started}', 1))
    assert [run["run"] for run in cli("compare", "--json").json()] == ["other-1-00000000", "tiny-ffffffff"]
    assert [run["run"] for run in cli("compare", "tiny", "--json").json()] == ["tiny-ffffffff"]
    assert [run["run"] for run in cli("list", "--json").json()][-1] == "tiny-ffffffff"


METRICS = (
    "final_test_accuracy, final_val_accuracy, final_train_accuracy, best_val_accuracy, test_accuracy_at_best_val, "
    "val_accuracy_at_early_stop, test_accuracy_at_early_stop, final_train_loss"
)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["tinny"], "tinny: no such run in {here}/runs (nearest: tiny); there are {name}"),
        (["{name}x"], "{name}x: no such run in {here}/runs (nearest: {name}); there are {name}"),
        (["tiny", "nope"], "nope: no such run in {here}/runs; there are {name}"),
        (["--runs", "away"], "{here}/away: no runs here yet; train one with bnexp run configs/quickstart.yaml"),
        (["tiny", "--runs", "away"], "tiny: no such run in {here}/away; there are none yet: train one with bnexp run"),
        (
            ["--metric", "accuracy"],
            f"--metric accuracy: no such metric (nearest: final_test_accuracy); there are {METRICS}",
        ),
        (
            ["--metric", "acuracy"],
            f"--metric acuracy: no such metric (nearest: best_val_accuracy); there are {METRICS}",
        ),
        (["--baseline", "after"], "--baseline after: no such arm; there are none, before"),
        (["--threshold", "90"], "--threshold 90: expected an accuracy from 0 to 1; 90 % is 0.9"),
        (["--threshold", "nan"], "--threshold nan: expected an accuracy from 0 to 1"),
    ],
)
def test_what_is_not_there_is_refused_with_what_there_is(
    runs: Path, cli: Command, here: Path, name: str, words: list[str], message: str
) -> None:
    result = cli("compare", *(word.format(name=name) for word in words))
    assert (result.code, result.out, result.err) == (2, "", f"bnexp: {message.format(name=name, here=here)}\n")


def test_a_pattern_means_all_runs_that_it_fits(runs: Path, cli: Command, name: str) -> None:
    shutil.copytree(runs / name, runs / "tiny-00000000")
    (joined,) = cli("compare", "tiny-*", "--json").json()
    assert set(joined["runs"]) == {name, "tiny-00000000"}
    assert "nothing-*: no such run in " in cli("compare", "nothing-*").err


def test_list_says_state_date_size_and_headline(runs: Path, cli: Command, name: str) -> None:
    (row,) = cli("list", "--json").json()
    assert (row["run"], row["path"], row["state"]) == (name, f"runs/{name}", "complete")
    assert (row["ended"], row["trials"], row["progress"], row["differs"]) == (8, 8, {}, {})
    assert row["bytes"] > 10_000
    assert row["headline"].startswith(
        f"before {row['result']['mean']:.3f} vs none {row['result']['baseline_mean']:.3f} "
    )
    (compared,) = cli("compare", "--json").json()
    assert row["result"] == next(each for each in compared["overall"] if each["arm"] == "before")
    assert (row["metric"], row["baseline"], row["failed"]) == ("final_test_accuracy", "none", 0)
    assert row["standing"] in ("wins", "ahead", "even", "behind", "loses")
    first, headline = cli("list").out.splitlines()
    assert re.fullmatch(rf"{name}  complete, 8/8 trials  \d{{4}}-\d\d-\d\d \d\d:\d\d  \d+ kB", first)
    assert headline.startswith("    before 0.")


def test_list_says_how_far_training_has_got(runs: Path, cli: Command, name: str) -> None:
    table = runs / name / "trials.csv"
    header, *rows = table.read_text().splitlines()
    at = header.split(",").index("outcome")
    blank = [",".join(cell if k < at else "" for k, cell in enumerate(row.split(","))) for row in rows]
    table.write_text("\n".join([header, *rows[:5], *blank[5:], ""]))
    (row,) = cli("list", "--json").json()
    assert (row["state"], row["ended"], row["progress"]) == ("unfinished", 5, {"epoch": 2, "of": 2})
    assert f"{name}  unfinished, 5/8 trials, epoch 2 of 2  " in cli("list").out


def test_list_tells_runs_of_one_name_apart(runs: Path, cli: Command, name: str, experiment: Path) -> None:
    small = ("seeds=1", "grid={}", "train.epochs=1")
    assert cli("run", experiment, *small, "--quiet").code == 0
    rows = {row["run"]: row["differs"] for row in cli("list", "--json").json()}
    assert rows.pop(name) == {"train.epochs": 2, "grid": {"train.lr": [0.1, 1.0]}, "seeds": [0, 1]}
    assert list(rows.values()) == [{"train.epochs": 1, "grid": {}, "seeds": [0]}]
    assert "    train.epochs 1, grid {}, seeds [0]\n" in cli("list").out


def test_list_has_runs_with_seeds_until_decided_beside_others(
    runs: Path, cli: Command, name: str, experiment: Path
) -> None:
    added = ("seeds={from: 3, to: 4, until: 0.00001}", "grid={}", "train.epochs=1")
    assert cli("run", experiment, *added, "--quiet").code == 0
    rows = {row["run"]: row["differs"] for row in cli("list", "--json").json()}
    assert rows.pop(name)["more_seeds"] is None
    ((_, differs),) = rows.items()
    assert (differs["seeds"], differs["more_seeds"]) == ([0, 1, 2, 3], {"first": 3, "to": 4, "until": 0.00001})
    assert "more_seeds null" not in cli("list").out


def test_many_seeds_are_listed_as_the_first_and_the_last() -> None:
    entry = Listed("long-00000000", "runs/long-00000000", "complete", differs={"seeds": [*range(36)]})
    assert "    seeds 0 to 35" in entry.lines(80)
    assert "    seeds [0, 1, 3, 4, 5, 6, 7]" in replace(entry, differs={"seeds": [0, 1, 3, 4, 5, 6, 7]}).lines(80)


def test_lines_of_the_list_are_broken_between_words_only() -> None:
    headline = "before 0.985 vs none 0.083 final test accuracy, +0.902 [+0.887, +0.916], n = 3: before is ahead"
    entry = Listed("quickstart-a6b83a74", "runs/quickstart-a6b83a74", "complete", 9, 9, headline=headline)
    assert list(entry.lines(80)) == [
        "quickstart-a6b83a74  complete, 9/9 trials  0 B",
        "    before 0.985 vs none 0.083 final test accuracy, +0.902 [+0.887, +0.916],",
        "    n = 3: before is ahead",
    ]


def test_the_list_says_what_was_overridden_once_and_how_many_trials_diverged() -> None:
    entry = Listed("quickstart-d5e0553b", "runs/quickstart-d5e0553b", "complete", 6, 6, diverged=2)
    overrides = ["grid.train.lr=[0.1, 1]", "model.activation=relu"]
    found = replace(entry, differs={"grid": {"train.lr": [0.1, 1]}}, overrides=overrides)
    assert list(found.lines(80)) == [
        "quickstart-d5e0553b  complete, 6/6 trials, 2 diverged  0 B",
        "    grid {train.lr: [0.1, 1]}, model.activation=relu",
    ]


def test_rm_removes_what_it_names_and_asks_before(runs: Path, cli: Command, name: str) -> None:
    shutil.copytree(runs / name, runs / "tiny-00000000")
    asked = cli("rm", "tiny-000*")
    assert (asked.code, asked.err) == (2, "bnexp: rm removes these for good; add --yes:\n  runs/tiny-00000000\n")
    assert cli("rm", "tiny-000*", "--yes").out == "removed runs/tiny-00000000\n"
    assert [path.name for path in runs.iterdir()] == [name]


def test_rm_leaves_runs_in_training_and_what_is_no_run(runs: Path, cli: Command, name: str, here: Path) -> None:
    (here / "mine").mkdir()
    assert "not a run folder" in cli("rm", "mine", "--yes").err
    with locked(runs / name):
        assert "is running this experiment" in cli("rm", name, "--yes").err
    assert (runs / name / "config.yaml").exists()


def test_the_environment_names_the_folder_of_runs(
    runs: Path, cli: Command, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs.rename(runs.with_name("elsewhere"))
    monkeypatch.setenv("BNEXP_RUNS", "elsewhere")
    assert [run["run"] for run in cli("list", "--json").json()] == [name]


def test_the_version_can_be_asked_for(cli: Command) -> None:
    assert cli("--version").out == f"{__version__}\n"


def test_list_without_runs(cli: Command, here: Path) -> None:
    assert cli("list").out == f"No runs in {here}/runs yet: bnexp run configs/quickstart.yaml trains one.\n"
    assert cli("list", "--json").json() == []
    assert cli("list").code == 0


def test_list_configs_says_name_data_and_question(cli: Command) -> None:
    rows = {row["name"]: row for row in cli("list", "configs", "--json").json()}
    assert list(rows) == list(shipped())
    assert rows["quickstart"]["data"] == "digits"
    assert rows["quickstart"]["question"].endswith("?")
    assert (rows["quickstart"]["arms"], rows["quickstart"]["trials"]) == (["none", "before", "after"], 9)
    assert Path(rows["quickstart"]["path"]).samefile(shipped()["quickstart"])
    text = cli("list", "configs").out
    assert all(name in text for name in rows)


def test_show_prints_what_the_configuration_resolves_to(runs: Path, cli: Command, trained: Trained) -> None:
    text = cli("show", "exp.yaml").out
    resolved = parse(text[: text.index("\n\n")], "show")
    assert resolve(resolved, "show") == resolve(parse((trained.path / "config.yaml").read_text(), "run"), "run")


@pytest.mark.parametrize(
    "written", ["exp.yaml", "tiny", "{name}", "runs/{name}", "runs/{name}/", "runs/{name}/config.yaml"]
)
def test_show_of_a_configuration_and_of_a_run_say_the_same(runs: Path, cli: Command, name: str, written: str) -> None:
    shown = cli("show", written.format(name=name), "--json")
    assert (shown.code, shown.err) == (0, "")
    narrow = cli(
        "show", written.format(name=name), "model.width=[8]", "model.depth=null", "arms=[none]", "--json"
    ).json()
    assert [group["parameters"] for group in narrow["groups"]] == [64 * 8 + 8 + 8 * 10 + 10]
    groups = shown.json()["groups"]
    assert shown.json()["config"]["name"] == "tiny"
    assert [group["label"] for group in groups] == ["before", "none"]
    assert sorted(number for group in groups for number in group["trials"]) == list(range(8))
    assert [group["parameters"] for group in groups] == [1482 - 32 + 128, 1482]


@pytest.mark.parametrize(
    ("config", "norms", "totals"),
    [
        ("hands_on_elu", ["3,136", "1,200", "400"], ["271,346", "268,978", "2,368"]),
        ("hands_on_elu_before", ["3,136", "1,200", "400"], ["270,946", "268,578", "2,368"]),
    ],
)
def test_show_prints_the_layers_of_the_book(cli: Command, config: str, norms: list[str], totals: list[str]) -> None:
    rows = [line.split() for line in cli("show", f"configs/{config}.yaml").out.splitlines()]
    assert [row[3] for row in rows if len(row) == 4 and row[2].startswith("•BatchNorm(")] == norms
    counts = ("parameters", "trainable", "non-trainable")
    assert [row[1] for row in rows if len(row) == 2 and row[0] in counts] == totals


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nope"], "bnexp: nope: no such file, nor a shipped configuration; shipped are "),
        (["exp.yaml", "nope"], "bnexp: command line: nope: expected dotted.key=value\n"),
    ],
)
def test_show_refuses_what_is_not_there(runs: Path, cli: Command, words: list[str], message: str) -> None:
    result = cli("show", *words)
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith(message)


def test_show_of_what_is_no_run_lists_the_runs_too(runs: Path, cli: Command, name: str) -> None:
    assert name in cli("show", f"{name[:-1]}x").err


@pytest.mark.parametrize("command", ["run", "show"])
def test_a_momentum_as_in_keras_is_asked_about_before_anything_trains(
    tmp_path: Path, cli: Command, command: str
) -> None:
    small = ("model.norm.momentum=0.99", "train.epochs=1", "seeds=1", "data.train_size=100", "grid={}")
    result = cli(command, "quickstart", "data.name=digits", *small, "--json", "--runs", tmp_path / "runs")
    question = "norm.momentum 0.99 gives the newest batch a weight of 0.99; Keras' 0.99 is written 0.01 here"
    assert result.code == 0
    assert f"bnexp: {question}\n" in result.err
