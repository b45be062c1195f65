"""The page and the document: verdicts in their colours, what was expected before, and the command."""

import re

from bnexp.claims.report.documents import document, page
from bnexp.claims.results import Finding
from tests.claims.report.made_up import from_check, from_data, judged

LOW, HIGH = (0.5, 0.51, 0.52), (0.7, 0.71, 0.72)


def test_a_verdict_has_its_colour() -> None:
    of_data = [(HIGH, "good", "SUPPORTED"), (LOW, "small", "TOO SMALL"), ((0.2, 0.9, 0.5), "unclear", "INCONCLUSIVE")]
    reports = [from_data(judged(LOW, values)) for values, _, _ in of_data]
    reports += [
        from_data(judged(HIGH, LOW)),
        *(from_check(Finding("a", "b", e, 1.0)) for e in (2.0, 1.0)),
    ]
    shown = re.findall(r'<span class="word (\w+)">([^<]+)<', page(reports, "small", "bnexp claims show"))
    expected = [(kind, word) for _, kind, word in of_data]
    assert shown == [*expected, ("bad", "OPPOSITE"), ("bad", "FAILS"), ("good", "HOLDS")]


def test_the_page_marks_what_decides_and_shows_all_verdicts_at_the_top() -> None:
    text = page([from_data(judged(LOW, HIGH), expect="It <may> lose.")], "full", "bnexp claims show --html")
    assert text.index('alt="The mean change of every claim') < text.index("<details")
    assert text.count('<tr class="decides">') == 1
    assert "Expected before the run: It &lt;may&gt; lose." in text
    assert "Made by <code>bnexp claims show --html</code> from the runs of the full tier." in text
    assert "**" not in text.partition("<script")[0]


def test_the_document_says_what_was_expected_before_and_the_setting() -> None:
    report = from_data(judged(LOW, HIGH), expect="It may lose.", tested="The mean.")
    text = document([report], "small", "bnexp claims show --docs x")["claims.md"].decode()
    assert "\n\nExpected before the run: It may lose.\n\n" in text
    assert "Made by `bnexp claims run --tier small` and `bnexp claims show --docs x`. A verdict" in text
    assert "- Setting: data: mnist; model: family mlp, depth 10, width 100" in text
    assert "| [made_up](#made_up) | SUPPORTED | The mean. |" in text
    assert "\n\n\n" not in text
