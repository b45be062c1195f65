"""The notebook in examples/ runs as it stands, and shows what it showed."""

from pathlib import Path
from typing import Any

import pytest

nbformat: Any = pytest.importorskip("nbformat", reason="nbclient is not installed: pip install '.[dev]'")
nbclient: Any = pytest.importorskip("nbclient", reason="nbclient is not installed: pip install '.[dev]'")
pytest.importorskip("ipykernel", reason="ipykernel is not installed: pip install '.[dev]'")

NOTEBOOK = Path(__file__).parents[1] / "examples" / "does_bn_help.ipynb"


def outputs(notebook: Any) -> list[list[str]]:
    """The kinds of all that the cells show, cell by cell."""
    cells = (cell for cell in notebook.cells if cell.cell_type == "code")
    return [sorted(kind for shown in cell.outputs for kind in shown.get("data", {})) for cell in cells]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("short", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_the_notebook_runs_and_shows_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, short: bool) -> None:
    monkeypatch.setenv("PYTHONPATH", str(NOTEBOOK.parents[1]), prepend=":")
    written = nbformat.read(NOTEBOOK, as_version=4)
    again = nbformat.read(NOTEBOOK, as_version=4)
    if short:
        first = next(cell for cell in again.cells if cell.cell_type == "code")
        assert '"seeds": 6' in first.source
        first.source = first.source.replace('"seeds": 6', '"seeds": 2, "train.epochs": 1')
    client = nbclient.NotebookClient(again, timeout=300, resources={"metadata": {"path": str(tmp_path)}})
    client.execute()
    assert outputs(again) == outputs(written)
    assert any("image/png" in kinds for kinds in outputs(again))
    texts = [
        shown["data"]["text/plain"] for cell in again.cells for shown in cell.get("outputs", ()) if "data" in shown
    ]
    assert short or any("0.979" in text for text in texts)  # as the conclusion says
