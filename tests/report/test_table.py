"""All renderings carry the same cells, and no name can break them."""

from dataclasses import dataclass
from io import StringIO

import pytest
from rich.console import Console

from bnexp.report.table import Cell, Column, Table, plain_table, to_latex, to_markdown, to_rich, to_text

TABLE = Table(
    (Column("arm", lambda row: row[0]), Column("accuracy of the test", lambda row: row[1])),
    (("none", Cell("0.118", "[0.100, 0.136]")), ("a|b [red]", "-")),
    title="init_scale",
    notes=("first", "second"),
)


def printed(table: Table, width: int) -> str:
    console = Console(file=StringIO(), width=width, no_color=True)
    console.print(to_rich(table))
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_plain_text_is_aligned_and_bare() -> None:
    assert to_text(TABLE) == (
        "init_scale\n"
        "\n"
        "arm        accuracy of the test\n"
        "none       0.118 [0.100, 0.136]\n"
        "a|b [red]  -\n"
        "\n"
        "first\n"
        "second\n"
    )


def test_wide_characters_take_two_columns() -> None:
    wide = plain_table(("arm", "n"), (("归一化", "1"), ("none", "2")))
    lines = ["arm     n", "归一化  1", "none    2"]
    assert to_text(wide).splitlines() == lines
    assert [line for line in printed(wide, 80).splitlines() if "─" not in line] == lines


def test_markdown_escapes_the_bar() -> None:
    assert to_markdown(TABLE) == (
        "### init_scale\n"
        "\n"
        "| arm | accuracy of the test |\n"
        "| --- | --- |\n"
        "| none | 0.118 [0.100, 0.136] |\n"
        "| a\\|b [red] | - |\n"
        "\n"
        "- first\n"
        "- second\n"
    )


def test_title_and_notes_may_be_left_out() -> None:
    bare = plain_table(("arm",), (("none",),))
    assert to_text(bare) == "arm\nnone\n"
    assert to_markdown(bare) == "| arm |\n| --- |\n| none |\n"
    assert "caption" not in to_latex(bare)


def test_a_table_without_rows_shows_its_headers() -> None:
    empty = plain_table(("no runs yet",), ())
    assert to_text(empty) == "no runs yet\n"
    assert "no runs yet" in printed(empty, 80)


def test_latex_takes_nothing_for_its_own_and_has_minus_signs() -> None:
    rows = (("x & y", "#1 $z$ {~^}\\"), ("<0.001", "3×"), ("-x", "-0.5 [-1e-05, -]"))
    columns = (Column("a_b", lambda row: row[0], kind="text"), Column("50 %", lambda row: row[1]))
    table = Table(columns, rows, "100 % title", ("a % note",), name="equal")
    assert to_latex(table, ["Careful: a_b."]).splitlines() == [
        r"\begin{table}",
        r"\centering",
        r"\caption{100 \% title}",
        r"\label{tab:equal}",
        r"\begin{tabular}{lr}",
        r"\toprule",
        r"a\_b & 50 \% \\",
        r"\midrule",
        r"x \& y & \#1 \$z\$ \{\textasciitilde{}\textasciicircum{}\}\textbackslash{} \\",
        r"\textless{}0.001 & 3$\times$ \\",
        r"-x & $-$0.5 [$-$1e-05, -] \\",
        r"\bottomrule",
        r"\end{tabular}",
        r"\par\medskip",
        r"\parbox{\linewidth}{\footnotesize",
        r"a \% note\par",
        r"Careful: a\_b.\par",
        "}",
        r"\end{table}",
    ]


def test_the_terminal_shows_brackets_as_they_are() -> None:
    text = printed(TABLE, 80)
    assert "a|b [red]" in text
    assert "none       0.118 [0.100, 0.136]" in text
    assert [line.strip() for line in text.splitlines() if line.strip()][-2:] == ["first", "second"]


@pytest.mark.parametrize("width", [26, 28])
def test_a_narrow_terminal_breaks_before_the_interval_not_in_it(width: int) -> None:
    lines = [line.split() for line in printed(TABLE, width).splitlines()]
    assert ["none", "0.118"] in lines
    assert ["[0.100,", "0.136]"] in lines
    assert all(len(line) <= width for line in printed(TABLE, width).splitlines())


def test_nothing_is_cut_off_however_narrow() -> None:
    table = plain_table(("arm", "n"), (("a_rather_long_name", "3"),))
    assert "a_rather_long_name" in "".join(line.split()[0] for line in printed(table, 12).splitlines() if line.split())


@dataclass(frozen=True)
class Swept:
    """A row of a table with many columns."""

    activation: str
    lr: float
    arm: str


ROWS = [
    Swept(activation, lr, arm)
    for activation in ("sigmoid", "leaky_relu")
    for lr in (0.1, 1.0)
    for arm in ("none", "before")
]
WIDE = Table(
    (
        Column("activation", lambda row: row.activation, shared=True),
        Column("lr", lambda row: str(row.lr), shared=True),
        Column("arm", lambda row: row.arm),
        Column("final test accuracy", lambda row: Cell("0.118", "[0.100, 0.136]")),
        Column("difference to none", lambda row: Cell("+0.215", "[+0.190, +0.240]")),
        Column("effect", lambda row: "+12.3", legend="effect: d_z.", drop=4),
        Column("p", lambda row: "<0.001", legend="p: a test.", drop=1),
        Column("epochs to 0.9", lambda row: "not reached", legend="epochs: a median.", drop=6),
        Column("diverged", lambda row: "0/3", drop=3),
    ),
    ROWS,
)


@pytest.mark.parametrize("width", [80, 90, 100, 120])
def test_from_80_columns_on_every_word_and_number_is_whole(width: int) -> None:
    text = printed(WIDE, width)
    words = {word for row in WIDE.rows for cell in row for word in cell.replace(",", "").split()}
    assert all(len(line) <= width for line in text.splitlines())
    lost = {word for word in words if word not in text.replace("\n", " ").replace(",", "").split()}
    assert lost <= {"not", "reached"}  # of the column that goes first
    assert all(interval in text for interval in ("[0.100, 0.136]", "[+0.190, +0.240]"))


def test_what_does_not_fit_moves_up_or_goes_by_importance_and_is_named() -> None:
    narrow = printed(WIDE, 56)
    assert "activation sigmoid, lr 0.1\nnone " in narrow  # once above the rows that share it
    assert narrow.count("activation leaky_relu") == 2
    assert "Left out, since the window is narrow: effect, epochs to 0.9, diverged." in " ".join(narrow.split())
    assert "p: a test." in narrow
    assert "effect: d_z." not in narrow
    wide = printed(WIDE, 140)
    assert "Left out" not in wide
    assert "activation  lr " in wide


def test_a_shared_text_follows_a_colon_and_a_missing_value_is_told_in_words() -> None:
    shared = (
        Column("measure", lambda row: row, shared=True),
        Column("claim", lambda row: "dropout_conflict"),
        Column("verdict", lambda row: "SUPPORTED by far"),
    )
    lines = printed(Table(shared, ("test accuracy of a network with many layers", "-")), 40).splitlines()
    assert [lines[2], lines[5]] == ["measure: test accuracy of a network with", "no measure"]


def test_a_shared_value_moves_up_where_the_table_would_have_to_be_continued_otherwise() -> None:
    columns = (
        Column("accuracy", lambda row: "test", shared=True),
        Column("arm", lambda row: Cell(row, "- large batches")),
        *(Column(name, lambda row: "a_long_word_x") for name in "abcd"),
    )
    lines = printed(Table(columns, ("large batches", "small batches")), 76).splitlines()
    assert lines[0].split() == ["arm", "a", "b", "c", "d"]
    assert lines[2] == "accuracy test"
    assert sum("arm" in line for line in lines) == 1


def test_what_does_not_fit_at_all_is_continued_beside_the_first_column() -> None:
    layers = plain_table(("layer", *"abcde"), (("conv", *(f"a_long_word_{arm}" for arm in "abcde")),))
    lines = printed(layers, 40).splitlines()
    assert [line.split() for line in lines if line.startswith("layer")] == [
        ["layer", "a", "b"],
        ["layer", "c", "d"],
        ["layer", "e"],
    ]
    assert all(f"a_long_word_{arm}" in "\n".join(lines) for arm in "abcde")
