"""Whole trainings over fake CUDA tensors, with all that happens between two updates, and what is done afterwards.

What holds here: no operation mixes devices, the host reads the device where a record is due, and what passes between
the two doesn't grow with the steps of an epoch.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import torch

from bnexp.config.probes import PROBES, ProbeSettings, ProbeSpec
from bnexp.data import normalize
from bnexp.data.catalog import DataShape
from bnexp.data.dataset import Dataset, Split
from bnexp.deploy.folding import fold_trial
from bnexp.engines.devices import data_key
from bnexp.plan import TrialGroup
from bnexp.probes import activations
from bnexp.probes.prober import ProbeContext, Value
from bnexp.records import Snapshot
from bnexp.runner import posthoc_probes
from bnexp.runner.trained import TrainedTrial
from bnexp.training import loop
from bnexp.training.estimate import estimated_seconds, probing_seconds
from bnexp.training.group_state import GroupTrainState
from bnexp.training.loop import train
from tests.gpu.audit import Audit
from tests.gpu.fake_cuda import CUDA, on_cuda
from tests.gpu.rehearsed import NETWORKS, audited
from tests.helpers import small_group

pytestmark = pytest.mark.usefixtures("fake_device")

READS = {"_Run._progress", "Prober.measure", "_Run._snapshot", "GraphedUpdate.__init__"}
"""Where the host may read the device while a group trains: records, what is saved, and the state before a capture."""
SHARPNESS = {"_largest", "_lanczos.<locals>.matvec", "_by_difference", "_by_difference.<locals>.product"}
"""Where it may for a search that runs on the host."""
SORTING = {"_Run.__init__", "ProbeContext.once"}
"""Where it may to sort images by class."""


def small(family: str, **special: Any) -> TrialGroup:
    usual = {"depth": None, "width": None} if family == "module" else {"dropout": 0.3}  # its code decides them
    model = NETWORKS[family] | usual | special.pop("model", {})
    return small_group(**{"rates": (0.1, 0.02), "seeds": 2, "model": model} | special)


def all_probes(*at: int, again: int = 1) -> list[ProbeSettings]:
    """Return every probe, with as little to look at as it takes: all after the first of some updates.

    One in `again` is taken after the others, too, where it is no long search.
    """
    least: dict[str, Callable[[ProbeSpec], int]] = {
        "points": lambda spec: 2,
        "batches": lambda spec: spec.fewest_batches,
    }
    found = []
    for number, (name, spec) in enumerate(PROBES.items()):
        searches = spec.one_trial_at_a_time or "points" in spec.options
        options = {key: of(spec) for key, of in least.items() if key in spec.options}
        found.append(ProbeSettings(name=name, at=at[:1] if searches or number % again else at, **options))
    return found


def crossings(some: TrialGroup, images: int) -> Counter[tuple[str, str]]:
    """Count what passes between host and device while a group trains, by kind and function."""
    data = on_cuda(some, images)
    with Audit() as audit:
        records = list(train(some, data))
    found = audit.crossings()
    assert found["read", "_Run._progress"] == len(records)
    return found


def test_what_passes_between_host_and_device_does_not_grow_with_the_steps() -> None:
    some = small("mlp", model={"depth": 1}, schedule="one_cycle", augment="flip_crop", precision="bf16")
    found = crossings(some, images=48)
    assert found == crossings(some, images=96)
    assert {function for kind, function in found if kind == "read"} <= READS
    assert not [function for kind, function in found if kind == "mixed"]


def test_what_does_grow_with_them_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    real = loop._Run._measure

    def measure(*args: Any, **more: Any) -> None:
        torch.tensor(0.0, device=CUDA).item()
        real(*args, **more)

    monkeypatch.setattr(loop._Run, "_measure", measure)
    some = small("mlp", model={"depth": 1}, epochs=1)
    assert {kind for kind, _ in crossings(some, 96) - crossings(some, 48)} == {"read", "copy"}


def trained(
    some: TrialGroup, probes: Sequence[ProbeSettings], resume: Snapshot | None = None
) -> list[tuple[tuple[int, ...], Snapshot]]:
    """Train a group as an engine does, and return its trials and their state at every record."""
    found, probed = [], 0
    with Audit() as audit:
        for progress in train(some, on_cuda(some), resume, probes):
            found.append((progress.record.trials, progress.snapshot()))
            probed += len(progress.probes)
    assert audit.of("mixed") == []
    reads = {function: count for (kind, function), count in audit.crossings().items() if kind == "read"}
    assert reads.keys() <= READS | SHARPNESS | (SORTING if some.settings.train.sampling == "by_class" else set())
    assert (reads["_Run._progress"], reads.get("Prober.measure", 0)) == (len(found), probed)
    return found


@pytest.mark.parametrize("fault", [lambda theta: theta.item(), lambda theta: theta * torch.ones(())])
def test_a_fault_in_a_probe_is_found(fault: Callable[[torch.Tensor], object], monkeypatch: pytest.MonkeyPatch) -> None:
    def saturation(context: ProbeContext, settings: ProbeSettings) -> Iterator[Value]:
        fault(context.rate_K[0])
        yield "", "saturation", context.rate_K

    monkeypatch.setattr(activations, "saturation", saturation)
    with pytest.raises(AssertionError):
        trained(small("mlp", epochs=1), [ProbeSettings(name="saturation")])


@pytest.mark.parametrize(
    ("family", "special", "again"),
    [
        ("mlp", {"model": {"norm": {"freeze_at": 3}}}, 5),
        pytest.param("mlp", {"precision": "tf32"}, 1, marks=pytest.mark.slow),
        pytest.param("vgg", {"precision": "bf16", "augment": "flip_crop_cutout"}, 1, marks=pytest.mark.slow),
        pytest.param("resnet", {"precision": "fp64", "optimizer": "adam"}, 1, marks=pytest.mark.slow),
        pytest.param("rnn", {"sampling": "by_class"}, 1, marks=pytest.mark.slow),
        pytest.param("mlp", {"model": {"norm": "whiten"}}, 1, marks=pytest.mark.slow),
        pytest.param("mlp", {"only": "norm"}, 1, marks=pytest.mark.slow),
        pytest.param("module", {}, 1, marks=pytest.mark.slow),
    ],
)
def test_a_group_is_probed_drops_trials_and_is_resumed(family: str, special: dict[str, Any], again: int) -> None:
    some = small(family, rates=(0.1,), stop_diverged=True, epochs=3, batch_size=48, **special)
    first, probes = some.numbers[0], all_probes(1, 6, again=again)
    found = trained(some, probes)
    # Made-up numbers say of all trials but the first that they are diverged.
    assert [trials for trials, _ in found] == [some.numbers] * 2 + [(first,)] * 2
    resumed = trained(some.only({first}), probes, found[2][1])
    assert [snapshot.step for _, snapshot in resumed] == [found[3][1].step]


@pytest.mark.parametrize(
    ("family", "one_in"), [("mlp", 3), *(pytest.param(name, 1, marks=pytest.mark.slow) for name in NETWORKS)]
)
def test_what_is_trained_is_measured_and_folded_on_the_device(family: str, one_in: int) -> None:
    some = small(family, rates=(0.1,), seeds=1)
    data = on_cuda(some)
    state = GroupTrainState(some, data).network.state_dict()
    arrays = {name: tensor.cpu().numpy() for name, tensor in state.items()}
    alone = TrainedTrial(some.trials[0], Snapshot(some.numbers, 1, 6, 0.0, arrays))
    probes = all_probes(6)[::one_in]
    with Audit() as audit:
        if family != "module":  # whose layers are copied, which fake tensors can't be
            assert (fold_trial(alone, data, CUDA).proof is None) == (family == "rnn")
        measured = posthoc_probes._measure({0: alone}, probes, {data_key(some): data}, {0: 0.1}, CUDA, some)
    assert measured.values
    assert audit.of("mixed") == []


@pytest.fixture
def uncounted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scale images without counting their bytes: that is done on the host, and takes numbers."""
    moments = torch.zeros(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    monkeypatch.setattr(normalize, "_shift_and_spread", lambda images_NCHW, scaling: moments)


@pytest.mark.parametrize("scaling", ["pca_whiten", pytest.param("zca_whiten", marks=pytest.mark.slow)])
def test_images_are_whitened_on_the_device(scaling: str, uncounted: None) -> None:
    images_NP = torch.zeros(96, 16, dtype=torch.uint8)
    with Audit() as audit:
        scaled = normalize.fit(images_NP.view(-1, 1, 4, 4), scaling, {3: 2.0}, CUDA, torch.float32)
        kept = Split(scaled.kept(images_NP), torch.zeros(96, dtype=torch.int64).to(CUDA))
    assert audit.of("mixed") == []
    some = small("mlp", augment="flip_crop_cutout")
    audited(some, Dataset(DataShape((1, 4, 4), 3, 96, 96, 96), kept, kept, kept, scaled))
    assert scaled(images_NP.to(CUDA)).device == CUDA


def test_what_training_will_take_is_estimated_on_the_device(uncounted: None) -> None:
    some, shape = small("mlp", rates=(0.1,), seeds=1), DataShape((1, 4, 4), 3, 96, 32, 32)
    with Audit() as audit:
        assert estimated_seconds(some, shape, CUDA) > 0
        assert probing_seconds(some, shape, CUDA, [ProbeSettings(name="drift")]) > 0
    assert audit.of("mixed") == []
