"""What `bnexp settings` knows of every setting, and the page that it makes."""

from pathlib import Path

import pytest

from bnexp.config.documentation import Setting, all_sections, find_settings, to_markdown, to_text
from bnexp.config.experiment import ExperimentConfig
from bnexp.config.keys import leaf_keys
from bnexp.errors import InputError


def every_setting() -> dict[str, Setting]:
    return {setting.key: setting for section in all_sections() for setting in section.settings}


def keys(word: str) -> list[str]:
    return [setting.key for section in find_settings(word) for setting in section.settings]


def test_every_setting_is_there_and_has_a_meaning() -> None:
    known = every_setting()
    assert set(known) >= set(leaf_keys(ExperimentConfig))
    assert [key for key, setting in known.items() if not setting.meaning] == []
    assert [section.key for section in all_sections() if not section.meaning] == []


@pytest.mark.parametrize(
    ("key", "default", "values", "choices"),
    [
        ("train.lr", 0.1, "a number (at least 0)", ()),
        ("train.steps", None, "a whole number (at least 1, at most 1,000,000) or null", ()),
        ("model.norm.momentum", 0.1, "a number (above 0, at most 1) or null", ()),
        ("model.bias", "auto", "auto, true or false", ("auto", "true", "false")),
        ("tune.by", "accuracy", "accuracy or steps", ("accuracy", "steps")),
        ("train.record_at", "epoch", "epoch, a list or a mapping", ("epoch",)),
        ("train.betas", [0.9, 0.999], "a list of 2 numbers", ()),
        ("probes[].every", None, "a whole number (at least 1) or null", ()),
    ],
)
def test_defaults_and_values_in_words(key: str, default: object, values: str, choices: tuple[str, ...]) -> None:
    setting = every_setting()[key]
    assert (setting.default, setting.values, setting.choices) == (default, values, choices)


@pytest.mark.parametrize(
    ("word", "found"),
    [
        ("train.lr", ["train.lr"]),
        (
            "tune",
            [
                "tune.grid",
                "tune.sample",
                "tune.trials",
                "tune.halve",
                "tune.seeds",
                "tune.studies",
                "tune.by",
                "tune.threshold",
            ],
        ),
        ("learning_rate", ["train.lr"]),
        ("momentum", ["model.norm.momentum", "train.momentum"]),
        ("cooijmans", ["model.norm.gamma"]),
    ],
)
def test_settings_are_found_by_key_section_name_elsewhere_part_or_word(word: str, found: list[str]) -> None:
    assert keys(word) == found


def test_what_is_no_setting_names_the_nearest() -> None:
    with pytest.raises(InputError) as caught:
        find_settings("train.dropot")
    assert str(caught.value) == (
        "train.dropot: no such setting (nearest: train.drop_last); bnexp settings lists all of them"
    )


def test_the_text_fits_a_terminal() -> None:
    text = to_text(all_sections())
    assert max(map(len, text.splitlines())) <= 80
    assert "train.momentum: 0.0\n    sgd, rmsprop: momentum.\n    Values: a number (at least 0, below 1)" in text


def test_the_page_of_settings_is_current() -> None:
    page = Path(__file__).parents[2] / "docs" / "settings.md"
    assert page.read_text() == to_markdown(all_sections()) + "\n", "bnexp settings --markdown > docs/settings.md"
