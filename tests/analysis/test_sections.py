"""A section swept as a whole is shown by the settings that change; another number of images makes no other data set."""

import pytest

from bnexp.analysis.runs import compare_run, study_of
from bnexp.report.summary import summary_markdown

SIZES = [{"name": "mnist", "train_size": 500}, {"name": "mnist", "train_size": 1000, "test_size": 200}]


def test_the_settings_that_change_are_the_columns(make_folder) -> None:
    run = make_folder(grid={"train.lr": [0.1, 1], "data": SIZES})
    study = study_of([run])
    assert study.grid_keys == ("train.lr", "data.train_size", "data.test_size")
    assert study.trials["data.train_size"].unique().tolist() == [500, 1000]
    assert study.trials["trial"].tolist() == run.trials["trial"].tolist()
    text = summary_markdown(compare_run(run), "title")
    assert "| lr | train_size | test_size | arm |" in text
    assert "{" not in text


def test_other_sizes_make_no_other_data_set(make_folder) -> None:
    comparison = compare_run(make_folder(grid={"data": SIZES}))
    assert comparison.data_sets == ()
    assert len(comparison.overall) == len(comparison.best) == 2
    scaled = compare_run(make_folder(grid={"data": ["mnist", {"name": "mnist", "normalize": "unit"}]}))
    assert (scaled.data_sets, scaled.grid_keys) == ((), ("data.normalize",))


@pytest.mark.parametrize("key", ["data", "data.name"])
def test_other_names_make_other_data_sets(make_folder, key: str) -> None:
    comparison = compare_run(make_folder(grid={key: ["mnist", "digits"]}))
    assert (comparison.data_sets, comparison.grid_keys) == (("mnist", "digits"), ("data.name",))


def test_other_picture_folders_make_other_data_sets(make_folder) -> None:
    folders = [{"name": "image_folder", "root": root} for root in ("cats", "dogs")]
    assert compare_run(make_folder(grid={"data": folders})).data_sets == ("cats", "dogs")


def test_a_column_of_the_run_itself_has_sections_as_one_would_write_them(make_folder) -> None:
    trials = make_folder(arms=["none"], grid={"data": SIZES}).trials
    assert trials["data"].tolist() == [
        "{name: mnist, train_size: 500}",
        "{name: mnist, train_size: 1000, test_size: 200}",
    ]
