"""Weights & Biases: online runs that are resumed by their id, or, offline, a folder for each run."""

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bnexp.config.text import counted
from bnexp.errors import InputError
from bnexp.report.trackers.tracked import TrackedRun

MOST_LETTERS = 64
"""Letters of a tag."""
DIGEST = "bnexp.digest"
"""A file in the folder of an offline run: its project and a digest of its content, written last."""


def hand_over(runs: Iterable[TrackedRun], project: str, target: str = "") -> str:
    """Hand tracked runs over to a project of W&B's, as its own settings say: online or offline; see HandOver.

    Online, an existing run gets the steps after its last one, since W&B takes no earlier ones. Offline, the folder of a
    run that has changed replaces the previous one.
    """
    import wandb

    try:
        settings = wandb.setup().settings
        offline = settings.mode == "offline"
        options = {"console": "off", "silent": True, "disable_git": True, "disable_code": True, "x_disable_stats": True}
        names, written = list[str](), dict[str, str]()
        for each in runs:
            names.append(each.name)
            folders, content = _folders(settings, each.id), f"{project} {each.digest}"
            if any((folder / DIGEST).is_file() and (folder / DIGEST).read_text() == content for folder in folders):
                continue
            for folder in folders:
                shutil.rmtree(folder)
            _write(wandb, each, project, wandb.Settings(**options), resume=None if offline else "allow")
            written[each.id] = content
        wandb.teardown()  # which waits until all is written
        for name, content in written.items():
            for folder in _folders(settings, name):
                (folder / DIGEST).write_text(content)
    except wandb.Error as error:
        login = "wandb login, or WANDB_MODE=offline to write folders for wandb sync"
        remedy = "add --project NAME" if "project name" in str(error) else login
        raise InputError(f"--wandb: {str(error).splitlines()[0]} ({remedy})") from error
    if not offline:
        return f"W&B: {counted(len(names), 'run')} in project {project}"
    changed = f"{len(written)} of them new or changed; wandb sync uploads them"
    return f"{settings.wandb_dir}: {counted(len(names), 'run')} of project {project}, {changed}"


def _folders(settings: Any, name: str) -> list[Path]:
    """Return the folders of an offline run with some id; none online."""
    return [*Path(settings.wandb_dir).glob(f"offline-run-*-{name}")] if settings.mode == "offline" else []


def _write(wandb: Any, each: TrackedRun, project: str, settings: Any, resume: str | None) -> None:
    run = wandb.init(
        project=project,
        id=each.id,
        name=each.name,
        group=each.group,
        job_type=each.kind,
        config=dict(each.params),
        tags=[each.tags[name][:MOST_LETTERS] for name in ("kind", "outcome") if name in each.tags],
        notes=each.tags.get("question"),
        resume=resume,
        allow_val_change=True,
        reinit="create_new",
        settings=settings,
    )
    for moment in each.moments:
        if moment.step >= run.step:  # the one after its last
            run.log({**moment.values, "_timestamp": moment.time}, step=moment.step)
    last = dict(each.moments[-1].values) if each.moments else {}  # with what was measured there afterwards
    run.summary.update(last | dict(each.finals) | dict(each.tags))
    run.finish(exit_code=1 if each.state == "failed" else 0)
