"""What people type at a first try is refused with what to write instead."""

from collections.abc import Callable

import pytest

from bnexp.config.experiment import ExperimentConfig
from bnexp.config.keys import SYNONYMS, is_key
from bnexp.config.load import resolve
from bnexp.config.yaml import parse
from bnexp.errors import InputError, bare

Refused = Callable[..., list[str]]


def in_file(text: str) -> str:
    """What is said of a file with this text."""
    with pytest.raises(InputError) as caught:
        resolve({"name": "exp"} | parse(text, "exp.yaml"), "exp.yaml")
    return str(caught.value).removeprefix("exp.yaml: ")


@pytest.mark.parametrize(
    ("typed", "sweep"),
    [
        ("train.lr=0.1,0.2", "'grid.train.lr=[0.1, 0.2]'"),
        ("train.lr=range(0.1, 1, 0.1)", "'grid.train.lr={range: [0.1, 1, 0.1]}'"),
        ("train.lr=np.logspace(-3, 0, 4)", "'grid.train.lr={logspace: [first, last, n]}'"),
        ("train.lr={range: [1, 3]}", "'grid.train.lr={range: [1, 3, step]}'"),
        ("train.lr={logspace: [0.1, 1]}", "'grid.train.lr={logspace: [first, last, n]}'"),
        ("model.activation=relu,tanh", "'grid.model.activation=[relu, tanh]'"),
        ("model.width=[[10], [20, 20]]", "'grid.model.width=[[10], [20, 20]]'"),
        ("model.init=[he, xavier]", "'grid.model.init.scheme=[he, xavier]'"),
        ("arms.b.train.lr=[1, 2]", "'grid.train.lr=[1, 2]'"),
        ("train.lr=0,1", "'grid.train.lr=[0, 1]'; or with a decimal point: 0.1"),
    ],
)
def test_several_values_at_a_setting_are_a_sweep(refused: Refused, typed: str, sweep: str) -> None:
    (line,) = refused({}, typed)
    assert line.startswith(f"command line: {typed.partition('=')[0]}: ")
    assert line.endswith(f"; to sweep it: {sweep}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train: {lr: [0.1, 1]}", "train.lr: [0.1, 1]: expected a number; to sweep it: grid: {train.lr: [0.1, 1]}"),
        (
            "train:\n  lr: 0,1",
            'train.lr: "0,1": expected a number; to sweep it: grid: {train.lr: [0, 1]}; or with a decimal point: 0.1',
        ),
        (
            "model: {norm: [none, before]}",
            'model.norm: ["none", "before"]: expected a mapping of keys; to compare them: arms: [none, before]',
        ),
    ],
)
def test_in_a_file_too(text: str, message: str) -> None:
    assert in_file(text) == message


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("grid.train.lr=0.1,0.2", "'grid.train.lr=[0.1, 0.2]'"),
        ("grid.train.lr=linspace(0.1, 1, 4)", "'grid.train.lr={linspace: [0.1, 1, 4]}'"),
        ("grid.train.optimizer=SGD, adam", "'grid.train.optimizer=[SGD, adam]'"),
        ("tune.grid.train.lr=1,2", "'tune.grid.train.lr=[1, 2]'"),
        ("seeds=0,1", "'seeds=[0, 1]'"),
        ("seeds=range(3,6,1)", "'seeds={range: [3, 6, 1]}'"),
        ("arms=none,before", "'arms=[none, before]'"),
        ("train.record_at=1,5", "'train.record_at=[1, 5]'"),
        ("train.schedule_options.step_at=80", "'train.schedule_options.step_at=[80]'"),
        ("train.lr=[0.1]", "train.lr=0.1"),
        ("arms.b.train.lr=[0.1]", "arms.b.train.lr=0.1"),
    ],
)
def test_brackets_that_are_missing_or_too_many(refused: Refused, typed: str, meant: str) -> None:
    (line,) = refused({}, typed)
    assert line.startswith(f"command line: {typed.partition('=')[0]}: ")
    assert line.endswith(f"; write {meant}")


@pytest.mark.parametrize(
    "typed",
    [
        "grid.train.lr=0.1 0.2",
        "seeds=true",
        "arms=x",
        "arms=range(1,2,3)",
        "train.lr=a",
        "train.betas=0.9",
    ],
)
def test_brackets_are_not_proposed_where_they_do_not_help(refused: Refused, typed: str) -> None:
    (line,) = refused({}, typed)
    assert "write" not in line


@pytest.mark.parametrize(
    ("typed", "hint"),
    [
        ("model.dropout=50", "it is a share: 50 % is 0.5"),
        ("model.dropout=20%", "it is a share: 20 % is 0.2"),
        ("train.warmup=5 %", "it is a share: 5 % is 0.05"),
        ("train.warmup=2", "it is a share of the training, such as 0.1"),
        ("arms.b.train.schedule_options.warmup=1", "it is a share of the training, such as 0.1"),
        ("grid.train.warmup=[0, 2]", "it is a share of the training, such as 0.1"),
        ("data.val_size=0.1", "it is a number of images"),
        ("data.train_size=10%", "it is a number of images"),
    ],
)
def test_numbers_of_another_unit(refused: Refused, typed: str, hint: str) -> None:
    (line,) = refused({}, typed)
    assert line.endswith(f"; {hint}")


@pytest.mark.parametrize(
    ("typed", "nearest"),
    [
        ("train.schedule=MultiStepLR", "step with train.schedule_options.step_at"),
        ("train.schedule=cosine_annealing", "cosine"),
        ("train.schedule=none", "constant"),
        ("train.optimizer=SGD", "sgd"),
        ("train.optimizer=momentum", "sgd with train.momentum"),
        ("train.precision=fp16", "bf16"),
        ("model.norm=BatchNorm2d", "batch"),
        ("model.norm.kind=InstanceNorm", "group"),
        ("model.init=kaiming_normal", "he"),
        ("model.activation=swish", "silu"),
        ("model.family=CNN", "vgg"),
        ("data.normalize=true", "standard"),
    ],
)
def test_the_name_that_a_value_has_elsewhere_leads_to_it(refused: Refused, typed: str, nearest: str) -> None:
    (line,) = refused({}, typed)
    assert line.endswith(f" (nearest: {nearest})")


def test_arms_have_other_names_too(refused: Refused) -> None:
    (line,) = refused({}, "arms=[none, batch_norm]")
    assert "batch_norm: expected one of none, before, after, as_written (nearest: before)" in line


@pytest.mark.parametrize("value", ["[0.9]", "a,b", "[0.1, -1]", "[]", "[1, 1]", "{lin: [1, 2]}", "[[1], [2]]"])
def test_values_that_can_not_be_swept_are_not_proposed(refused: Refused, value: str) -> None:
    (line,) = refused({}, f"train.lr={value}")
    assert "to sweep it" not in line


POINT = "expected text as a key; write numbers with a decimal point (0.1), and several values in brackets ([0.1, 1])"


@pytest.mark.parametrize(("text", "key"), [("train: {lr: 0,1}", "1"), ("train: {lr: 0.1, 0.2}", "0.2")])
def test_a_comma_within_braces_begins_a_key(text: str, key: str) -> None:
    assert in_file(text) == f"train.{key}: {key}: {POINT}"


def test_other_keys_than_text_are_refused_without_that_hint() -> None:
    assert in_file("train: {true: 1}").endswith("true: expected text as a key")


ESCAPES = "; in double quotes \\ begins an escape: write paths in single quotes, or with /"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (
            r"C:\Users",
            "line 1, column 19: not valid YAML: expected escape sequence of 8 hexadecimal numbers, but found 's'",
        ),
        (r"C:\Data", "line 1, column 18: not valid YAML: found unknown escape character 'D'"),
        (r"C:\new", r'data.root: "C:\new": expected text of one line without control characters'),
        (r"C:\Pictures", r'data.root: "C:\u2029ictures": expected text of one line without control characters'),
    ],
)
def test_backslashes_in_double_quotes(path: str, message: str) -> None:
    assert in_file(f'data: {{root: "{path}"}}') == message + ESCAPES
    raw = {"name": "exp"} | parse(f"data: {{root: '{path}'}}", "exp.yaml")
    assert resolve(raw, "exp.yaml").data.root == path


@pytest.mark.parametrize(
    ("typed", "nearest"),
    [
        ("arms.b.norm=none", "model.norm"),
        ("arms.b.init=he", "model.init"),
        ("learning_rate=1", "train.lr"),
        ("train.learning-rate=1", "train.lr"),
        ("BatchSize=3", "train.batch_size"),
        ("model.dropout_rate=0.1", "model.dropout"),
        ("momentum=0.9", "train.momentum"),
        ("model.momentum=0.9", "model.norm.momentum"),
        ("norm.momentum=0.9", "model.norm.momentum"),
        ("bn=true", "model.norm"),
    ],
)
def test_the_name_that_a_setting_has_elsewhere_leads_to_it(refused: Refused, typed: str, nearest: str) -> None:
    (line,) = refused({}, typed)
    assert line.endswith(f": unknown key (nearest: {nearest})")


def test_other_names_are_of_settings_and_each_of_one() -> None:
    settings = {meant: names.split() for meant, names in SYNONYMS.items() if "=" not in meant}
    assert all(is_key(ExperimentConfig, meant.partition("=")[0]) for meant in SYNONYMS)
    names = [bare(name) for each in settings.values() for name in each]
    assert len(names) == len(set(names))
    assert not any(is_key(ExperimentConfig, name) for each in settings.values() for name in each)


@pytest.mark.parametrize(
    ("value", "instead"), [("true", "before or after, the place of batch norm"), ("false", "none"), ("null", "none")]
)
def test_norm_is_no_switch(refused: Refused, value: str, instead: str) -> None:
    message = f"expected {instead}; to compare with and without it, use arms"
    assert refused({}, f"model.norm={value}") == [f"command line: model.norm: {value}: {message}"]


def test_a_data_set_and_a_family_may_be_given_by_their_names_alone() -> None:
    config = resolve({"name": "exp", "data": "digits", "model": "resnet"}, "", ["data.train_size=100", "model.width=8"])
    assert (config.data.name, config.data.train_size, config.model.family) == ("digits", 100, "resnet")
    assert config == resolve(config.model_dump(mode="json"), "")


def test_a_data_set_that_there_is_not_is_named(refused: Refused) -> None:
    (line,) = refused({"data": "minst"})
    assert line.startswith('exp.yaml: data.name: "minst": expected one of digits, mnist,')
    assert line.endswith("(nearest: mnist)")


def test_seeds_may_be_a_range_as_in_a_grid() -> None:
    config = resolve({"name": "exp", "seeds": {"range": [0, 8, 4]}}, "", ["tune.seeds={range: [50, 52, 1]}"])
    assert (config.seeds, config.tune.seeds) == ((0, 4, 8), (50, 51, 52))
    assert config == resolve(config.model_dump(mode="json"), "")


@pytest.mark.parametrize(
    ("seeds", "message"),
    [
        ({"range": [0, 1, 0.5]}, "seeds.1: 0.5: expected a whole number, got a number with a fractional part"),
        ("3-6", 'seeds: "3-6": expected a number of seeds, a list of them, or {range: [first, last, step]}'),
    ],
)
def test_seeds_that_are_no_such_range(refused: Refused, seeds: object, message: str) -> None:
    assert refused({"seeds": seeds}) == [f"exp.yaml: {message}"]
