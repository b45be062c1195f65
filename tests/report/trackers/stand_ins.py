"""Stand-ins for the trackers' packages, for machines without them; as strict as these where it matters."""

import json
import re
from collections import defaultdict
from itertools import count
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any


def modules(**contents: dict[str, Any]) -> dict[str, ModuleType]:
    """Modules by their dotted names (`__` for a dot) with some content."""
    found = {}
    for name, content in contents.items():
        module = ModuleType(name.replace("__", "."))
        module.__dict__.update(content)
        found[module.__name__] = module
    return found


def mlflow() -> dict[str, ModuleType]:
    """MLflow: appends every metric that it is given, changes no parameter, and limits names and batches."""

    class MlflowError(Exception):
        pass

    stores: dict[str, dict[str, Any]] = defaultdict(dict)
    numbers = count(1)

    class Client:
        def __init__(self, tracking_uri: str):
            if "://" not in tracking_uri:
                raise MlflowError(f"no such store: {tracking_uri}\nwith a second line")
            self.experiments = stores[tracking_uri]

        def get_experiment_by_name(self, name: str) -> Any:
            stage = "deleted" if name == "deleted" else "active"
            return SimpleNamespace(experiment_id=name, lifecycle_stage=stage) if name in self.experiments else None

        def create_experiment(self, name: str) -> str:
            self.experiments[name] = []
            return name

        def search_runs(self, experiments: list[str], max_results: int, page_token: int | None) -> Any:
            start = page_token or 0
            page = Page(self.experiments[experiments[0]][start : start + 2])
            page.token = start + 2 if len(page) == 2 else None
            return page

        def create_run(self, experiment: str, start_time: int, tags: dict[str, str], run_name: str) -> Any:
            info = SimpleNamespace(run_id=next(numbers), run_name=run_name, status="RUNNING", start_time=start_time)
            run = SimpleNamespace(info=info, data=SimpleNamespace(tags=dict(tags), params={}, metrics={}), history=[])
            self.experiments[experiment].append(run)
            return run

        def _run(self, number: int) -> Any:
            return next(run for runs in self.experiments.values() for run in runs if run.info.run_id == number)

        def get_metric_history(self, number: int, key: str) -> list[Any]:
            return [metric for metric in self._run(number).history if metric.key == key]

        def log_batch(self, number: int, metrics: Any = (), params: Any = (), tags: Any = ()) -> None:
            run = self._run(number)
            assert len(metrics) <= 1000
            assert len(params) <= 100
            assert all(re.fullmatch(r"[\w\-. :/]+", each.key) for each in [*metrics, *params])
            for metric in metrics:
                run.history.append(metric)
                run.data.metrics[metric.key] = metric.value
            for param in params:
                assert run.data.params.setdefault(param.key, param.value) == param.value
            run.data.tags |= {tag.key: tag.value for tag in tags}

        def update_run(self, number: int, status: str) -> None:
            self._run(number).info.status = status

        def set_terminated(self, number: int, status: str, end_time: int) -> None:
            self._run(number).info.status = status
            print(f"🏃 View run {number}")  # as the real one does with a server

    class Page(list[Any]):
        token: int | None = None

    def entity(key: str, value: Any, timestamp: int = 0, step: int = 0) -> SimpleNamespace:
        return SimpleNamespace(key=key, value=value, timestamp=timestamp, step=step)

    return modules(
        mlflow={},
        mlflow__tracking={"MlflowClient": Client},
        mlflow__exceptions={"MlflowException": MlflowError},
        mlflow__entities=dict.fromkeys(("Metric", "Param", "RunTag"), entity),
    )


def wandb(folder: Path, mode: str) -> dict[str, ModuleType]:
    """W&B: a file for each run; online one for each id, of which steps before the last are dropped."""

    class WandbError(Exception):
        pass

    numbers = count(1)

    class Run:
        def __init__(self, path: Path, resume: bool, about: dict[str, Any]):
            self.path, self.rows = path, []
            self.summary: dict[str, Any] = {}
            if resume and path.exists():
                self.rows = json.loads(path.read_text())["rows"]
            self.about = about

        @property
        def step(self) -> int:
            return self.rows[-1]["_step"] + 1 if self.rows else 0

        def log(self, values: dict[str, Any], step: int) -> None:
            assert step >= self.step, "W&B drops this row"
            self.rows.append(values | {"_step": step})

        def finish(self, exit_code: int) -> None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            whole = {"about": self.about, "rows": self.rows, "summary": self.summary, "exit": exit_code}
            self.path.write_text(json.dumps(whole))

    def init(*, id: str, resume: str | None, settings: Any, **about: Any) -> Run:
        if about["project"] == "no account":
            raise WandbError("No API key configured.")
        if "/" in about["project"]:
            raise WandbError(f"Invalid project name '{about['project']}': cannot contain '/'")
        name = f"offline-run-{next(numbers)}-{id}" if mode == "offline" else f"run-{id}"
        return Run(folder / name / "run.json", resume == "allow" and mode == "online", about | {"id": id})

    settings = SimpleNamespace(mode=mode, wandb_dir=str(folder))
    folder.mkdir(parents=True, exist_ok=True)
    content = {"init": init, "Error": WandbError, "Settings": dict, "setup": lambda: SimpleNamespace(settings=settings)}
    content["teardown"] = lambda: None
    return modules(wandb=content)


def trackio() -> dict[str, ModuleType]:
    """Trackio: appends rows, writes a configuration with the first row only, and talks."""
    projects: dict[str, list[Any]] = {}

    class Run:
        def __init__(self, project: str, name: str, config: dict[str, Any]):
            self.project, self.name, self.config = project, name, None
            self.rows: list[Any] = []
            self._config = config

        def log(self, metrics: dict[str, float], step: int) -> None:
            self.rows.append((step, metrics))
            self.config = self._config
            there = projects.setdefault(self.project, [])
            if self not in there:
                there.append(self)

        def finish(self) -> None:
            print("* Run finished.")

        def delete(self) -> None:
            projects[self.project].remove(self)

    def init(project: str, name: str, group: str, config: dict[str, Any], resume: str, **quiet: bool) -> Run:
        if not project:
            raise ValueError("a project needs a name")
        known = [run for run in projects.get(project, []) if run.name == name] if resume == "allow" else []
        run = known[-1] if known else Run(project, name, config)
        run._config = {**config, "_Group": group}
        return run

    def runs(project: str) -> list[Run]:
        if project not in projects:
            raise ValueError("no such project")
        return list(projects[project])

    return modules(trackio={"init": init, "Api": lambda: SimpleNamespace(runs=runs)})
