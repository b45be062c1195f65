"""Published numbers beside ours in tables, and docs/papers.md."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

from bnexp.analysis.study import metric_text
from bnexp.claims.documents import cost_text, environments_text, setting_text, try_it
from bnexp.claims.pages import Item, Page
from bnexp.claims.tables import command_for
from bnexp.papers.agreement import Agreement
from bnexp.papers.pictures import paper_figure
from bnexp.papers.results import Order, Result, Row
from bnexp.report.columns import estimate
from bnexp.report.figures.frame import figure_bytes
from bnexp.report.style import short_keys, value_text
from bnexp.report.summary import without_nan
from bnexp.report.table import MISSING, Cell, Column, Table, plain_table, to_markdown

RULE = """\
## When do numbers agree?

The rule was written down before the runs:

- **Accuracies** are compared where the setting is the published one, except for changes that the section names. A
  published accuracy agrees if it lies in our 95 % prediction interval for one new run: mean ± t·s·√(1 + 1/n) over our n
  seeds. About one in 20 misses it by chance, even if everything is equal.
- **Runs that stay at chance**, hardly better than guessing, are another kind of outcome, which the tables count. A
  published run that learned nothing agrees if one of ours learned nothing; one that learned is compared with ours that
  learned, and only these are in the mean and the interval. If none of our runs ended as the published one did, that is
  a disagreement from 19 runs on; with fewer it may be luck.
- **Differences** between two arms are compared in every setting, by their sign: it agrees if our 95 % interval of the
  mean difference, over pairs of the same seed, lies on the published side of 0. If the interval contains 0, our runs
  can't tell. For some papers we found only which arm is ahead, and no number: "above 0".
- **The order** of the differences over four or more settings agrees if Kendall's τ is positive with p < 0.05.

Numbers marked † are from memory; they are shown, but not compared.
"""


def row_columns(result: Result) -> tuple[Column[Row], ...]:
    """Return the columns of a paper's table: its swept settings, then published beside ours."""
    keys = list(dict.fromkeys(key for row in result.rows for key in row.where))
    swept = [Column(name, partial(_setting, key), kind="text", shared=True) for key, name in short_keys(keys).items()]
    arm = Column("arm", partial(arm_cell, result), kind="text")
    setting = Column("same setting?", partial(setting_cell, result), kind="text")
    published, *others = NUMBERS
    if any(row.unverified for row in result.rows):
        published = replace(published, legend="†: from memory; shown, but not compared")
    return (*swept, *MEASURED, arm, published, *others, setting, AGREES)


def _setting(key: str, row: Row) -> str:
    return value_text(row.where[key]) if key in row.where else MISSING


def arm_cell(result: Result, row: Row) -> Cell:
    """Name the arm and, for a difference, the arm that is subtracted from it."""
    label = result.experiment.label
    return Cell(label(row.arm), f"- {label(row.baseline)}" if row.baseline else "")


def published_text(row: Row) -> str:
    """Write the published numbers; † marks those from memory."""
    if not row.published:
        return MISSING if row.baseline is None else "above 0" + "†" * row.unverified
    exact = row.baseline is None  # differences are computed, and have as many digits as ours
    texts = [f"{value:g}" if exact else metric_text(row.metric, value, sign=True) for value in row.published]
    return ", ".join(texts) + "†" * row.unverified


def ours_cell(row: Row) -> Cell:
    """Write the mean of our runs with its interval."""
    return estimate(row.metric, row.interval.mean, row.interval.low, row.interval.high, sign=row.baseline is not None)


def setting_cell(result: Result, row: Row) -> str:
    """Say whether our runs have the published setting."""
    if not row.ours:
        return MISSING
    if row.at is not None and row.at != row.step:
        return f"no, after {row.at:,} steps"
    if not row.same_setting:
        return "no"
    return "yes, except for changes" if result.experiment.origin.overrides else "yes"


def agreement_text(row: Row) -> str:
    """Say whether our runs agree: in a word for one number, or with how many of several."""
    if len(row.agreements) <= 1:
        return row.agreements[0] if row.agreements else MISSING
    return tally(row.agreements)


def tally(agreements: Iterable[Agreement]) -> str:
    """Write how many agree, and for how many our runs can't tell."""
    counts = Counter(agreements)
    total, unknown = sum(counts.values()), counts[Agreement.open]
    if not total:
        return MISSING
    return f"{counts[Agreement.yes]} of {total}" + (f" ({unknown} can't be told)" if unknown else "")


MEASURED: tuple[Column[Row], ...] = (
    Column("accuracy", lambda row: row.metric.removesuffix("_accuracy").replace("_", " "), kind="text", shared=True),
    Column("step", lambda row: MISSING if row.step is None else f"{row.step:,}", shared=True),
)
"""The columns that say which accuracy it is."""
NUMBERS: tuple[Column[Row], ...] = (
    Column("published", published_text),
    Column(
        "ours",
        ours_cell,
        legend="ours: the mean of the runs that learned (of all, where none did), with the 95 % prediction interval "
        "for one new run; of a difference the mean over all pairs, with its 95 % interval",
    ),
    Column("n", lambda row: str(len(row.ours)) if row.ours else MISSING),
    Column(
        "at chance",
        lambda row: f"{row.at_chance}/{len(row.ours)}" if row.ours and row.baseline is None else MISSING,
        legend="at chance: how many of our runs learned nothing",
    ),
)
"""Published and ours."""
AGREES: Column[Row] = Column(
    "agrees?",
    agreement_text,
    kind="text",
    legend="agrees?: an accuracy does if it is in our interval, a difference if our interval is on the published side "
    "of 0; above 0: only which arm is ahead was published",
)


def paper_table(result: Result) -> Table:
    """Return the table of a paper: its numbers beside ours."""
    notes = [order_text(order) for order in result.orders]
    if result.study is None:
        notes.append(f"not run: bnexp papers run {result.paper.command_line_name}")
    return Table(row_columns(result), result.rows, result.paper.settings.title, tuple(notes)).known()


def order_text(order: Order) -> str:
    """Say whether the differences are ordered as published."""
    word = {Agreement.yes: "as published", Agreement.no: "not as published", Agreement.open: "can't be told"}
    step = f" (published after {order.step:,} steps)" if order.step else ""
    return (
        f"order of {order.arm} - {order.baseline} over {order.points} settings{step}: "
        f"{word[order.agreement]}, Kendall's τ = {order.tau:.2f}"
    )


@dataclass(frozen=True, kw_only=True)
class PrintedRow(Row):
    """A published accuracy of an arm, or difference between two, and ours."""

    paper: str


def results_json(found: Sequence[Result]) -> list[dict[str, Any]]:
    """Return the rows for scripts: numbers as numbers, null for what isn't known."""
    rows = (PrintedRow(**vars(row), paper=each.paper.id) for each in found for row in each.rows)
    return [without_nan(asdict(row)) for row in rows]


def document(
    found: Sequence[Result], tier: str, command: str, others: Mapping[str, Sequence[Result]]
) -> dict[str, bytes]:
    """Return the document and its pictures by their paths.

    Args:
        found: what is known about the papers, in order.
        tier: in which they ran.
        command: that made it.
        others: the same papers in other tiers, by tier; only how many have run is said.
    """
    parts = [
        "# What papers and lessons published about batch normalization, repeated",
        "Most published comparisons of batch normalization (BN) are of a single run. Here such experiments are "
        "repeated with several seeds, and every published number is shown beside our interval.",
        f"Made by `bnexp papers run --tier {tier}` and `{command}`. Published numbers come from the files in "
        f"`configs/papers/`, all others from the runs.",
        f"This is the {tier} tier. {' '.join(map(tier_text, others, others.values()))}",
        environments_text(each.study for each in found if each.study),
        to_markdown(overview_table(found)),
        RULE,
        *(part for each in found for part in _section(each)),
    ]
    text = "\n\n".join(part.strip() for part in parts if part) + "\n"
    drawn = {each.paper.id: paper_figure(each) for each in found}
    files = {_picture(name): figure_bytes(figure, "png") for name, figure in drawn.items() if figure}
    return {"papers.md": text.encode()} | files


def _picture(name: str) -> str:
    return f"papers/{name}.png"


def tier_text(tier: str, found: Sequence[Result]) -> str:
    """Say how much of a tier has run."""
    ran = sum(each.study is not None for each in found)
    made_for = {"small": "a CPU", "full": "a GPU"}[tier]
    return f"Of the {tier} tier (`--tier {tier}`), made for {made_for}, {ran or 'none'} of {len(found)} have been run."


INTRO = (
    "Most published comparisons of batch normalization are of a single run. Here such experiments are repeated with "
    "several seeds. A published accuracy agrees if it lies in our 95 % prediction interval for one new run in the same "
    "setting; a difference between two arms agrees, in any setting, if our 95 % interval of the mean difference lies "
    "on the published side of 0. The rule was written down before the runs. Each line opens to a picture, and to all "
    "numbers."
)


def papers_page(found: Sequence[Result], tier: str, command: str) -> Page:
    """Return what the page of papers shows; arguments as for document."""
    return Page(
        title="What papers and lessons published about batch normalization, repeated",
        summary=f"{'1 paper or lesson' if len(found) == 1 else f'{len(found)} papers and lessons'}, {tier} tier",
        tier=tier,
        items=[_page_item(each, tier) for each in found],
        intro=INTRO,
        made_by=command,
        missing=command_for("papers", [each.paper.command_line_name for each in found if not each.study], len(found)),
        notes=(
            "† from memory; shown, but not compared.",
            environments_text(each.study for each in found if each.study),
        ),
    )


def _page_item(result: Result, tier: str) -> Item:
    settings, compared = result.paper.settings, [*result.values(), *result.signs()]
    agreeing = compared.count(Agreement.yes)
    told = {"accuracies that agree": tally(result.values()), "differences whose sign agrees": tally(result.signs())}
    ours = ", ".join(f"{name} {text}" for name, text in told.items() if text != MISSING)
    colour = "none" if not compared else "good" if agreeing == len(compared) else "unclear" if agreeing else "bad"
    return Item(
        id=result.paper.id,
        said=settings.title,
        word="not run" if not result.study else f"{agreeing} of {len(compared)} agree" if compared else "not compared",
        colour=colour,
        found=f"Published: {_flat(settings.found)}" + (f" Ours: {ours}." if ours else ""),
        command=try_it(result.paper, tier),
        discuss=settings.discuss,
        figure=paper_figure(result),
        alt="Published accuracies beside our runs and their prediction intervals; the table below has the numbers.",
        paragraphs=[_flat(settings.remarks).replace("`", "")] if settings.remarks and result.study else [],
        surprises=[f"Our run can't be read: {result.unreadable}."] if result.unreadable else [],
        tables=[replace(paper_table(result), title="")],
        facts={name: text for name, text in _facts(result).items() if name != "Repeat it"},
    )


def overview_table(found: Sequence[Result]) -> Table:
    """Return a line for each paper: how many of its numbers agree."""
    lines = [
        (
            f"[{each.paper.settings.title}](#{each.paper.id})",
            tally(each.values()),
            tally(each.signs()),
            "; ".join(f"τ = {order.tau:.2f}: {order.agreement}" for order in each.orders) or MISSING,
        )
        for each in found
    ]
    headers = ("paper or lesson", "accuracies that agree", "differences whose sign agrees", "order agrees?")
    return plain_table(headers, lines)


def _section(result: Result) -> Iterator[str]:
    settings = result.paper.settings
    yield f"## {result.paper.id}"
    yield f"**{settings.title}**"
    yield _flat(settings.found)
    if result.unreadable:
        yield f"Our run can't be read: {result.unreadable}."
    if result.study:
        yield f"![Published accuracies beside our runs and their prediction intervals]({_picture(result.paper.id)})"
    table = paper_table(result)
    columns = tuple(replace(column, legend="") for column in table.columns)  # the rule has them
    yield to_markdown(replace(table, title="", columns=columns))
    if settings.remarks:
        yield settings.remarks.strip()
    yield "\n".join(f"- {name}: {text}" for name, text in _facts(result).items() if text)


def _facts(result: Result) -> Mapping[str, str]:
    settings, changed = result.paper.settings, result.experiment.origin.overrides
    return {
        "Source": _flat(settings.source),
        "Also": "; ".join(dict.fromkeys(row.source for row in result.rows if row.source)),
        "The same": _flat(settings.same),
        "Different": " ".join(map(_flat, settings.differs)),
        "Changed for these runs": ", ".join(f"`{each}`" for each in changed),
        "Our setting": setting_text(result.experiment),
        "Cost": cost_text([result.study]) if result.study else "",
        "Repeat it": f"`bnexp papers run {result.paper.command_line_name}`",
    }


def _flat(text: str) -> str:
    return " ".join(text.split())
