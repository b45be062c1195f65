"""Where to train, as the command line says it: what is refused before anything is loaded, and what it comes to."""

from typing import Any

import pytest
import torch

from bnexp.data.machine import available_cores
from bnexp.engines.engine import EngineChoice
from bnexp.engines.local import Local
from bnexp.errors import InputError
from tests.test_architecture import Imports, loaded_with

OPTIONS: dict[str, dict[str, Any]] = {
    "--address": {"address": "10.0.0.1:6379"},
    "--gpus-per-group": {"gpus_per_group": 0.5},
}


@pytest.fixture(params=[True, False])
def ray(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> bool:
    """Whether Ray is installed."""
    return installed(monkeypatch, request.param)


def installed(monkeypatch: pytest.MonkeyPatch, there: bool) -> bool:
    asked = {"ray": object()} if there else {}
    monkeypatch.setattr("bnexp.errors.find_spec", asked.get)
    return there


def refusal(chosen: EngineChoice) -> str:
    with pytest.raises(InputError) as caught:
        chosen.check()
    assert caught.value.exit_code == 2
    return str(caught.value)


def test_what_needs_no_ray_is_fine_without_it(ray: bool) -> None:
    EngineChoice().check()
    EngineChoice(device="cuda:3").check()


@pytest.mark.parametrize("given", [{}, *OPTIONS.values()])
def test_ray_is_fine_with_any_of_its_options_where_it_is_installed(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, Any]
) -> None:
    installed(monkeypatch, True)
    EngineChoice(engine="ray", **given).check()


@pytest.mark.parametrize(
    ("name", "hint"), [("rey", " (nearest: ray)"), ("locla", " (nearest: local)"), ("dask", ""), ("", "")]
)
def test_an_unknown_engine_is_refused_with_those_there_are(ray: bool, name: str, hint: str) -> None:
    assert refusal(EngineChoice(engine=name)) == f"--engine {name}: expected local or ray{hint}"


def test_ray_that_is_not_installed_is_refused_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    installed(monkeypatch, False)
    expected = "--engine ray: ray is not installed: pip install '.[ray]' in the clone of bnexp"
    assert refusal(EngineChoice(engine="ray", address="auto")) == expected


@pytest.mark.parametrize("option", OPTIONS)
def test_options_of_clusters_are_refused_without_one(ray: bool, option: str) -> None:
    assert refusal(EngineChoice(**OPTIONS[option])) == f"{option} is for clusters; add --engine ray"


def test_the_local_engine_is_entered_on_its_device() -> None:
    with EngineChoice(device="cpu").entered() as engine:
        assert engine == Local((torch.device("cpu"),), available_cores())


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"device": "tpu"}, "--device tpu: expected auto, cpu, cuda, cuda:i or mps"),
        ({"engine": "ray", "device": "cuda:1"}, "--device cuda:1: expected auto, cpu or cuda, since Ray gives out"),
        ({"engine": "ray", "gpus_per_group": 0.0}, "--gpus-per-group 0: expected a number above 0 and at most 1"),
        ({"engine": "ray", "gpus_per_group": 2.0}, "--gpus-per-group 2: expected a number above 0 and at most 1"),
        *(
            ({"engine": "ray", "address": address}, f"--address {address}: expected auto or HOST:PORT; ray start")
            for address in ("nobody", "host:port", ":6379", "host:")
        ),
    ],
)
def test_what_is_no_value_of_an_option_is_refused_though_nothing_may_be_trained(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, Any], said: str
) -> None:
    installed(monkeypatch, True)
    assert refusal(EngineChoice(**given)).startswith(said)


def test_choosing_needs_neither_torch_nor_ray() -> None:
    assert not {"torch", "ray"} & loaded_with("bnexp.engines.engine", Imports())
