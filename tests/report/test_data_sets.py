"""What was read of the data sets is said once and briefly, and what is probably a mistake in them."""

from dataclasses import replace

from bnexp.data.catalog import DataShape, Findings
from bnexp.report.data_sets import data_lines, data_warnings

OWN_VAL = DataShape((1, 8, 8), 2, train=80, val=20, test=20)


def test_what_was_read_is_said_once_and_briefly() -> None:
    found = Findings(
        left_out=((".txt", 3), ("hidden", 1)), background="black", remarks=("odd \x1b",), warnings=("bad",)
    )
    sets = [("image_folder", replace(OWN_VAL, train=train, findings=found)) for train in (1, 2, 3, 3, 4, 5)]
    assert data_lines(sets) == [
        "data: image_folder, 2 classes, 1×8×8, 1 training, 20 validation, 20 test images",
        "data: image_folder, 2 classes, 1×8×8, 2 training, 20 validation, 20 test images",
        "data: image_folder, 2 classes, 1×8×8, 3 training, 20 validation, 20 test images",
        "data: 2 other sizes",
        "  transparent images get a black background, since what they show is light",
        "  odd \\x1b",
        "  left out: 3 .txt files, 1 hidden file",
    ]
    assert data_warnings(sets) == ["data: image_folder: bad"]
