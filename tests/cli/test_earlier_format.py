"""A folder that bnexp 0.2.0 wrote is shown by every command that reads, and never continued."""

import json
import shutil
from pathlib import Path

import pytest

from bnexp.config.yaml import to_yaml
from bnexp.plan import run_name
from bnexp.store.files import PICTURE
from bnexp.store.reader import RunRecord
from bnexp.store.tables import COLUMNS_SINCE_3, EARLY_STOP_COLUMNS, RESULT_COLUMNS
from tests.cli.command import Command, tree
from tests.helpers import rewrite

WRITTEN_BY_0_2 = Path(__file__).parents[1] / "store" / "format_2"
"""Four trials of `none` and `before` at rates 1 and 1e30; of the former `none` overshot and came back."""


@pytest.fixture
def earlier(here: Path) -> Path:
    """A copy of it below runs/, under the name that its configuration has now, which is in exp.yaml."""
    config = RunRecord(WRITTEN_BY_0_2).config
    (here / "exp.yaml").write_text(to_yaml(config.model_dump(mode="json")))
    shutil.copytree(WRITTEN_BY_0_2, here / "runs" / run_name(config))
    return here / "runs" / run_name(config)


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file() and path.name[0] != "."}


def test_its_trials_have_all_columns_and_what_was_not_recorded_is_empty(earlier: Path) -> None:
    trials = RunRecord(earlier).trials
    assert list(trials.columns) == ["trial", "arm", "seed", "train.lr", *RESULT_COLUMNS, *EARLY_STOP_COLUMNS]
    assert trials["outcome"].tolist() == ["diverged", "completed", "diverged", "diverged"]
    assert trials["diverged_step"].tolist()[::2] == [2, 2]
    assert trials[list(COLUMNS_SINCE_3)].isna().all(axis=None)
    assert trials["final_train_accuracy"].tolist() == [0.18125, 0.09375, 0.1125, 0.1125]


def test_every_command_that_reads_shows_it(earlier: Path, cli: Command) -> None:
    before = content(earlier)
    assert [row["state"] for row in json.loads(cli("list", "--json").out)] == ["complete"]
    compared = cli("compare", "--view", "diverged")
    assert compared.code == 0
    assert "1/1" in compared.out
    assert cli("compare", "--plot").code == 0
    assert content(earlier) == before
    assert cli("report").code == 0
    assert (earlier / "report.html").exists()
    assert "diverged at step 2" in (earlier / "report.html").read_text()


def test_what_diverged_meant_there_is_said_where_a_trial_did(earlier: Path, cli: Command) -> None:
    said = "earlier bnexp: in "
    assert said in " ".join(cli("compare").out.split())
    assert said not in cli("compare", "--filter", "train.lr < 2 and arm == before").out


def test_a_finished_one_is_complete_and_trains_nothing(earlier: Path, cli: Command) -> None:
    (earlier / PICTURE).write_text("a picture")
    before = content(earlier)
    assert cli("run", "exp.yaml").code == 0
    assert content(earlier) == before


@pytest.mark.parametrize("damage", [PICTURE, "curves.csv", "environment.json", "checksums.txt"])
def test_an_unfinished_or_damaged_one_is_not_continued_but_left_as_it_is(
    earlier: Path, cli: Command, damage: str
) -> None:
    (earlier / damage).unlink(missing_ok=True)
    before = content(earlier)
    refused = cli("run", "exp.yaml")
    assert (refused.code, refused.err) == (
        2,
        f"bnexp: runs/{earlier.name}: written by an earlier bnexp (format 2), which this one can show but not "
        "continue; train it again with bnexp run --rerun\n",
    )
    assert content(earlier) == before


def test_rerun_trains_it_anew_beside_it_and_the_new_trials_count(earlier: Path, cli: Command) -> None:
    before = content(earlier)
    assert cli("run", "exp.yaml", "--rerun", "--quiet").code == 0
    assert content(earlier.with_name(f"{earlier.name}.1")) == before
    trials = RunRecord(earlier).trials
    assert trials["outcome"].tolist() == ["completed", "completed", "diverged", "diverged"]
    assert trials["highest_batch_loss"].iloc[0] > 1000
    # Beside them, the earlier ones don't count.
    old, new = f"{earlier.name}.1", earlier.name
    (alone,) = cli("compare", new, "--json").json()
    for names in ((old, new), (new, old)):
        (joined,) = cli("compare", *names, "--json").json()
        assert joined["rows"] == alone["rows"]
        assert joined["left_out"] == [f"{old}: 4 trials that a newer bnexp trained again (same arm, seed and settings)"]
        assert "earlier bnexp" not in "".join(joined["warnings"])


CLAIM = """\
claim: It helps.
notes: [S0]
literature: [A]
experiment: {experiment}
tiers: {{small: {{}}, full: {{}}}}
measures: {{label: test accuracy, value: final_test_accuracy, better: higher, margin: 0.01}}
"""


def claim_of(here: Path, name: str, experiment: str) -> Path:
    (here / f"{name}.yaml").write_text(CLAIM.format(experiment=experiment))
    return here / f"{name}.yaml"


def test_runs_of_claims_are_found_under_the_names_that_they_had(here: Path, cli: Command) -> None:
    tiny = "{data: {name: digits, train_size: 200}, model: {depth: 1, width: 8}, train: {epochs: 1}, seeds: 2, "
    tuned = "tune: {grid: {train.lr: [0.1, 1]}, seeds: [10, 11]}}"
    claim = claim_of(here, "tiny", tiny + tuned)
    assert cli("claims", "run", claim).code == 0
    shown = cli("claims", "show", claim, "--json").json()
    assert len(shown) == 2
    for number, run in enumerate(sorted((here / "runs" / "claims" / "small").iterdir())):
        about = json.loads((run / "environment.json").read_text())
        rewrite(run / "environment.json", json.dumps(about | {"format": 2, "bnexp": "0.2.0"}))
        run.rename(run.with_name(f"{run.name.rpartition('-')[0]}-{number:08}"))
    assert cli("claims", "show", claim, "--json").json() == shown
    before = tree(here)
    assert cli("claims", "run", claim, "--check").err == "bnexp: tiny: has run\n"
    assert tree(here) == before
    other = claim_of(here, "tiny", tiny.replace("width: 8", "width: 9") + tuned)
    assert {row["verdict"] for row in cli("claims", "show", other, "--json").json()} == {"not run"}


def test_runs_of_claims_in_which_trials_diverged_are_not_judged_but_named(here: Path, cli: Command) -> None:
    config = RunRecord(WRITTEN_BY_0_2).config
    run = here / "runs" / "claims" / "small" / f"{config.name}-00000000"
    shutil.copytree(WRITTEN_BY_0_2, run)
    (run / PICTURE).write_text("a picture")
    settings = config.model_dump(mode="json", exclude={"name", "question"})
    shown = cli("claims", "show", claim_of(here, config.name, json.dumps(settings)))
    assert (shown.code, shown.err) == (
        0,
        f"bnexp: left out: runs/claims/small/{run.name}: written by an earlier bnexp (format 2), where diverged meant "
        "something else; train it again with bnexp claims run\n",
    )
    assert "not readable" in shown.out
