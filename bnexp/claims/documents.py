"""Claims as documents: docs/claims.md, and the content of their page."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from bnexp.analysis.standing import standing
from bnexp.analysis.study import Study, lower_is_better, metric_text
from bnexp.claims.entries import Entry
from bnexp.claims.evidence import Evidence, rows_against
from bnexp.claims.pages import Item, Page
from bnexp.claims.pictures import claim_figure, verdicts_figure
from bnexp.claims.rows import (
    NO_VERDICT,
    UNREADABLE,
    Row,
    change_cell,
    margin_text,
    published_texts,
    rows_of,
)
from bnexp.claims.tables import claims_table, evidence_tables, not_run, verdicts_table
from bnexp.claims.verdicts import VerdictLabel, together
from bnexp.claims.words import answer, legend
from bnexp.config.experiment import ExperimentConfig, default_config
from bnexp.config.keys import below, leaves
from bnexp.config.source import NetworkSource
from bnexp.config.text import counted
from bnexp.config.train import DEFAULT_EPOCHS
from bnexp.config.trial import TrialSettings
from bnexp.report.figures.frame import figure_bytes
from bnexp.report.style import point_texts, short_keys, value_text
from bnexp.report.table import to_markdown

PICTURES = "claims"
"""Folder of the pictures beside the document."""
KINDS = {
    VerdictLabel.supported: "good",
    VerdictLabel.holds: "good",
    VerdictLabel.opposite: "bad",
    VerdictLabel.fails: "bad",
    VerdictLabel.inconclusive: "unclear",
    VerdictLabel.depends: "unclear",
    VerdictLabel.equivalent: "small",
    VerdictLabel.too_small: "small",
}
"""The colour of each verdict's word."""
MOST_POINTS = 3
"""Up to this many grid points at which the arm is behind are named; of more only the number is given."""
MOST_OPPOSITE = 3
"""Up to this many measures against the claim are named; the table has them all."""


def document(
    found: Sequence[Evidence], tier: str, command: str, others: Mapping[str, Sequence[Evidence]] | None = None
) -> dict[str, bytes]:
    """Return the document and its pictures by their paths.

    Args:
        found: what is known about the claims, in order.
        tier: in which they ran.
        command: that made it.
        others: the same claims in other tiers, by tier; only their verdicts are shown.
    """
    parts = [
        "# What is claimed about batch normalization, and what was found",
        f"Made by `bnexp claims run --tier {tier}` and `{command}`. {environments_text(_studies(found))}",
        to_markdown(verdicts_table({tier: found} | dict(others or {}))),
        legend(),
    ]
    drawn = dict[str, Figure]()
    if overview := verdicts_figure(found):
        drawn["verdicts"] = overview
        parts.append(f"![Mean change of every claim with its interval, in margins]({PICTURES}/verdicts.png)")
    parts.append(to_markdown(claims_table(found, "All numbers", wide=True)))
    for item in map(_item, found):
        parts += _section(item)
        if item["figure"]:
            drawn[item["id"]] = item["figure"]
    text = "\n\n".join(part.strip() for part in parts if part) + "\n"
    files = {f"{PICTURES}/{name}.png": figure_bytes(figure, "png") for name, figure in drawn.items()}
    return {"claims.md": text.encode()} | files


def _studies(found: Sequence[Evidence]) -> Iterator[Study]:
    return (study for each in found for study in each.studies.values())


def _section(item: Mapping[str, Any]) -> Iterator[str]:
    settings = item["settings"]
    yield f"## {item['id']}"
    yield f"> {settings.claim.strip()} ({', '.join(settings.notes)})"
    wrong = "" if settings.as_worded else "The notes are wrong as worded. "
    if settings.tested:
        yield f"**What was done.** {wrong}{settings.tested.strip()}"
    yield f"**Answer: {item['word']}.** {item['answer']}"
    if item["figure"]:
        yield f"![{item['id']}]({PICTURES}/{item['id']}.png)"
    if item["tables"]:
        yield f"**In numbers.** {item['sentence']}"
    yield from map(to_markdown, item["tables"])
    if item["surprises"]:
        yield "**Limits.** Look closer where BN loses, or where regimes disagree:"
        yield "\n".join(f"- {line}" for line in item["surprises"])
    if settings.expect:
        yield f"Expected before the run: {settings.expect.strip()}"
    facts = {
        "Setting": item["setting"],
        "Cost": item["cost"],
        "Literature": "; ".join(settings.literature),
        "Published": "; ".join(item["published"]),
    }
    yield "\n".join(f"- {name}: {text}" for name, text in facts.items() if text)


INTRO = (
    "A verdict holds for the setting that was tested, and no other. SUPPORTED: the 95 % interval of the mean paired "
    "difference lies above 0 and the mean is at least the margin that was written down before; OPPOSITE: the same in "
    "the other direction; EQUIVALENT: the whole interval is within the margin, on both sides of 0; TOO SMALL: the "
    "interval is on one side of 0, but its mean is within the margin; INCONCLUSIVE: else; DEPENDS: not the same at all "
    "settings that were tested. Exact claims hold or fail. Each line opens to a picture, and to its evidence."
)


def claims_page(found: Sequence[Evidence], tier: str, command: str) -> Page:
    """Return what the page of claims shows; arguments as for document."""
    items = [_page_item(each, tier) for each in found]
    words = ", ".join(f"{count} {word}" for word, count in Counter(item.word for item in items).items())
    return Page(
        title="Claims about batch normalization",
        summary=f"{counted(len(items), 'claim')}, {tier} tier: {words}",
        tier=tier,
        items=items,
        intro=INTRO,
        made_by=command,
        overview=verdicts_figure(found),
        overview_alt="The mean change of every claim with its interval, in margins; its table has the numbers.",
        missing=not_run(found),
        notes=(
            "† from memory of the paper, unverified. In the tables the line in bold decides.",
            environments_text(_studies(found)),
        ),
    )


def _page_item(evidence: Evidence, tier: str) -> Item:
    item, settings = _item(evidence), evidence.claim.settings
    said = " ".join(settings.claim.split())
    wrong = "" if settings.as_worded else "The notes are wrong as worded."
    tested = settings.tested and f"Tested: {settings.tested}"
    before = settings.expect and f"Expected before the run: {settings.expect}"
    return Item(
        id=item["id"],
        said=said,
        word=item["word"],
        colour=item["kind"],
        found=f"{item['answer']} {item['sentence']}",
        command=try_it(evidence.claim, tier),
        discuss=settings.discuss,
        figure=item["figure"],
        alt=f"What decides about {item['id']}; the table below has the numbers.",
        paragraphs=[text for text in (wrong, tested, before) if text],
        surprises=item["surprises"],
        tables=item["tables"],
        facts={
            "Study notes": ", ".join(settings.notes),
            "Setting": item["setting"],
            "Cost": item["cost"],
            "Literature": "; ".join(settings.literature),
            "Published": "; ".join(item["published"]),
        },
    )


def try_it(entry: Entry[Any], tier: str) -> str:
    """Return the command that runs a claim or a paper."""
    larger = "" if tier == "small" or not entry.experiments else f" --tier {tier}"
    return f"bnexp {entry.catalogue} run {entry.command_line_name}{larger}"


def _item(evidence: Evidence) -> dict[str, Any]:
    """Return what the document and the page show of a claim."""
    return {
        "id": evidence.claim.id,
        "settings": evidence.claim.settings,
        "word": rows_of(evidence)[0].verdict,
        "kind": KINDS[evidence.label] if evidence.label else "none",
        "answer": answer(evidence),
        "sentence": verdict_sentence(evidence),
        "surprises": surprises(evidence),
        "setting": setting_text(evidence.experiment) if evidence.experiment else "",
        "cost": cost(evidence),
        "published": published_texts(evidence.claim),
        "tables": evidence_tables(evidence),
        "figure": claim_figure(evidence),
    }


def verdict_sentence(evidence: Evidence) -> str:
    """Say what was found in one sentence, with the numbers."""
    row, result = rows_of(evidence)[0], evidence.result
    if row.verdict == UNREADABLE:
        return f"It can't be read: {'; '.join(row.reasons)}."
    deciding = [each for each in rows_of(evidence) if each.decides and each.arms]
    if result and not deciding:
        held = counted(sum(finding.error is not None for finding in result.findings), "test")
        return f"{held}; {'; '.join(row.reasons)}." if row.reasons else f"{held}."
    if not deciding:
        described = row.verdict == NO_VERDICT
        return "It has no verdict: what was seen is described." if described else "It has not run, or not to its end."
    if len(deciding) == 1:
        return f"{_capital(row.measure)}: {_found(row)}"
    changes = "; ".join(f"{each.where}: {_change(each)}" for each in deciding)
    pairs = " or ".join(dict.fromkeys(f"{each.n}" for each in deciding))
    compared = f"{_capital(row.measure)}, {_compared(deciding[0])}, n = {pairs}"
    return f"{compared}. {_capital(changes)}. The table says what to be careful about."


def _change(row: Row) -> str:
    return "nothing to compare" if row.change is None else str(change_cell(row.change, row.ratio))


def _compared(row: Row) -> str:
    """Say which arms are compared, and how to read the change."""
    baseline, arm = row.arms or ("", "")
    sign, margin = "above 1" if row.ratio else "positive", margin_text(row.margin, row.ratio)
    return f"{arm} against {baseline} ({sign} agrees; the margin is {margin})"


def _found(row: Row) -> str:
    """Say what a row found, with the numbers, and what to be careful about."""
    found, (baseline, arm) = _change(row), row.arms or ("", "")
    if row.change is not None:
        found = f"{found}, {_compared(row)}, n = {row.n}"
    regime = "; with equal settings" if row.regime == "equal" else ""
    if row.regime == "tuned" and len(row.rates) == 2:
        regime = f"; each with what it chose: {baseline}: {row.rates[0]}; {arm}: {row.rates[1]}"
    return f"{found}{regime}.{''.join(f' {_capital(reason)}.' for reason in row.reasons)}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def surprises(evidence: Evidence) -> list[str]:
    """Return the surprises in the data, above all where the arm loses; empty without any."""
    found, rows = [], rows_of(evidence)
    primary = rows[0].measure
    labels: dict[str, list[VerdictLabel]] = {}
    for judged in evidence.rows:
        if judged.measure.label == primary:
            labels.setdefault(judged.regime, []).append(judged.verdict.label)
    words = {regime: together(found) for regime, found in labels.items()}
    if len(words) == 2 and len(set(words.values())) == 2:
        found.append(f"With equal settings it is {words['equal']}, with each arm's own {words['tuned']}.")
    against = [row for row in rows if row.measure != primary and row.verdict.startswith(VerdictLabel.opposite)]
    for row in against[:MOST_OPPOSITE]:
        where = f", {row.where}" if row.where else ""
        found.append(f"OPPOSITE, {row.regime}{where}: {row.measure}: {change_cell(row.change, row.ratio)}.")
    if len(against) > MOST_OPPOSITE:
        found.append(f"OPPOSITE in {len(against) - MOST_OPPOSITE} more rows of the table.")
    return [*found, *_points_against(evidence)]


def _points_against(evidence: Evidence) -> Iterator[str]:
    """Say where the arm has the worse accuracy, unless that is what the claim says."""
    measure = evidence.deciding[0].measure if evidence.deciding else None
    if measure is None or (measure.value.endswith("accuracy") and measure.better == "lower"):
        return
    for regime, study in evidence.studies.items():
        metric, rows = rows_against(study, measure.baseline, by=study.grid_keys)
        if lower_is_better(metric) or not study.grid_keys:
            continue
        points = {str(row.point) for row in rows}
        behind = [row for row in rows if row.arm == measure.arm and standing(row, lower=False).sign < 0]
        behind.sort(key=lambda row: row.difference or 0)
        named = ", ".join(
            f"{' '.join(point_texts(row.point))} by {metric_text(metric, -(row.difference or 0))}"
            for row in behind[:MOST_POINTS]
        )
        more = f" and at {len(behind) - MOST_POINTS} more" if len(behind) > MOST_POINTS else ""
        if behind:
            what = f"{measure.arm} is behind {measure.baseline} in {metric.replace('_', ' ')}"
            yield f"At {len(behind)} of {counted(len(points), 'grid point')} ({regime}) {what}: {named}{more}."


def cost(evidence: Evidence) -> str:
    """Say what the runs cost; empty if nothing has run."""
    return f"{evidence.result.seconds:.0f} s" if evidence.result else cost_text(evidence.studies.values())


def cost_text(studies: Iterable[Study]) -> str:
    """Say how many trials were measured and how long they took; empty without any."""
    times = [each.trials["seconds"] for each in studies]
    trials, seconds = sum(map(len, times)), sum(each.sum() for each in times)
    return f"{counted(trials, 'measured trial')}, {seconds:.0f} s" if times else ""


def environments_text(studies: Iterable[Study]) -> str:
    """Say when and where studies were measured: dates, machines, versions."""
    abouts = [about for study in studies for about in study.environments.values()]
    machines = dict.fromkeys(
        f"{about.get('device_name')} ({about.get('device')}, {about.get('cores')} cores), "
        f"torch {about.get('torch')}, bnexp {about.get('bnexp')}"
        for about in abouts
    )
    if not machines:
        return ""
    days = sorted(str(about[key])[:10] for about in abouts for key in ("started", "ended") if about.get(key))
    when = f", {' to '.join(dict.fromkeys((days[0], days[-1])))}" if days else ""
    return f"Measured on {'; '.join(machines)}{when}."


ALWAYS = (
    *("data.name", "model.family", "model.depth", "model.width", "model.activation"),
    *("train.optimizer", "train.batch_size", "train.epochs", "train.steps", "train.lr"),
)
"""Settings that are named even if they have their defaults."""
OF_FAMILIES = ("model.depth", "model.width", "model.activation", "model.init.scheme", "model.norm.placement")
"""Settings that a network of the user's own brings with it; they are not named for one."""
UNTOLD = ("data.root", "train.record_at", "train.checkpoint_every")
"""Paths and recording, which change no result."""
MOST_VALUES = 4
"""If a swept setting has more values than this, only the first and the last are named."""


def setting_text(config: ExperimentConfig) -> str:
    """Say which settings all arms share, which are swept, and which every arm chose.

    A setting that is swept, chosen, or different between arms is not shared.
    """
    untuned, point = default_config(config), config.points()[0]
    own, *others = (_flat(untuned.settings(arm, point)) for arm in config.arms)
    usual = _flat(TrialSettings())
    apart = {key for key in own if any(other.get(key) != own[key] for other in others)}
    apart |= {*config.swept, *config.tune.options, *UNTOLD}
    sections: dict[str, list[str]] = {}
    for key, value in own.items():
        told = value is not None and (key in ALWAYS or value != usual.get(key))
        if told and not any(below(key, section) for section in apart):
            section, _, name = key.partition(".")
            text = value_text(value) if name == "name" else f"{name} {value_text(value)}"
            sections.setdefault(section, []).append(text)
    parts = [f"{name}: {', '.join(texts)}" for name, texts in sections.items()]
    if config.swept:
        parts.append(f"over {_axes({key: [point[key] for point in config.points()] for key in config.swept})}")
    if config.tune.options:
        parts.append(f"every arm chose of {config.tune.drawn or _axes(config.tune.grid)}")
    return "; ".join(parts)


def _axes(axes: Mapping[str, Any]) -> str:
    short = short_keys(list(axes))
    return ", ".join(f"{short[key]} {_values(values)}" for key, values in axes.items())


def _values(values: Any) -> str:
    texts = list(dict.fromkeys(map(value_text, values)))
    return f"{texts[0]} … {texts[-1]} ({len(texts)})" if len(texts) > MOST_VALUES else " / ".join(texts)


def _flat(settings: TrialSettings) -> dict[str, Any]:
    """Return every setting by its dotted key, with the numbers that null stands for."""
    model, train = settings.model, settings.train
    flat = {key: list(value) if isinstance(value, tuple) else value for key, value in leaves(settings)}
    flat |= {"model.depth": model.layers, "model.width": model.width or model.spec.width}
    if model.source:  # the network brings these with it
        flat |= {"model.source": str(NetworkSource.parse(model.source))} | dict.fromkeys(OF_FAMILIES)
    return flat if train.steps else flat | {"train.epochs": train.epochs or DEFAULT_EPOCHS}
