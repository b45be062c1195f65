"""What writing the run folder adds to training 320 trials."""

import tempfile
from contextlib import closing
from functools import partial
from pathlib import Path

from benchmarks.study import CONFIG
from benchmarks.timing import Timed, timed
from bnexp.config.load import load
from bnexp.engines.local import execute
from bnexp.engines.messages import Job
from bnexp.runner.prepare import Plan, prepare
from bnexp.runner.run import Recorder
from bnexp.store.checkpoints import Checkpoints
from bnexp.store.writer import RunWriter


def run(rounds: int = 3) -> str:
    """Return a sentence: init_scale with ten seeds, all records and weights written."""
    shares, totals = [], []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as runs:
            plan = prepare(load(CONFIG, ["seeds=10"]), Path(runs), "cpu")
            spent = 0.0

            def act(plan: Plan = plan) -> None:
                nonlocal spent
                spent = _train(plan)

            total = timed(act)
            shares.append(100 * spent / (total - spent))
            totals.append(total)
    trials, groups = len(plan.trials), len(plan.groups)
    share = Timed(tuple(shares))
    return (
        f"Recording {trials} trials in {groups} groups (`init_scale`, 10 seeds; curves, outcomes and final weights): "
        f"{share} % of the training time, which was {Timed(tuple(totals))} s, on the CPU; {rounds} runs. To reach: 3 %."
    )


def _train(plan: Plan) -> float:
    """Train a plan as `bnexp run` does and return the seconds that its recorder took."""
    writer = RunWriter.create(plan.path, plan.config, plan.trials, {})
    recorder = Recorder(writer, Checkpoints(plan.path), plan.config.train.checkpoint_every)
    spent = 0.0
    with closing(execute([Job.new(group) for group in plan.groups], plan.datasets)) as events:
        for event in events:
            spent += timed(partial(recorder, event))
    writer.close()
    return spent
