"""One measurement, in a process of its own: `python -m benchmarks.gpu.measure NAME` prints a figure a line, as JSON."""

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass

import torch

from benchmarks.gpu import convolutions, sweep
from benchmarks.gpu.figures import Figure

REHEARSE = "--rehearse"


@dataclass(frozen=True)
class Measurement:
    """Something to measure on a GPU."""

    run: Callable[..., Iterable[Figure]]
    """Takes the device and, by name, how much to do."""
    small: Mapping[str, object]
    """How much to do in a rehearsal."""


DIGITS = ("data.name=digits", "grid.model.init.scale=[1, 0.1]", "train.steps=2", "train.record_at=[1]")
MEASUREMENTS = {
    "sweep": Measurement(sweep.against_loop, {"overrides": DIGITS, "rounds": 1}),
    "at_once": Measurement(
        sweep.at_once, {"overrides": ("data.name=digits", "train.steps=2"), "sizes": (1, 2), "rounds": 1}
    ),
    "kernel_share": Measurement(sweep.kernel_share, {"overrides": DIGITS, "steps": 2}),
    "fused": Measurement(sweep.fused, {"studies": (DIGITS,), "steps": 2, "rounds": 1}),
    "waiting": Measurement(sweep.whole_epoch, {"images": 256, "seeds": 1}),
    "convolutions": Measurement(convolutions.alone, {"width": 2, "steps": 1, "images": 128, "workers": 0, "rounds": 1}),
    "together": Measurement(convolutions.together, {"width": 2, "steps": 1, "trials": 2, "rounds": 1}),
}
"""By the name of the part of `make gpu`."""


def figures(name: str, device: torch.device, *, rehearse: bool = False) -> Iterator[Figure]:
    """Measure something, or go through all of it with as little work as possible."""
    measurement = MEASUREMENTS[name]
    yield from measurement.run(device, **(measurement.small if rehearse else {}))


def main(name: str, *, rehearse: bool) -> None:
    """Print figures as soon as they are there."""
    if not rehearse:
        return _print(figures(name, torch.device("cuda")))
    from tests.gpu.stand_in import cpu_in_place

    with cpu_in_place() as device:
        return _print(figures(name, device, rehearse=True))


def _print(found: Iterable[Figure]) -> None:
    for each in found:
        print(json.dumps(asdict(each)), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], rehearse=REHEARSE in sys.argv)
