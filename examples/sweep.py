"""Raises the learning rate until no arm learns any more: a sweep whose next value depends on the results so far.

    python examples/sweep.py quickstart [KEY=VALUE ...]

Values that are known beforehand belong into one grid, which trains them together: grid.train.lr=[0.1,0.3,1]. Here each
rate is a `bnexp run --json` of its own. Started again, the script trains nothing that has finished.
"""

import json
import subprocess
import sys
from typing import Any

FIRST, FACTOR, MOST = 0.1, 3, 6
"""The first rate, the factor from one to the next, and how many rates there are at most."""
LEARNED = 0.5
"""The mean test accuracy from which an arm has learned."""


def bnexp(*words: str) -> Any:
    """Run a command of bnexp and return what its --json prints; an error ends the script with bnexp's message."""
    command = [sys.executable, "-m", "bnexp", *words, "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE)
    if done.returncode:
        sys.exit(done.returncode)
    return json.loads(done.stdout)


def main(words: list[str]) -> None:
    """Sweep, and print a line for each rate and arm."""
    print("lr\tarm\ttest accuracy\tdiverged")
    for rate in (FIRST * FACTOR**number for number in range(MOST)):
        (compared,) = bnexp("run", *words, f"train.lr={rate:g}")
        learned = False
        for row in compared["rows"]:
            mean = row["mean"] or 0.0  # null where no trial has a finite accuracy
            learned |= mean >= LEARNED
            print(f"{rate:g}\t{row['arm']}\t{mean:.3f}\t{row['diverged']} of {row['trials']}")
        if not learned:
            break


if __name__ == "__main__":
    main(sys.argv[1:])
