"""docs/inside.md names the rows that probes yield, all of them and no others."""

import re
from pathlib import Path

import pytest

from bnexp.config.probes import PROBES, default_probes
from tests.helpers import rates_group
from tests.probes.looking import ALL, MODELS, find_over_update, in_training, prober, rates

DOCUMENT = (Path(__file__).parents[2] / "docs" / "inside.md").read_text()
ROWS = re.findall(r"^\| `([^`]+)` \| ([^|]*) \|", DOCUMENT, flags=re.MULTILINE)
PLACES = {"weight layers": ("linear", "output"), "activations": ("activation",), "norm layers": ("norm",)}


def found() -> set[tuple[str, str]]:
    """Rows of a run of all probes: layers without their number, and measures."""
    rows = set()
    for activation in ("sigmoid", "relu"):
        train_state = in_training(rates_group(1, MODELS["mlp"] | {"activation": activation}))
        taking, due = prober(train_state, "drift"), prober(train_state, "drift").due(0, True)
        records = [taking.measure(due, 0, step, rates(train_state)).values for step in range(2)]
        rows |= {(layer, name) for record in (*records, find_over_update(train_state, *ALL)) for layer, name in record}
    return {(re.sub(r"^hidden\.\d\.", "", layer), re.sub(r"\[.*\]", "[x y]", name)) for layer, name in rows}


def test_the_document_names_the_rows_that_a_run_of_all_probes_yields() -> None:
    assert {name for _, name in found()} == {name for name, _ in ROWS}
    assert len(ROWS) == len({name for name, _ in ROWS})


def test_rows_stand_at_the_layers_that_the_document_names() -> None:
    rows = found()
    for name, where in ROWS:
        layers = {layer for layer, other in rows if other == name}
        if where == "network":
            assert layers == {""}, name
        elif where in PLACES:
            assert layers == set(PLACES[where]), name
        else:
            assert layers == {"activation", "norm.input", "norm.normalized", "norm.output"}, name


def test_every_probe_has_its_heading_in_the_order_of_the_registry() -> None:
    headings = re.findall(r"^\| \*\*(\w+)\*\* \|", DOCUMENT, flags=re.MULTILINE)
    assert headings == list(PROBES)


@pytest.mark.parametrize("name", default_probes())
def test_the_document_says_what_default_stands_for(name: str) -> None:
    (line,) = (line for line in DOCUMENT.splitlines() if line.startswith("`default` stands for"))
    assert f"`{name}`" in line
