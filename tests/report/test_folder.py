"""What `bnexp report` writes: the page, the pictures that apply, and those of the probes where there are some."""

from pathlib import Path

from bnexp.report.summary import write_report
from tests.report.figures.made_up import probe_tables
from tests.report.html.made_up_study import compared, study


def test_the_pictures_of_the_probes_lie_beside_the_others(tmp_path: Path) -> None:
    _, probes = probe_tables(seeds=1, depth=1, steps=(0,))
    made = study(seeds=1, probes=probes[probes["probe"] == "saturation"])
    written = write_report(made, compared(made), tmp_path / "report.html", tmp_path / "pictures")
    assert {path.name for path in written[1:]} == {path.name for path in (tmp_path / "pictures").iterdir()}
    assert {"curves.svg", "saturation.png", "saturation.svg"} <= {path.name for path in written}
    assert "gradient_norms.png" not in {path.name for path in written}
    assert "Units that don’t pass gradients on" in (tmp_path / "report.html").read_text()
