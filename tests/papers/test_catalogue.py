"""Papers in files: every shipped one loads, and what is wrong in one is said with its place."""

from pathlib import Path
from typing import Any

import pytest

from bnexp.config.load import shipped
from bnexp.errors import ConfigError, InputError
from bnexp.papers.catalogue import find_papers, load_paper
from tests.papers.made_up import PUBLISHED, written


def problems(folder: Path, **changes: Any) -> list[str]:
    path = written(folder, **changes)
    with pytest.raises(ConfigError) as caught:
        load_paper(path)
    return [line.removeprefix(f"{path}: ") for line in str(caught.value).splitlines()]


def test_a_paper_has_an_experiment_of_its_name_in_both_tiers_and_numbers_as_lists(tmp_path: Path) -> None:
    paper = load_paper(written(tmp_path))
    assert (paper.id, set(paper.experiments)) == ("lesson", {"small", "full"})
    assert {experiment.name for experiment in paper.experiments.values()} == {"lesson"}
    assert [experiment.train.steps for experiment in paper.experiments.values()] == [20, 40]
    assert paper.settings.published[0].values == {"none": (0.1,), "before": (0.9, 0.8)}


WRONG = [
    ({"title": None}, "title: missing"),
    ({"experiment": None, "tiers": None}, "experiment: expected the configuration that"),
    ({"tiers": {"small": {}}}, "tiers: expected small and full"),
    ({"published": []}, "published: []: expected at least one"),
    ({"tiers": {"small": {"train.stepz": 1}, "full": {}}}, "tiers.small.train.stepz: unknown key"),
    (
        {"tiers": {"small": {}, "full": {"data.val_size": 50, "tune.grid.train.momentum": [0, 0.9]}}},
        "experiment.tune: a paper's settings are those of its source; leave it out",
    ),
    *(
        ({"published": [PUBLISHED | changes]}, f"published.0{message}")
        for changes, message in (
            ({"metric": "accuracy"}, '.metric: "accuracy": expected one of train_accuracy, val_accuracy'),
            ({"values": {"none": 97.4}}, ".values.none.0: 97.4: expected a number less than or equal to 1"),
            ({"values": {"none": []}}, ".values.none: []: expected at least one"),
            ({"values": {"befor": 0.5}}, ".values.befor: befor: no such arm (nearest: before); arms: none, before"),
            ({"value": 0.5}, ".value: unknown key"),
            ({"ahead": ["before", "none"]}, ": expected either values, for one arm or more, or ahead, a list of two"),
            ({"values": {}, "ahead": ["none"]}, ": expected either values, for one arm or more, or ahead"),
            ({"values": {}, "ahead": ["none", "befor"]}, ".ahead.1: befor: no such arm (nearest: before)"),
            ({"where": {}}, ".where: leaves train.lr open; give a value of each swept setting"),
            ({"where": {"train.lr": 3}}, ".where.train.lr: 3: not among the values that are swept"),
            ({"where": {"train.lr": 1, "model.depth": 3}}, ".where.model.depth: model.depth: not swept"),
            ({"step": 30}, ".step: 30 is not recorded; add it to train.record_at"),
            ({"metric": "best_val_accuracy", "step": 20}, ": step: best_val_accuracy is the highest of all steps"),
        )
    ),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "message"), WRONG)
def test_what_is_wrong_is_said_with_its_place(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    found = problems(tmp_path, **changes)
    assert any(line.startswith(message) for line in found), found


def test_a_change_on_the_command_line_is_of_one_paper(tmp_path: Path) -> None:
    (paper,) = find_papers([str(written(tmp_path)), "lesson.train.momentum=0.9"])
    for experiment in paper.experiments.values():
        assert experiment.train.momentum == 0.9
        assert experiment.origin.overrides == ("train.momentum=0.9",)
    with pytest.raises(InputError) as caught:
        find_papers([str(written(tmp_path)), "leson.train.lr=1"])
    assert str(caught.value) == (
        "command line: leson.train.lr=1: expected PAPER.key=value, and leson is none of the papers that are meant "
        "(nearest: lesson): lesson"
    )
    with pytest.raises(ConfigError, match=r"^command line: train.lrr=1: unknown key \(nearest: train.lr\)"):
        find_papers([str(written(tmp_path)), "lesson.train.lrr=1"])


def test_a_paper_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(InputError, match=r"^udacty: no such paper \(nearest: udacity\); there are .*udacity"):
        find_papers(["udacty"])


@pytest.mark.parametrize("name", sorted(shipped("papers")))
def test_a_shipped_paper_can_be_compared(name: str) -> None:
    (paper,) = find_papers([name])
    assert f"bnexp papers run {name}" in Path(paper.source).read_text().split("\n\n")[0].partition("title:")[0]
    assert all(len(experiment.seeds) >= 2 for experiment in paper.experiments.values())
    assert paper.settings.discuss
