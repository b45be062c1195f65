"""MLflow: runs in an experiment of a tracking server or a database, found again by a tag."""

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from io import StringIO
from typing import Any

from bnexp.config.text import counted
from bnexp.config.yaml import flow
from bnexp.errors import InputError
from bnexp.report.trackers.tracked import TrackedRun

ID, DIGEST = "bnexp.id", "bnexp.digest"
"""Tags: whose run it is, and a digest of its content, which is written last."""
MOST_METRICS, MOST_PARAMS = 1000, 100
"""The most values that MLflow takes in one request."""
RETRIES = "MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2"
"""How often a server that doesn't answer is asked again: for some seconds, not for the four minutes of MLflow."""
NOWHERE = "", "sqlite:", "sqlite::memory:"
"""URIs without slashes that keep nothing, or that MLflow replaces by its own."""


def hand_over(runs: Iterable[TrackedRun], project: str, uri: str) -> str:
    """Hand tracked runs over to the experiment `project` of a tracking URI; see HandOver.

    An existing run gets the values of steps that it lacks. Its settings stay, since MLflow can't change them.
    """
    if uri.replace("/", "") in NOWHERE:
        raise InputError(
            f'--mlflow "{uri}": expected where runs are kept, such as sqlite:///mlflow.db or http://HOST:5000'
        )
    os.environ.setdefault(*RETRIES)
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient

    try:
        client = MlflowClient(tracking_uri=uri)
        there = client.get_experiment_by_name(project)
        if there and there.lifecycle_stage == "deleted":
            raise InputError(
                f"--mlflow {uri}: experiment {project} is deleted there; restore it, or add --project NAME"
            )
        experiment = there.experiment_id if there else client.create_experiment(project)
        known = {run.data.tags[ID]: run for run in _runs(client, experiment) if ID in run.data.tags}
        with redirect_stdout(StringIO()):  # with a server, it prints two lines for each run
            changed = [_update(client, experiment, known.get(each.id), each) for each in runs]
    except MlflowException as error:
        raise InputError(f"--mlflow {uri}: {str(error).splitlines()[0]}") from error
    return f"{uri}: {counted(len(changed), 'run')} in experiment {project}, {sum(changed)} of them new or changed"


def _runs(client: Any, experiment: str) -> Iterator[Any]:
    token = None
    while True:
        page = client.search_runs([experiment], max_results=1000, page_token=token)
        yield from page
        if not (token := page.token):
            return


def _update(client: Any, experiment: str, found: Any, each: TrackedRun) -> bool:
    """Make MLflow's run equal to a tracked one, and return whether it wasn't equal already."""
    if found and found.data.tags.get(DIGEST) == each.digest:
        return False
    found = found or client.create_run(experiment, _milliseconds(each.started), {ID: each.id}, each.name)
    _write(client, found, each)
    return True


def _write(client: Any, run: Any, each: TrackedRun) -> None:
    """Write what MLflow's run lacks of a tracked run."""
    from mlflow.entities import Metric, Param, RunTag

    number, series = run.info.run_id, dict[str, list[Metric]]()
    for moment in each.moments:
        for name, value in moment.values.items():
            metric = Metric(_allowed(name), value, _milliseconds(moment.time), moment.step)
            series.setdefault(metric.key, []).append(metric)
    last = each.moments[-1].step if each.moments else 0
    for name, value in each.finals.items():
        series[_allowed(name)] = [Metric(_allowed(name), value, _milliseconds(each.ended), last)]
    missing = list(_missing(client, run, series))
    for first in range(0, len(missing), MOST_METRICS):
        client.log_batch(number, metrics=missing[first : first + MOST_METRICS])
    params = {_allowed(name): value if isinstance(value, str) else flow(value) for name, value in each.params.items()}
    new = [Param(name, text) for name, text in params.items() if name not in run.data.params]
    for first in range(0, len(new), MOST_PARAMS):
        client.log_batch(number, params=new[first : first + MOST_PARAMS])
    if each.state == "running":
        client.update_run(number, status="RUNNING")
    else:
        client.set_terminated(number, each.state.upper(), _milliseconds(each.ended))
    tags = {f"bnexp.{name}": text for name, text in each.tags.items()} | {DIGEST: each.digest}
    client.log_batch(number, tags=[RunTag(name, text) for name, text in tags.items()])


def _missing(client: Any, run: Any, series: Mapping[str, Sequence[Any]]) -> Iterator[Any]:
    """Yield the metrics of steps that a run has none of."""
    for key, metrics in series.items():
        history = client.get_metric_history(run.info.run_id, key) if key in run.data.metrics else ()
        there = {metric.step for metric in history}
        yield from (metric for metric in metrics if metric.step not in there)


def _allowed(name: str) -> str:
    """Return a name with `_` for letters that MLflow refuses in names."""
    return re.sub(r"[^\w\-. :/]", "_", name)


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)
