"""The report as one HTML page: readable from a file without network, its charts drawn by the plotly.js inside it."""

import gzip
import json
import shlex
from base64 import b64encode
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import cache, partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from bnexp.analysis.comparison import Comparison
from bnexp.analysis.misclassified import Misclassified, misclassified
from bnexp.analysis.stats import EXACT_PAIRS
from bnexp.analysis.study import METRICS, Study
from bnexp.config.keys import leaves
from bnexp.config.model import Arguments
from bnexp.config.text import counted, escaped, have
from bnexp.config.trial import TrialSettings
from bnexp.records import DIVERGED_FACTOR
from bnexp.report.columns import column, estimate, number, value_column, words
from bnexp.report.comparison_views import usable_text
from bnexp.report.html.charts import chart_data, shown_trials
from bnexp.report.html.templates import asset, script_json, template
from bnexp.report.html.verdict import verdict
from bnexp.report.misclassified import images_table, shown_table
from bnexp.report.style import ON_DARK, short_keys, value_text
from bnexp.report.table import MISSING, Column, Table, plain_table
from bnexp.report.views import view_table

if TYPE_CHECKING:
    from bnexp.report.html.pictures import Picture, Place


PACKAGE = "bnexp.report.html"


def page(study: Study, comparison: Comparison, reload: int | None = None) -> str:
    """Return the page of a comparison of a study's arms, as far as they are trained.

    With `reload` a browser reads the page again after this many seconds, while the training goes on.

    Names from configurations are text everywhere: the template escapes them, the JSON of the charts can't end its
    script element, and the script writes text nodes only.
    """
    with ThreadPoolExecutor(1) as beside:  # zlib lets others have Python meanwhile
        plotly = beside.submit(_plotly)
        charts, images = chart_data(study, comparison), misclassified(study, comparison)
    return template(PACKAGE, "page.html.j2").render(
        study=study,
        comparison=comparison,
        so_far=_so_far(comparison),
        reload=reload,
        metric=words(comparison.metric),
        baseline=study.label(comparison.baseline),
        verdict=verdict(comparison, study.settings),
        tables=comparison_tables(comparison),
        images=images and [images_table(study, comparison, images.arms), shown_table(study, images)],
        pictures=_pictures(study, comparison, images),
        trials=trials_table(study),
        arm_settings=settings_table(study.settings, comparison.baseline),
        baseline_settings=baseline_table(study.settings, comparison.baseline),
        environments=environment_table(study.environments),
        exact_pairs=EXACT_PAIRS,
        usable=usable_text(comparison.robustness),
        diverged_factor=DIVERGED_FACTOR,
        arms={arm: i for i, arm in enumerate(study.arms)},
        charts=charts,
        data=script_json(charts),
        on_dark=script_json(ON_DARK),
        style=asset(PACKAGE, "page.css"),
        plotly=plotly.result(),
        scripts=[asset(PACKAGE, name) for name in ("theme.js", "charts.js", "page.js")],
    )


def _so_far(comparison: Comparison) -> str:
    """Say how far the trials are, and when that was; empty if all have ended."""
    if comparison.finished == comparison.planned:
        return ""
    ended = f"{comparison.finished} of {counted(comparison.planned, 'trial')} {have(comparison.finished)} ended"
    return f"{ended}. Everything here is as far as it was on {datetime.now():%Y-%m-%d at %H:%M:%S}, and may change."


def _pictures(
    study: Study, comparison: Comparison, images: Misclassified | None
) -> "Mapping[Place, Sequence[Picture]]":
    """Return the pictures by their place in the page."""
    if not (comparison.ladder or comparison.tuning or images or study.probes is not None):
        return {}
    from bnexp.report.html.pictures import pictures  # Matplotlib: most pages have charts only

    return pictures(study, comparison, images)


@cache
def _plotly() -> str:
    """Return plotly.js, compressed by gzip and in base64: less than half of its length."""
    from plotly.offline import get_plotlyjs  # only a page needs it

    # Level 9 takes twice as long and saves one per cent.
    return b64encode(gzip.compress(get_plotlyjs().encode(), compresslevel=5, mtime=0)).decode()


# Tables.


ORDER = ("overall", "sequence", "ladder", "equal", "best", "tuning", "robust", "time", "diverged", "evaluation")
"""The order of the views on the page: the answer over all grid points comes first."""


def comparison_tables(comparison: Comparison) -> list[Table]:
    """Return the tables of the comparison that have something to show."""
    found = (view_table(comparison, view).known() for view in ORDER)
    return [table for table in found if table.records]


NUMBERS = (*METRICS, "highest_batch_loss")
"""Columns of trials.csv in the table of trials."""


def trials_table(study: Study) -> Table:
    """Return a row per trial, under the id that the points of the charts lead to; see shown_trials."""
    trials = shown_trials(study)
    trials = trials.assign(id=[f"trial-{trial}" for trial in trials["trial"]])
    known = trials.astype(object).where(trials.notna(), None)
    records = [SimpleNamespace(**{str(name): value for name, value in row.items()}) for row in known.to_dict("records")]
    columns: list[Column[Any]] = [
        *([Column("run", lambda row: row.run, kind="text")] if len(study.runs) > 1 else []),
        Column("trial", lambda row: str(row.number)),
        Column("arm", lambda row: row.arm, kind="arm"),
        Column("seed", lambda row: str(row.seed)),
        *(value_column(key, name, trials[key]) for key, name in short_keys(study.grid_keys).items()),
        Column("outcome", _outcome, kind="text"),
        *(column(words(name), [name], partial(estimate, name)) for name in NUMBERS if name in trials),
        column("seconds", ["seconds"], number),
    ]
    notes = ["Points of the charts lead to these rows."]
    if len(trials) < len(study.trials):
        notes.append(f"Of {len(study.trials)} trials, evenly spaced; trials.csv has all.")
    return Table(tuple(columns), records, counted(len(records), "trial"), tuple(notes), name="trials").known()


def _outcome(trial: Any) -> str:
    """Write how a trial ended, or that it hasn't."""
    if trial.outcome is None:
        return "not finished"
    if trial.outcome == "diverged" and trial.diverged_step is not None:
        return f"diverged at step {trial.diverged_step:.0f}"
    return f"{trial.outcome}: {trial.reason}" if trial.reason else trial.outcome


def settings_table(settings: Mapping[str, TrialSettings], baseline: str) -> Table:
    """Return the settings in which arms differ from the baseline, with a column per arm, the baseline first."""
    values = {arm: _settings(settings[arm]) for arm in sorted(settings, key=lambda arm: arm != baseline)}
    keys = dict.fromkeys(key for of_arm in values.values() for key in of_arm)
    rows = [(key, *(of_arm.get(key, MISSING) for of_arm in values.values())) for key in keys]
    differing = [row for row in rows if len(set(row[1:])) > 1]
    note = "All other settings are equal. Shown at the first grid point."
    return plain_table(("setting", *values), differing, "Where the arms differ", (note,), name="arm-settings")


def baseline_table(settings: Mapping[str, TrialSettings], baseline: str) -> Table:
    """Return every setting of the baseline."""
    rows = list(_settings(settings[baseline]).items()) if baseline in settings else []
    title, notes = f"Every setting of {baseline}", ("At the first grid point.",)
    return plain_table(("setting", "value"), rows, title, notes, name="settings-of-baseline")


def _settings(settings: TrialSettings) -> dict[str, str]:
    """Return every setting, and each argument of the user's own network."""
    found: dict[str, object] = {}
    for key, value in leaves(settings):
        is_arguments = isinstance(value, Arguments)
        found |= {f"{key}.{name}": each for name, each in value.items()} if is_arguments else {key: value}
    return {key: _written(value) for key, value in found.items()}


def environment_table(environments: Mapping[str, Mapping[str, object]]) -> Table:
    """Return the facts about every run: versions, device, times and command, a column per run."""
    names = dict.fromkeys(name for found in environments.values() for name in found if name != "format")
    rows = [(name, *(_recorded(name, found.get(name)) for found in environments.values())) for name in names]
    return plain_table(("", *environments), rows, "What it ran on", name="environments")


def _recorded(name: str, value: object) -> str:
    """Write a recorded fact: the command as a shell takes it, other lists of texts with semicolons."""
    if isinstance(value, list) and all(isinstance(word, str) for word in value):
        return escaped(shlex.join(value)) if name == "command" else "; ".join(value) or MISSING
    return MISSING if value is None else _written(value)


def _written(value: object) -> str:
    """Write a setting; lists and mappings as JSON."""
    if isinstance(value, Mapping | list | tuple):
        return json.dumps(value, ensure_ascii=False, default=str)
    return value_text(value)
