"""The three renderings carry the same cells, and no name can break them."""

from io import StringIO

import pytest
from rich.console import Console

from bnexp.report.table import Table, to_markdown, to_rich, to_text

TABLE = Table(
    headers=("arm", "accuracy of the test"),
    rows=(("none", "0.118 [0.100, 0.136]"), ("a|b [red]", "-")),
    title="init_scale",
    notes=("first", "second"),
)


def printed(table: Table, width: int) -> str:
    console = Console(file=StringIO(), width=width, no_color=True)
    console.print(to_rich(table))
    return console.file.getvalue()


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
    lines = to_text(Table(("arm", "n"), (("归一化", "1"), ("none", "2")))).splitlines()
    assert lines == ["arm     n", "归一化  1", "none    2"]


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
    bare = Table(("arm",), (("none",),))
    assert to_text(bare) == "arm\nnone\n"
    assert to_markdown(bare) == "| arm |\n| --- |\n| none |\n"


def test_a_table_without_rows_shows_its_headers() -> None:
    empty = Table(("no runs yet",), ())
    assert to_text(empty) == "no runs yet\n"
    assert "no runs yet" in printed(empty, 80)


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
    table = Table(("arm", "n"), (("a_rather_long_name", "3"),))
    assert "a_rather_long_name" in "".join(line.split()[0] for line in printed(table, 12).splitlines() if line.split())
