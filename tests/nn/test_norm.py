"""K norm layers at once against K of torch's own: outputs, gradients, running statistics, and what γ and β do."""

import pytest
import torch
from torch import nn

from bnexp.config.model import ModelSettings
from bnexp.config.norm import NORMS, NormSettings
from bnexp.nn.norm import Norm
from tests.helpers import EXACT_FLOAT64, assert_close, noise, pairwise, randomized
from tests.nn.plain import Layers

TRIALS, BATCH, FEATURES, GROUPS = 3, 5, 6, 2
AFFINE = {"both": {"gamma", "beta"}, "gamma": {"gamma"}, "beta": {"beta"}, "none": set()}

KINDS = [kind for kind in NORMS if kind != "none"]
OVER_FEATURES = [kind for kind in KINDS if not NORMS[kind].over_places]
LAYOUTS = [
    (kind, layout) for kind in KINDS for layout in ("features", "images") if layout == "images" or kind in OVER_FEATURES
]


def make(kind: str, seed: int = 0, **settings: object) -> Norm:
    """A norm layer of K trials with random γ and β."""
    norm = NORMS[kind].load()(
        TRIALS, FEATURES, NormSettings.model_validate({"kind": kind, "groups": GROUPS, **settings})
    )
    randomized(norm, seed)
    return norm


def batch(number: int) -> torch.Tensor:
    return (2 + number) * noise(TRIALS, BATCH, FEATURES, seed=50 + number) + number


def pictures(number: int) -> torch.Tensor:
    """Images (B, K·C, H, W), the channels last in memory."""
    x_BDHW = (2 + number) * noise(BATCH, TRIALS * FEATURES, 4, 3, seed=70 + number) + number
    return x_BDHW.contiguous(memory_format=torch.channels_last)


def activations(layout: str, number: int) -> torch.Tensor:
    return {"features": batch, "images": pictures}[layout](number)


def of_trial(x: torch.Tensor, k: int) -> torch.Tensor:
    """The activations of one trial, as torch.nn has them."""
    return x[k] if x.ndim == 3 else x[:, k * FEATURES : (k + 1) * FEATURES]


def together(each: list[torch.Tensor]) -> torch.Tensor:
    return torch.stack(each) if each[0].ndim == 2 else torch.cat(each, dim=1)


def references(kind: str, norm: Norm, layout: str, momentum: float = 0.1) -> list[nn.Module]:
    """torch's modules with the parameters of each trial."""
    settings = {"kind": kind, "groups": GROUPS, "eps": norm.eps, "momentum": momentum}
    family = {"features": {}, "images": {"family": "vgg", "depth": 5}}[layout]
    model = ModelSettings.model_validate({"norm": settings, "width": FEATURES, **family})
    found = []
    for k in range(TRIALS):
        one = Layers(model, seed=0).norm(FEATURES)[0].double()
        one.weight, one.bias = (nn.Parameter(theta[k].detach().clone()) for theta in (norm.gamma, norm.beta))
        found.append(one)
    return found


@pytest.mark.parametrize(("kind", "layout"), LAYOUTS)
def test_outputs_and_gradients_equal_torchs_modules(kind: str, layout: str) -> None:
    # A large ε: a batch smaller than its features leaves whitening eigenvalues of 0.
    norm, x = make(kind, eps=0.1), activations(layout, 1).requires_grad_()
    alone = references(kind, norm, layout)
    by_hand = together([one(of_trial(x, k)) for k, one in enumerate(alone)])
    y, weights = norm(x), noise(*x.shape, seed=77)
    assert_close(y.detach(), by_hand.detach(), EXACT_FLOAT64)
    dx, dgamma, dbeta = torch.autograd.grad((y * weights).sum(), [x, norm.gamma, norm.beta])
    learned = [theta for one in alone for theta in (one.get_parameter("weight"), one.get_parameter("bias"))]
    expected_x, *expected = torch.autograd.grad((by_hand * weights).sum(), [x, *learned])
    assert_close(dx, expected_x, EXACT_FLOAT64)
    assert_close(dgamma, torch.stack(expected[::2]), EXACT_FLOAT64)
    assert_close(dbeta, torch.stack(expected[1::2]), EXACT_FLOAT64)


@pytest.mark.parametrize(("place", "momentum"), pairwise(LAYOUTS, [0.1, 0.7, 1.0]))
def test_several_batches_and_evaluation_equal_torchs_modules(place: tuple[str, str], momentum: float) -> None:
    kind, layout = place
    norm = make(kind, momentum=momentum, eps=0.1)
    alone = references(kind, norm, layout, momentum)
    for number in range(4):
        if number == 3:
            norm.eval()
        x = activations(layout, number)
        expected = together([one.train(norm.training)(of_trial(x, k)) for k, one in enumerate(alone)])
        y = norm(x)
        assert_close(y.detach(), expected.detach(), EXACT_FLOAT64)
        assert layout == "features" or y.is_contiguous(memory_format=torch.channels_last)
    kept = [name for name in norm.state_dict() if name.startswith("running")]
    assert kept == [name for name, _ in alone[0].named_buffers() if name.startswith("running")]
    assert bool(kept) == NORMS[kind].batch_statistics
    for name in kept:
        assert_close(norm.get_buffer(name), torch.stack([one.get_buffer(name) for one in alone]), EXACT_FLOAT64)


@pytest.mark.parametrize(("kind", "affine"), pairwise(OVER_FEATURES, AFFINE))
def test_a_missing_gamma_acts_as_one_and_a_missing_beta_as_zero(kind: str, affine: str) -> None:
    partly, whole = make(kind, affine=affine), make(kind)
    assert {name for name, _ in partly.named_parameters()} == AFFINE[affine]
    ones, zeros = torch.ones(TRIALS, FEATURES).double(), torch.zeros(TRIALS, FEATURES).double()
    whole.gamma.data = partly.gamma.detach().clone() if "gamma" in AFFINE[affine] else ones
    whole.beta.data = partly.beta.detach().clone() if "beta" in AFFINE[affine] else zeros
    assert_close(partly(batch(1)).detach(), whole(batch(1)).detach(), EXACT_FLOAT64)
    assert torch.equal(partly.gamma, ones) == ("gamma" not in AFFINE[affine])
    assert torch.equal(partly.beta, zeros) == ("beta" not in AFFINE[affine])


@pytest.mark.parametrize(
    ("place", "affine"), [*((place, "both") for place in LAYOUTS), (("batch", "features"), "none")]
)
def test_gradients_pass_the_numerical_check(place: tuple[str, str], affine: str) -> None:
    kind, layout = place
    # The running statistics change at every pass; in training they don't touch the output.
    norm = make(kind, affine=affine, momentum=0.1, eps=0.1)
    parameters = tuple(norm.parameters())
    names = [name for name, _ in norm.named_parameters()]

    def call(x: torch.Tensor, *values: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = torch.func.functional_call(norm, dict(zip(names, values, strict=True)), (x,))
        return output

    x = batch(1) if layout == "features" else pictures(1)[:3, :, :2, :2]
    assert torch.autograd.gradcheck(call, (x.requires_grad_(), *parameters), fast_mode=layout == "images")
    if NORMS[kind].twice_differentiable:
        assert torch.autograd.gradgradcheck(call, (x, *parameters), fast_mode=True)


SLICED = [kind for kind in KINDS if "over" in NORMS[kind].options]


@pytest.mark.parametrize("layout", ["features", "images"])
@pytest.mark.parametrize("kind", SLICED)
def test_slices_are_normalised_one_after_the_other(kind: str, layout: str) -> None:
    norm, one_by_one = (make(kind, momentum=0.3, eps=0.1, over=over) for over in (2, None))
    x = torch.cat([activations(layout, number) for number in (1, 2)], dim=1 if layout == "features" else 0)
    slices = list(x.split(2, 1 if layout == "features" else 0))
    weights = noise(*x.shape, seed=77)
    found = []
    for module, parts in ((norm, [x]), (one_by_one, slices)):
        inputs = [part.detach().requires_grad_() for part in parts]
        y = torch.cat([module(part) for part in inputs], 1 if layout == "features" else 0)
        gradients = torch.autograd.grad((y * weights).sum(), [module.gamma, module.beta, *inputs])
        dx = torch.cat(gradients[2:], 1 if layout == "features" else 0)
        found.append([y.detach(), dx, *gradients[:2], *module.state_dict().values()])
        assert layout == "features" or y.is_contiguous(memory_format=torch.channels_last)
    for one, other in zip(*found, strict=True):
        assert_close(one, other, EXACT_FLOAT64)
    assert_close(norm.eval()(x).detach(), one_by_one.eval()(x).detach(), EXACT_FLOAT64)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if NORMS[kind].batch_statistics])
def test_a_batch_of_one_cannot_be_normalised_in_training_but_can_in_evaluation(kind: str) -> None:
    norm, x_KBC = make(kind), batch(1)[:, :1]
    with pytest.raises(ValueError, match=r"more than (1 value per channel|one sample)"):
        norm(x_KBC)
    assert norm.eval()(x_KBC).shape == (TRIALS, 1, FEATURES)


@pytest.mark.parametrize(("place", "number"), pairwise(LAYOUTS, [float("nan"), float("inf"), -float("inf")]))
def test_one_trial_with_nan_or_infinity_changes_no_other(place: tuple[str, str], number: float) -> None:
    kind, layout = place
    norm, spoilt, x = make(kind), make(kind), activations(layout, 1)
    bad = x.clone()
    of_trial(bad, 1)[2, 3] = number
    clean, y = norm(x), spoilt(bad)
    for k in (0, 2):
        assert torch.equal(of_trial(y, k), of_trial(clean, k))
        assert all(torch.equal(spoilt.state_dict()[name][k], kept[k]) for name, kept in norm.state_dict().items())
    if NORMS[kind].batch_statistics:
        hit = ~of_trial(y, 1).isfinite()
        assert bool((hit if kind == "whiten" else hit[:, 3]).all())


UNCENTRED = ("variance", "rms")


@pytest.mark.parametrize(("kind", "value", "training"), pairwise(OVER_FEATURES, [0.0, 37.0], [True, False]))
def test_features_without_variance_become_beta_and_gradients_stay_finite(
    kind: str, value: float, training: bool
) -> None:
    norm = make(kind, momentum=1.0)
    x_KBC = torch.full((TRIALS, BATCH, FEATURES), value, dtype=torch.float64, requires_grad=True)
    norm(x_KBC)  # the running statistics, where there are any: mean of that value and variance 0
    y_KBC = norm.train(training)(x_KBC)
    expected_KC = norm.beta.detach()
    if kind in UNCENTRED:
        expected_KC = expected_KC + norm.gamma.detach() * value / (norm.eps + (kind == "rms") * value**2) ** 0.5
    assert_close(y_KBC.detach(), expected_KC[:, None].expand_as(y_KBC), EXACT_FLOAT64)
    gradients = torch.autograd.grad(y_KBC.square().sum(), [x_KBC, norm.gamma, norm.beta])
    assert all(gradient.isfinite().all() for gradient in gradients)
