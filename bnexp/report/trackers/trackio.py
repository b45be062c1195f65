"""Trackio: runs in a project of its local database."""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import redirect_stdout
from contextvars import copy_context
from io import StringIO
from typing import Any

from bnexp.config.text import counted
from bnexp.errors import InputError
from bnexp.report.trackers.tracked import TrackedRun

REMOTE = ("TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL")
"""Variables with which Trackio writes elsewhere."""
ID, DIGEST = "bnexp.id", "bnexp.digest"
"""Entries of a run's configuration: whose run it is, and a digest of its content."""


def hand_over(runs: Iterable[TrackedRun], project: str, target: str = "") -> str:
    """Hand tracked runs over to a project of Trackio's local database; see HandOver.

    A run that has changed takes the place of the one that is there.
    """
    if remote := [name for name in REMOTE if os.environ.get(name)]:
        raise InputError(f"--trackio: writes to this machine; unset {remote[0]}, and upload with trackio sync")
    import trackio

    apart = copy_context()  # where the last run isn't found at exit, which would say that it is finished
    with redirect_stdout(StringIO()):  # it prints a line or two for each run
        try:
            known = {run.config.get(ID): run for run in _runs(trackio, project) if run.config}
            changed = [apart.run(_update, trackio, project, known.get(each.id), each) for each in runs]
        except ValueError as error:
            raise InputError(f"--trackio: {error}") from error
    return f"Trackio: {counted(len(changed), 'run')} in project {project}, {sum(changed)} of them new or changed"


def _runs(trackio: Any, project: str) -> Iterator[Any]:
    try:
        yield from trackio.Api().runs(project)
    except ValueError:  # no such project yet
        return


def _update(trackio: Any, project: str, there: Any, each: TrackedRun) -> bool:
    """Replace the existing run with a tracked one, and return whether they differed."""
    if there and there.config.get(DIGEST) == each.digest:
        return False
    if there:
        there.delete()
    about = {**each.params, **each.tags, **each.finals, ID: each.id}
    _log(trackio, project, each, about, {moment.step: moment.values for moment in each.moments})
    # The digest comes with the last row: a run without it is written again.
    last = each.moments[-1].step if each.moments else 0
    ending = {last: each.finals or {"seconds": each.ended - each.started}}
    _log(trackio, project, each, about | {DIGEST: each.digest}, ending, resume="allow")
    return True


def _log(
    trackio: Any,
    project: str,
    each: TrackedRun,
    config: Mapping[str, Any],
    rows: Mapping[int, Mapping[str, float]],
    resume: str = "never",
) -> None:
    name = f"{each.group}: {each.name}"
    quiet = {"embed": False, "auto_log_cpu": False, "auto_log_gpu": False}
    run = trackio.init(project, name, each.group, config=dict(config), resume=resume, **quiet)
    for step, values in rows.items():
        run.log(dict(values), step=step)
    run.finish()
