"""A run for TensorBoard: an event file per trial, with its curves, its probes, its settings and how it ended."""

import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from math import isfinite, isnan
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bnexp.analysis.runs import compare_run
from bnexp.errors import InputError, check_installed
from bnexp.report.style import point_texts, value_text
from bnexp.report.summary import summary_markdown
from bnexp.report.trackers.tracked import FINAL, moments
from bnexp.store.reader import RunRecord

CLOCKS = ("epoch", "seconds")
"""Columns of curves.csv that aren't scalars: steps and wall times contain them."""

COMPARISON = "comparison"
"""Name of the comparison's text and of its sub-folder; a trial's folder always has a seed in its name."""

_SUFFIX = ".bnexp"
"""Ends the name of every event file, and tells them from those of other programs."""
_LONGEST = 100
"""Letters of a trial's name before its seed and number."""


def write_events(run: RunRecord, folder: Path) -> int:
    """Write a run as TensorBoard event files and return the number of trials in them.

    Every trial that has a record or an outcome gets a sub-folder. Its scalars are the columns of curves.csv under
    their own names, at the record's step and at the run's start plus the trial's seconds, and what probes found, as
    `probe/layer`, or `probe` for the whole network; blanks and values that are not finite are left out. Its
    hyperparameters are arm, seed and grid values; the FINAL numbers follow as `final/…`. Of a run that is complete, the
    comparison with its warnings is a text in a sub-folder of its own, COMPARISON. A folder of earlier events is
    replaced as a whole.

    Raises:
        InputError: TensorBoard is not installed, or the folder can't be written or holds other files.
    """
    check_installed("tensorboard")
    started = datetime.fromisoformat(run.environment["started"]).timestamp()
    trials = run.trials[run.trials["trial"].isin(run.curves["trial"]) | run.trials["outcome"].notna()]
    with _replacing(folder) as beside:
        for trial in trials.to_dict("records"):
            settings = {key: _setting(trial[key]) for key in ("arm", "seed", *run.config.swept)}
            records, probes = (table[table["trial"] == trial["trial"]] for table in (run.curves, run.probes))
            with _writer(beside / trial_name(trial["trial"], settings), started) as writer:
                _add_trial(writer, trial, settings, records, probes, started)
        if run.complete:  # before that, a later text would replace what a watching TensorBoard has read
            with _writer(beside / COMPARISON, started) as writer:
                text = summary_markdown(compare_run(run), run.path.name, run.question)
                writer.add_text(COMPARISON, text, walltime=started)
    return len(trials)


@contextmanager
def _writer(folder: Path, started: float) -> Iterator[Any]:
    """Hand out a SummaryWriter for a folder.

    Its file always has the same name: a TensorBoard that is watching reads on where it was.
    """
    from torch.utils.tensorboard import SummaryWriter  # imports TensorFlow, too, where that is installed

    with SummaryWriter(str(folder)) as writer:
        yield writer
    (written,) = folder.iterdir()
    written.rename(folder / f"events.out.tfevents.{int(started)}{_SUFFIX}")


def trial_name(number: int, settings: Mapping[str, Any]) -> str:
    """Return a trial's arm, grid values, seed and number as a name for a folder, allowed on any system."""
    point = {key: value for key, value in settings.items() if key not in ("arm", "seed")}
    # Without a dot in the arm, since Windows reads con.5 as the console.
    arm = _safe(str(settings["arm"])).replace(".", "-").strip("-") or "arm"
    parts = [arm, *(_safe(text.replace(" ", "=", 1)) for text in point_texts(point))]
    return f"{'_'.join(parts)[:_LONGEST]}_seed={settings['seed']}_trial={number}"


def _safe(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.+=-]+", "-", text)


def _setting(value: Any) -> bool | float | str:
    """Return a grid value as TensorBoard takes it: what is no number for JSON becomes its text."""
    if isinstance(value, bool | int | str) or (value is not None and isfinite(value)):
        return value
    return value_text(None if value is None or isnan(value) else value)


def _add_trial(
    writer: Any,
    trial: Mapping[Any, Any],
    settings: Mapping[str, Any],
    records: pd.DataFrame,
    probes: pd.DataFrame,
    started: float,
) -> None:
    """Add a trial in order of time; while a run goes on, later files only add to earlier ones."""
    from tensorboard.plugins.hparams.summary_v2 import hparams_pb

    # Without a name of its own, every trial is a row of the table, also beside other runs with the same settings.
    start = hparams_pb(dict(settings), trial_id="", start_time_secs=started)
    writer.file_writer.add_summary(start, walltime=started)
    step, now = 0, started
    for moment in moments(records, probes, started):
        step, now = moment.step, moment.time
        _add_scalars(writer, {tag: x for tag, x in moment.values.items() if tag not in CLOCKS}, step, now)
    if isinstance(trial["outcome"], str):
        _add_scalars(writer, {f"final/{name.removeprefix('final_')}": trial[name] for name in FINAL}, step, now)
        writer.file_writer.add_summary(_end(trial["outcome"], now), step, now)


def _add_scalars(writer: Any, values: Mapping[Any, float], step: int, now: float) -> None:
    """Add the values that are finite in TensorBoard's precision, float32."""
    largest = float(np.finfo(np.float32).max)
    for tag, value in values.items():
        if abs(value) <= largest:
            writer.add_scalar(tag, value, step, now)


def _end(outcome: str, now: float) -> Any:
    """Return the summary that ends a trial in the HPARAMS tab; a diverged trial is a result, not a failure."""
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2

    status = api_pb2.STATUS_FAILURE if outcome == "failed" else api_pb2.STATUS_SUCCESS
    info = plugin_data_pb2.SessionEndInfo(status=status, end_time_secs=now)
    content = metadata.create_summary_metadata(plugin_data_pb2.HParamsPluginData(session_end_info=info))
    value = Summary.Value(tag=metadata.SESSION_END_INFO_TAG, metadata=content, tensor=metadata.NULL_TENSOR)
    return Summary(value=[value])


@contextmanager
def _replacing(folder: Path) -> Iterator[Path]:
    """Provide a folder that replaces the given one at the end, or is removed after an error.

    Raises:
        InputError: something stands there that was not written here, or the system refuses.
    """
    ours = (path.is_dir() or path.name.endswith(_SUFFIX) for path in folder.rglob("*"))
    if folder.exists() and not (folder.is_dir() and all(ours)):
        raise InputError(f"{folder}: holds other files than event files of bnexp; name a folder of its own")
    beside, old = (folder.with_name(f".{folder.name}.{os.getpid()}.{role}") for role in ("new", "old"))
    try:
        beside.mkdir(parents=True)
        yield beside
        if folder.exists():
            folder.rename(old)
        beside.rename(folder)
    except OSError as error:
        raise InputError(f"{folder}: can't be written ({error.strerror})") from None
    finally:
        if old.exists() and not folder.exists():
            old.rename(folder)
        shutil.rmtree(beside, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
