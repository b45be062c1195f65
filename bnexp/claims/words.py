"""Verdicts in words that a student understands at first reading, and the study notes that claims come from."""

from collections.abc import Mapping
from math import exp

from bnexp.claims.evidence import Evidence, Judgement
from bnexp.claims.rows import NO_VERDICT, UNREADABLE, format_number, rows_of
from bnexp.claims.verdicts import VerdictLabel

NOTES: Mapping[str, str] = {
    "S0": "notes on batch normalization in PyTorch, after the Stanford course CS231n",
    "S1": "notes on the paper of Ioffe and Szegedy, on whitening and on smoother loss landscapes",
    "S2": "notes on *Deep Learning from Scratch*, chapter 6",
    "S3": "an introduction to batches and batch normalization",
    "S4": "notes on *Hands-On Machine Learning*, chapter 11",
}
"""The five sets of study notes, by the names under which claims cite them."""

MEANINGS: Mapping[str, str] = {
    "SUPPORTED": "the data agree with the claim. The 95 % interval of the difference is on the side of the claim, and "
    "on average the difference is large enough to matter: at least the margin, which was written down before the runs.",
    "OPPOSITE": "the data say the reverse, as clearly and by as much.",
    "EQUIVALENT": "it makes no difference that matters: the whole interval is smaller than the margin, on both sides.",
    "TOO SMALL": "there is a difference, but on average it is smaller than the margin.",
    "INCONCLUSIVE": "these runs can't tell. They are too few, or differ too much from each other.",
    "DEPENDS": "the answer is not the same everywhere; the verdict says what it is where.",
    "HOLDS, FAILS": "an exact statement was checked by code, up to rounding. *As corrected*: the notes have it wrong, "
    "and what was checked is the correction.",
}
"""The meaning of each verdict."""

_ANSWERS: Mapping[VerdictLabel, str] = {
    VerdictLabel.supported: "The data agree: the difference is clear and large enough to matter.",
    VerdictLabel.opposite: "The data say the reverse, clearly and by enough to matter.",
    VerdictLabel.equivalent: "It makes no difference that matters.",
    VerdictLabel.too_small: "There is a difference, but on average it is too small to matter.",
    VerdictLabel.inconclusive: "These runs can't tell.",
    VerdictLabel.holds: "It is exactly so.",
    VerdictLabel.fails: "It is not so.",
}


_CLEAR = (VerdictLabel.supported, VerdictLabel.opposite, VerdictLabel.too_small)
"""Verdicts that say which arm has the larger value."""
_ARMS = {
    "none": "without BN",
    "before": "with BN before the activation",
    "after": "with BN after the activation",
}


def legend() -> str:
    """Return the meaning of verdicts and of the names of the notes, as Markdown."""
    verdicts = "\n".join(f"- **{word}**: {meaning}" for word, meaning in MEANINGS.items())
    notes = "\n".join(f"- **{name}**: {what}" for name, what in NOTES.items())
    limits = "A verdict holds for the setting in which it was found, and no other."
    sources = "The claims come from five sets of study notes:"
    return "\n\n".join(("What the verdicts mean:", verdicts, limits, sources, notes))


def answer(evidence: Evidence) -> str:
    """Say in plain words what was found: the answer and, if one row decides, by how much the arms differ."""
    label, first = evidence.label, rows_of(evidence)[0]
    if label is None:
        told = {NO_VERDICT: "No number decides this; the picture shows what was seen.", UNREADABLE: "It can't be read."}
        return told.get(first.verdict, "It has not run yet.")
    corrected = "" if evidence.claim.settings.as_worded else " The notes have it wrong; this is about the correction."
    if len(evidence.deciding) > 1 and first.reasons:
        where = "It depends" if label is VerdictLabel.depends else "These runs can't tell everywhere"
        return f"{where}: {'; '.join(first.reasons)}.{corrected}"
    told_by = "".join(map(_difference, evidence.deciding)) if len(evidence.deciding) == 1 else ""
    return _ANSWERS[label] + (told_by if label in _CLEAR else "") + corrected


def _difference(row: Judgement) -> str:
    """Say which arm has the larger value, and by how much; empty if the arms don't have one value each."""
    measure, mean = row.measure, row.verdict.change
    if mean is None or measure.change or measure.is_slope:
        return ""
    way = "higher" if (mean > 0) == (measure.better == "higher") else "lower"
    size = f"by a factor of {format_number(exp(abs(mean)))}" if measure.as_ratio else f"by {format_number(abs(mean))}"
    arm, baseline = (_ARMS.get(name, f"with {name}") for name in (measure.arm, measure.baseline))
    return f" {measure.label[:1].upper()}{measure.label[1:]}: {way} {arm} than {baseline}, on average {size}."
