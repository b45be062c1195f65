"""Claims that look again with more seeds: what a further look adds, what it keeps, and how often looking misleads."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bnexp.claims.catalogue import Claim, load_claim
from bnexp.claims.evidence import evidence, undecided
from bnexp.claims.looks import Looks, at_look, looks_at
from bnexp.claims.pairs import Pairs
from bnexp.claims.rows import rows_of
from bnexp.claims.runs import regimes, run_entries, runs_of
from bnexp.claims.tables import claims_table
from bnexp.claims.verdicts import VerdictLabel, judge
from bnexp.config.yaml import to_yaml
from bnexp.engines.engine import EngineChoice
from bnexp.errors import ConfigError
from tests.helpers import experiment

FIRST = 2004
"""A multiple of all looks, so that a seed keeps its tuning study."""
LOOKS = (3, 6)
CLAIM: dict[str, Any] = {
    "claim": "It helps.",
    "notes": ["S0"],
    "literature": ["A"],
    "experiment": {
        "data": {"name": "digits", "train_size": 100, "val_size": 50, "test_size": 50},
        "model": {"depth": 2, "width": 4},
        "train": {"batch_size": 50, "epochs": 1},
        "tune": {"grid": {"train.lr": [0.1, 1]}, "seeds": 1, "studies": 3},
        "seeds": {"range": [FIRST, FIRST + 2, 1]},
    },
    "tiers": {"small": {}, "full": {}},
    "looks": list(LOOKS),
    "measures": {"label": "test accuracy", "value": "final_test_accuracy", "better": "higher", "margin": 0.02},
}


def written(folder: Path, **changes: Any) -> Path:
    path = folder / "helps.yaml"
    path.write_text(to_yaml(CLAIM | {"experiment": CLAIM["experiment"] | changes}))
    return path


TUNED_WITH_OTHERS = {"grid": {"train.lr": [0.1, 1]}, "studies": 3, "seeds": [2000]}
"""Six studies would choose with the seeds 2000 to 2005."""


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"seeds": [2004, 2005, 2009]}, "looks begin with 3 consecutive seeds; write {range: [2004, 2006, 1]}"),
        (
            {"seeds": {"range": [2001, 2003, 1]}},
            "experiment.seeds: a seed would change its tuning study from look to look; begin at 2004",
        ),
        ({"tune": TUNED_WITH_OTHERS}, "looks: 6 seeds don't fit the experiment: tune.seeds: 2004 is measured too"),
    ],
)
def test_seeds_that_do_not_fit_the_looks_are_refused_with_the_remedy(
    tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load_claim(written(tmp_path, **changes))
    assert said in str(caught.value)


@pytest.mark.parametrize("looks", [[6], [6, 6], [12, 6], [2, 6]])
def test_looks_are_growing_numbers_of_seeds(tmp_path: Path, looks: list[int]) -> None:
    path = tmp_path / "helps.yaml"
    path.write_text(to_yaml(CLAIM | {"looks": looks}))
    with pytest.raises(ConfigError, match=r"looks: expected two or more growing numbers of seeds, from 3 on"):
        load_claim(path)


def test_a_further_look_keeps_every_seed_with_its_tuning_study() -> None:
    tune = {"grid": {"train.lr": [0.1, 1]}, "seeds": 2, "studies": 3}
    first = experiment(data={"name": "digits"}, seeds=[FIRST, FIRST + 1, FIRST + 2], tune=tune)
    second = at_look(first, 6)
    assert (second.seeds, second.tune.studies) == (tuple(range(FIRST, FIRST + 6)), 6)
    chosen_with = [
        {seed: each.tune.seeds_of(seed % each.tune.studies) for seed in each.seeds} for each in (first, second)
    ]
    assert chosen_with[0].items() <= chosen_with[1].items()
    assert at_look(first, 3) is first
    untuned = experiment(seeds=[FIRST, FIRST + 1, FIRST + 2])
    assert at_look(untuned, 6).tune == untuned.tune


# One that runs


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("looks")


@pytest.fixture(scope="module")
def claim(folder: Path) -> Claim:
    return load_claim(written(folder))


def looked(claim: Claim, runs: Path) -> tuple[int, int | None, tuple[int, int] | None]:
    """Which look is shown, with how many pairs, and what the row says about the looks."""
    (found,) = evidence([claim], "small", runs)
    return runs_of(claim, "small", runs).stage, rows_of(found)[0].n, rows_of(found)[0].looks


def test_an_undecided_claim_goes_on_and_trains_only_what_is_new(claim: Claim, folder: Path) -> None:
    runs = folder / "runs"
    asked: list[int] = []

    def goes_on(entry: Any) -> bool:
        asked.append(runs_of(entry, "small", runs).stage)
        return len(asked) > 1

    for _ in range(2):
        run_entries([claim], "small", runs, lambda line: None, EngineChoice("cpu"), undecided=goes_on)
        if len(asked) == 1:
            assert looked(claim, runs) == (0, 3, (1, 2))
            (found,) = evidence([claim], "small", runs)
            assert found.missing == undecided(claim, "small", runs) == (found.label is VerdictLabel.inconclusive)
    assert asked == [0, 0]
    assert looked(claim, runs) == (1, 6, (2, 2))
    said = "\n".join(path.read_text() for path in (runs / "claims" / "small").glob("*/log.txt"))
    assert said.count("12 trials taken over from helps.tuning") == 1  # 2 arms x 2 rates x 3 tuning seeds
    assert said.count("6 trials taken over from helps-") == 2  # 2 arms x 3 seeds, with equal settings and tuned
    (found,) = evidence([claim], "small", runs)
    assert "(look 2 of 2)" in str(claims_table([found]).rows)
    assert [len(each.seeds) for each in regimes(claim.stages("small")[1]).values()] == [6, 6]


# The interval over all looks


def pairs(change: Sequence[float]) -> Pairs:
    found = np.asarray(change, dtype=float)
    return Pairs(tuple(range(len(found))), found, found, found, np.zeros(len(found), dtype=bool))


def test_pairs_are_counted_at_each_look_without_those_that_are_missing() -> None:
    assert looks_at([100, 101, 104, 106, 107], 100, (6, 12, 24), 2) == Looks((3, 5), 2, (6, 12, 24))
    assert looks_at([100, 106], 100, (6, 12), 2) == Looks((2,), 2, (6, 12))


def test_the_interval_is_wider_for_looking_and_p_is_that_of_all_looks() -> None:
    change = [0.02, 0.03, 0.025, 0.01, 0.03, 0.02]
    fixed, first = judge(pairs(change), 0.01), judge(pairs(change), 0.01, Looks((6,), 1, (6, 12)))
    assert (first.change, first.looks, fixed.looks) == (fixed.change, (1, 2), None)
    assert (fixed.low or 0) - (first.low or 0) > 0.001
    assert first.p == 2 * (fixed.p or 0)


def test_pairs_that_are_all_alike_decide_nothing_until_they_are_many() -> None:
    planned = (6, 12, 24)
    few, many = (judge(pairs([1.0] * n), 0.1, Looks((6, 12)[:looks], looks, planned)) for looks, n in ((1, 6), (2, 12)))
    assert (few.label, many.label) == (VerdictLabel.inconclusive, VerdictLabel.supported)


def verdicts(rng: np.random.Generator, looks: tuple[int, ...], margin: float, effect: float = 0) -> VerdictLabel:
    """The verdict on one study that looks until it is decided; margin and effect in standard deviations of a pair."""
    drawn = rng.normal(effect, 1, looks[-1])
    for taken in range(1, len(looks) + 1):
        so_far = Looks(looks[:taken], taken, looks)
        label = judge(pairs(drawn[: looks[taken - 1]]), margin, so_far).label
        if label is not VerdictLabel.inconclusive:
            break
    return label


MOST_WRONG = {600: 0.075, 12_000: 0.057}
"""By the number of studies: 5 %, and what so many draws may add."""


@pytest.mark.parametrize("studies", [600, pytest.param(12_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("margin", [0.001, 0.3])
def test_looking_again_misleads_no_more_often_than_the_level_says(studies: int, margin: float) -> None:
    rng = np.random.default_rng(0)
    words = Counter(verdicts(rng, (6, 12, 24), margin) for _ in range(studies))
    wrong = words[VerdictLabel.supported] + words[VerdictLabel.opposite]
    assert 0 < wrong <= MOST_WRONG[studies] * studies


@pytest.mark.slow
def test_arms_that_differ_by_the_margin_are_seldom_called_equivalent_however_often_one_looks() -> None:
    rng = np.random.default_rng(1)
    words = Counter(verdicts(rng, (6, 12, 24), 0.8, effect=0.8) for _ in range(12_000))
    assert 0 < words[VerdictLabel.equivalent] <= MOST_WRONG[12_000] / 2 * 12_000
