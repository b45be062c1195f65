"""Raw configurations that hold no contradiction, in short and long forms, for tests of properties."""

from typing import Any

from hypothesis import strategies as st

small = st.floats(1e-6, 0.9)
names = st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9_.+-]{0,20}\Z")
# Without control characters, ends of lines, and what turns text around: they are refused.
words = st.text(
    st.characters(
        exclude_categories=["Cc", "Cs", "Zl", "Zp"],
        exclude_characters="\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069",
    ),
    max_size=30,
)


def optional(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=fields)


def swept(value: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(value, min_size=1, max_size=3, unique_by=repr)


kinds = st.sampled_from(
    ["none", "batch", "layer", "group", "rms", "mean", "variance", "renorm", "whiten", "noisy_batch"]
)
placements = st.sampled_from(["before", "after"])
norms = (
    placements
    | kinds
    | optional(
        kind=kinds,
        placement=placements,
        addition=placements,
        input=st.booleans(),
        affine=st.sampled_from(["both", "gamma", "beta", "none"]),
        momentum=small,
        eps=small,
        groups=st.sampled_from([1, 2, 4, 8]),
        group_size=st.none() | st.sampled_from([1, 2, 4, 8]),
    )
)
schemes = st.sampled_from(["normal", "xavier", "he", "lecun", "orthogonal"])
inits = schemes | optional(scheme=schemes, scale=small)
widths = st.integers(1, 9).map(lambda units: 8 * units)

KEYS: dict[str, st.SearchStrategy[Any]] = {
    "train.lr": st.integers(0, 5) | small,
    "train.weight_decay": small,
    "model.depth": st.integers(1, 20),
    "model.width": widths,
    "model.dropout": st.just(0) | small,
    "model.activation": st.sampled_from(["relu", "sigmoid", "identity"]),
    "model.norm": st.sampled_from(["before", "after", "layer"]),
    "model.norm.eps": small,
    "model.init": schemes,
    "model.init.scale": small,
    "train.clip.value": st.none() | small,
    "train.record_at": st.just("epoch") | st.just([1, 2]),
    "data.root": st.none() | words,
    "data.normalize": st.sampled_from(["none", "unit", "center", "standard", "zca_whiten"]),
    "data.whiten_eps": small,
    "train.augment": st.sampled_from(["none", "flip_crop", "flip_crop_cutout"]),
}
FAMILIES = st.sampled_from(
    [{}, {"family": "vgg"}, {"family": "vgg", "depth": 5}, {"family": "resnet"}, {"family": "resnet", "depth": 8.0}]
)
ranges = st.sampled_from([{"logspace": [1, 1e-4, 5]}, {"linspace": [0, 1, 4]}, {"range": [0, 3, 1]}])


@st.composite
def configurations(draw: st.DrawFn) -> dict[str, Any]:
    """A raw configuration that holds no contradiction, in short and long forms."""
    keys = draw(st.lists(st.sampled_from(list(KEYS)), unique=True, max_size=5))
    crossed, paired = keys[: len(keys) // 2], keys[len(keys) // 2 :]
    grid = {key: draw(swept(KEYS[key])) for key in crossed} | draw(optional(**{"train.momentum": st.just([0, 0.5])}))
    if "train.lr" in grid and draw(st.booleans()):
        grid["train.lr"] = draw(ranges)
    zipped = {key: [draw(KEYS[key]) for _ in range(3)] for key in paired}
    if len({repr(row) for row in zip(*zipped.values(), strict=True)}) < 3:
        zipped = {}
    custom = st.dictionaries(names, st.dictionaries(st.sampled_from(list(KEYS)), st.none(), max_size=2), min_size=1)
    arms = draw(st.none() | st.lists(st.sampled_from(["none", "before", "after"]), min_size=1, unique=True) | custom)
    if isinstance(arms, dict):
        arms = {name: {key: draw(KEYS[key]) for key in overrides} for name, overrides in arms.items()}
    any_depth = "model.depth" not in keys and "model.depth" not in str(arms)
    family = draw(FAMILIES) if any_depth else {}
    return {
        "name": draw(names),
        "question": draw(words),
        "data": draw(
            optional(
                name=st.sampled_from(["digits", "mnist", "cifar10"]),
                root=st.none() | words,
                train_size=st.none() | st.integers(0, 500),
                val_size=st.none() | st.integers(0, 500),
                feature_scale=st.dictionaries(st.integers(0, 63), small, max_size=3),
            )
        ),
        "model": {"width": draw(widths)}  # type: ignore[operator]
        | family
        | draw(optional(norm=norms, init=inits, bias=st.sampled_from(["auto", True, False]))),
        "train": draw(
            optional(
                batch_size=st.integers(1, 300),
                lr=st.integers(0, 5) | small,
                betas=st.tuples(small, small),
                clip=optional(value=small, norm_global=st.none() | small),
                schedule=st.sampled_from(["constant", "cosine"]),
                record_at=st.just("epoch")
                | st.lists(st.integers(1, 99), min_size=1, unique=True)
                | st.just({"range": [1, 9, 4]}),
            )
            | st.fixed_dictionaries({"steps": st.integers(1, 99)})
            | st.fixed_dictionaries({"nesterov": st.just(True), "momentum": small}).filter(lambda _: not grid)
        ),
        "arms": arms,
        "grid": grid,
        "zip": zipped,
        "seeds": draw(st.integers(1, 9) | st.lists(st.integers(0, 2**40), min_size=1, max_size=4, unique=True)),
    }  # fmt: skip
