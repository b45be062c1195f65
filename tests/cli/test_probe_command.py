"""`bnexp probe`, and `probes:` in a configuration: what they print, write and refuse."""

from pathlib import Path

import pandas as pd
import pytest

from tests.cli.command import Command, tree


def test_what_is_found_is_printed_by_arm_over_the_seeds_and_kept(runs: Path, cli: Command) -> None:
    result = cli("probe", "tiny", "--probe", "mode_gap, rank", "--trial", 0, "--trial", 1)
    assert result.code == 0
    (run,) = runs.iterdir()
    table, path = result.out.rstrip("\n").rsplit("\n\n", 1)
    assert path == f"runs/{run.name}: late_probes.csv"
    head, *rows = table.splitlines()
    assert head.split() == ["lr", "arm", "layer", "probe", "n", "mean", "least", "largest"]
    late = pd.read_csv(run / "late_probes.csv", keep_default_na=False)
    gap = late[late["probe"] == "mode_gap.running"]["value"]
    (row,) = (row.split() for row in rows if "mode_gap.running " in row)
    assert row == ["0.1", "none", "mode_gap.running", "2", *(f"{x:.4g}" for x in (gap.mean(), gap.min(), gap.max()))]
    assert result.err.splitlines() == ["bnexp: 2/2 trials"]


def test_a_slice_is_for_the_picture(runs: Path, cli: Command) -> None:
    wanted = "{name: landscape_slice, points: 3}"
    result = cli("probe", "tiny", "--probe", wanted, "--trial", 0)
    assert "\nlandscape_slice: 9 values; bnexp report draws them\n" in result.out
    assert "slice[" not in result.out


def test_a_probe_that_finds_nothing_to_measure_is_named(runs: Path, cli: Command) -> None:
    result = cli("probe", "tiny", "--probe", "dead_units,rank", "--trial", 0)
    assert result.code == 0
    assert "\ndead_units: there is nothing to measure in these networks\n" in result.out
    alone = cli("probe", "tiny", "--probe", "dead_units", "--trial", 0)
    assert (alone.code, "nothing to measure" in alone.out) == (0, True)


def test_json_has_every_value_and_nothing_else_on_stdout(runs: Path, cli: Command) -> None:
    result = cli("probe", "tiny", "--probe", "drift", "--trial", 2, "--json")
    assert result.err == ""
    found = result.json()
    assert found["run"].startswith("tiny-")
    assert {row["trial"] for row in found["rows"]} == {2}
    assert {row["probe"] for row in found["rows"]} == {"drift.p15", "drift.p50", "drift.p85"}
    assert (cli("probe", "tiny", "--probe", "rank", "--trial", 2, "--quiet").out) == ""


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("nosuch", "--probe", "rank"), "nosuch: no such run in "),
        (("tiny", "--probe", "rank", "--trial", 99), "no trial 99; there are 0 to 7"),
        (("tiny", "--probe", "rang"), "bnexp: --probe: rang: expected one of default, gradient_norm"),
        (
            ("tiny", "--probe", "{name: rank, layers: [x]}"),
            "bnexp: --probe rank: layers: x: no layer has this name",
        ),
        (("tiny", "--probe", "update_ratio"), "bnexp: --probe update_ratio: compares the weights before and after"),
        (("tiny", "--probe", "{name: rank"), "bnexp: --probe"),
        (("tiny", "--probe", "rank", "--device", "cuda:99"), "--device cuda:99: this machine has"),
    ],
)
def test_wrong_input_is_named_and_nothing_is_written(
    runs: Path, cli: Command, words: tuple[object, ...], message: str
) -> None:
    before = tree(runs)
    result = cli("probe", *words)
    assert result.code == 2
    assert message in result.err
    assert tree(runs) == before


def test_a_run_says_what_its_probes_cost(experiment: Path, cli: Command) -> None:
    result = cli("run", experiment, "probes=[update_ratio]", "train.epochs=1")
    (said,) = (line for line in result.out.splitlines() if "probes took" in line)
    assert said.startswith("  probes took ")
    assert said.endswith("% of the time")
    (run,) = Path("runs").iterdir()
    assert (run / "log.txt").read_text().count("probes of trials ") == 2
    assert "probes took" not in cli("run", experiment, "probes=[]", "train.epochs=1").out


def test_show_says_what_probes_will_cost(experiment: Path, cli: Command) -> None:
    shown = cli("show", experiment, "probes=default").out
    (said,) = (line for line in shown.splitlines() if line.startswith("  5 probes: about "))
    assert said.endswith("% of the time")
    found = cli("show", experiment, "probes=default", "--json").json()["groups"]
    assert all(0 < group["probing_seconds"] < group["seconds"] for group in found)
    assert all(group["probing_seconds"] == 0 for group in cli("show", experiment, "--json").json()["groups"])
