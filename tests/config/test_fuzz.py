"""Whatever a file or the command line says, it is an experiment that can be written down and planned, or a refusal."""

import datetime
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bnexp.config.experiment import ExperimentConfig, default_config, must_choose
from bnexp.config.keys import leaf_keys
from bnexp.config.load import load, resolve, shipped
from bnexp.config.yaml import parse, to_yaml
from bnexp.errors import BnexpError
from bnexp.plan import run_name, trials
from tests.config.raw import KEYS as RIGHT_VALUES
from tests.config.raw import configurations

EXAMPLES = 10
"""Examples of each kind in every test run."""
MANY = 700
"""Examples of each kind among the slow tests."""
SECONDS = 1.0
"""Processor time that loading may take."""
LONGEST_LINE = 1_100
"""Characters of a line of a refusal."""
FEW = 200
"""Trials that are made, not only counted."""

SMALL = b"model: {depth: 2, width: [8, 4]}\ntrain: {steps: 9, clip: {value: 1}}\ngrid: {train.lr: [0.1, 1]}\n"
SHIPPED = {name: path.read_bytes() for name, path in shipped().items()}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file to write examples into."""
    return tmp_path_factory.mktemp("fuzz") / "exp.yaml"


def loaded(content: bytes, place: Path, overrides: Sequence[str] = ()) -> ExperimentConfig | None:
    """Load a file, as the command does."""
    place.write_bytes(content)
    return outcome(lambda: load(place, overrides))


def outcome(attempt: Callable[[], ExperimentConfig]) -> ExperimentConfig | None:
    """Return the sound configuration that an attempt gives, or None where it is refused in words."""
    started, refusal = time.process_time(), None
    try:
        config = attempt()
    except BnexpError as error:
        refusal = error
    assert time.process_time() - started < SECONDS
    if refusal is None:
        check(config)
        return config
    lines = str(refusal).splitlines()
    assert refusal.exit_code == 2
    assert lines
    assert all(line.strip() and line.isprintable() and len(line) < LONGEST_LINE for line in lines)
    return None


def check(config: ExperimentConfig) -> None:
    """An accepted configuration is the same after it was written down, names a folder, and can be planned."""
    text = to_yaml(config.model_dump(mode="json"))
    raw = parse(text, "config.yaml")
    for again in (raw, config.model_dump(), json.loads(config.model_dump_json())):
        assert resolve(again, "again") == config
        assert run_name(resolve(again, "again")) == run_name(config)
    assert "/" not in run_name(config)
    assert yaml.safe_load(text) == raw
    count = len(config.arms) * len(config.points()) * len(config.seeds)
    if count <= FEW:
        planned = default_config(config) if must_choose(config) else config
        assert [trial.number for trial in trials(planned)] == list(range(count))


KEYS = [*leaf_keys(ExperimentConfig), "data", "model", "train", "model.norm", "model.init", "train.clip"]
SECTIONS = sorted(ExperimentConfig.model_fields)
WORDS = [
    "mnist", "digits", "mlp", "relu", "sigmoid", "auto", "xavier", "he", "batch", "layer", "group", "none", "before",
    "after", "epoch", "sgd", "adam", "cosine", "step", "fp32", "unit", "logspace", "linspace", "range", "train.lr",
    "pca_whiten", "zca_whiten", "flip_crop", "flip_crop_cutout", "vgg", "resnet", "whiten", "noisy_batch", "fixup",
    "skipinit",
]  # fmt: skip
NUMBERS = (
    st.integers(-2, 12)
    | st.sampled_from([0.0, 0.1, 1e-4, 1.0, 0.5, -0.0, 1e308, 5e-324, float("nan"), float("inf"), -float("inf")])
    | st.sampled_from([2**31, 2**53 + 1, 2**63 - 1, 2**63, 2**64, 10**19, 10**100, 10**400, -(10**400), -(2**63)])
    | st.floats()
)
TEXTS = (
    st.sampled_from(WORDS) | st.text(max_size=12) | st.sampled_from(["", "\x00", "\ud800", "x" * 300, "../a", "1e5"])
)
SCALARS = NUMBERS | TEXTS | st.booleans() | st.none()
ODD = st.binary(max_size=4) | st.dates() | st.just(datetime.datetime(2020, 1, 1)) | st.just({1, 2}) | st.just(1j)
NAMES = st.sampled_from([*SECTIONS, *KEYS, *WORDS]) | TEXTS | st.none() | st.integers(0, 3) | st.booleans() | NUMBERS


def nested(scalars: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Values of all shapes, with short forms and ranges among them."""
    ranges = st.fixed_dictionaries(
        {}, optional={kind: st.lists(NUMBERS, max_size=4) for kind in ("logspace", "linspace", "range")}
    )
    return st.recursive(
        scalars,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4) | ranges,
        max_leaves=8,
    )


class _AnyDumper(yaml.Dumper):
    """Writes whatever Python has, tags and aliases included."""


def written(value: Any) -> str:
    """A value as YAML, tags and aliases included."""
    try:
        return yaml.dump(value, Dumper=_AnyDumper, default_flow_style=True, allow_unicode=True).removesuffix("...\n")
    except ValueError:
        return str(type(value))


PIECES = [b"&a ", b"*a", b"<<: *a\n", b"!!binary ", b"[", b"{", b"]", b"}", b": ", b"- ", b"'", b"\t", b"|\n", b"---\n",
          b"\x00", b"\xff", b"9" * 30, b".nan", b"null", b"~"]  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A shipped file after a few changes: bytes gone, doubled, flipped or put in, a word in place of another."""
    content = SHIPPED[draw(st.sampled_from(sorted(SHIPPED)))]
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(content)))
        before, after = content[:at], content[at:]
        changes = {
            "cut": before + after[draw(st.integers(1, 30)) :],
            "double": before + after[:20] + after,
            "flip": before + bytes(byte ^ (1 << draw(st.integers(0, 7))) for byte in after[:1]) + after[1:],
            "insert": before + draw(st.sampled_from(PIECES)) + after,
            "word": before + draw(st.sampled_from([*WORDS, *KEYS])).encode() + b" " + after.partition(b" ")[2],
        }
        content = changes[draw(st.sampled_from(sorted(changes)))]
    return content


OVERRIDE = st.builds(
    "{}={}".format,
    st.sampled_from([*KEYS, *(f"{section}.{key}" for section in ("grid", "zip", "arms.a") for key in KEYS)])
    | st.text(max_size=10),
    (nested(SCALARS) | st.lists(NUMBERS, min_size=1, max_size=3)).map(written) | st.text(max_size=10),
)
RIGHT = st.sampled_from(list(RIGHT_VALUES)).flatmap(
    lambda key: st.builds(lambda value: f"{key}={written(value)}", RIGHT_VALUES[key])
)
OVERRIDES = st.lists(RIGHT | OVERRIDE | st.text(max_size=12), min_size=1, max_size=3)


ANY_BYTES = st.binary(max_size=60) | st.text(max_size=60).map(lambda text: text.encode(errors="surrogatepass"))
SHAPES = st.dictionaries(NAMES, nested(SCALARS | ODD), max_size=4) | nested(ODD)


@st.composite
def nearly_right(draw: st.DrawFn) -> dict[str, Any]:
    """A configuration that is right but for one value."""
    raw, key, value = draw(configurations()), draw(st.sampled_from(KEYS)), draw(nested(SCALARS))
    section, _, rest = key.partition(".")
    inner = raw.get(section)
    return raw | {section: {**(inner if isinstance(inner, dict) else {}), rest: value} if rest else value}


def right(raw: Any, place: Path) -> None:
    config = outcome(lambda: resolve(raw, "exp.yaml"))
    assert config
    assert run_name(resolve(raw | {"name": "other"}, "x")) == "other" + run_name(config).removeprefix(config.name)


def resolved(raw: Any, place: Path) -> None:
    outcome(lambda: resolve({"name": "exp"} | raw if isinstance(raw, dict) else raw, "exp.yaml"))


KINDS: dict[str, tuple[st.SearchStrategy[Any], Callable[[Any, Path], object]]] = {
    "files of any bytes": (ANY_BYTES, loaded),
    "files of values of any shape": (
        SHAPES,
        lambda raw, place: loaded(written(raw).encode(errors="surrogatepass"), place),
    ),
    "values of any shape from a script": (SHAPES, resolved),
    "all right, in short and long forms": (configurations(), right),
    "all but one value right": (nearly_right(), resolved),
    "shipped files after damage": (mutated(), loaded),
    "overrides of right and wrong keys": (OVERRIDES, lambda overrides, place: loaded(SMALL, place, overrides)),
}


@pytest.mark.parametrize("examples", [EXAMPLES, pytest.param(MANY, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("values", "attempt"), KINDS.values(), ids=list(KINDS))
def test_what_is_written_is_sound_or_refused(
    place: Path, values: st.SearchStrategy[Any], attempt: Callable[[Any, Path], object], examples: int
) -> None:
    # The same examples in the same order every time, and none kept on the disk.
    @settings(
        max_examples=examples, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(value=values)
    def tries(value: Any) -> None:
        attempt(value, place)

    tries()


@pytest.mark.parametrize(
    "raw",
    [
        {"name": "08"},
        {"name": "1e5"},
        {"question": "1e-4"},
        {"question": "null"},
        {"data": {"root": "yes"}},
        {"arms": {"1e5": {}, "09": {}, "yes": {}, "2026-01-01": {}}},
        {"arms": {"scaled": {"data.feature_scale": {3: 2.0}}}},
        {"grid": {"data.feature_scale": [{3: 2.0}, {}]}},
        {"model": {"family": "resnet", "init": "fixup", "norm": "none"}, "arms": {"fixup": {}}},
        {"model": {"family": "vgg", "width": None}, "grid": {"model.depth": [5, 19]}},
    ],
)
def test_words_like_numbers_and_mappings_as_values_are_kept(raw: dict[str, Any]) -> None:
    check(resolve({"name": "exp"} | raw, "exp.yaml"))


def test_a_short_form_and_what_it_stands_for_make_one_run() -> None:
    short = {"name": "exp", "arms": ["none", "after"], "seeds": 2, "model": {"norm": "after", "init": "he"}}
    long = {
        "name": "exp",
        "arms": {"none": {"model.norm.kind": "none"}, "after": {"model.norm.placement": "after"}},
        "seeds": [0, 1],
        "model": {"norm": {"kind": "batch", "placement": "after"}, "init": {"scheme": "he", "scale": 1.0}},
    }
    assert resolve(short, "a") == resolve(long, "b")
    assert run_name(resolve(short, "a")) == run_name(resolve(long, "b"))


@pytest.mark.parametrize("content", [SMALL, *SHIPPED.values()], ids=["small", *SHIPPED])
def test_what_is_fuzzed_is_sound_to_begin_with(place: Path, content: bytes) -> None:
    """So that a check which refuses everything does not pass for a sound one."""
    assert loaded(content, place) is not None
    assert loaded(content, place, ["train.lr=0.5"]) is not None
    assert loaded(content + b"\nlr: 1", place) is None
