"""Whitening: what a batch becomes, what is kept for evaluation, and a derivative safe at equal eigenvalues."""

import pytest
import torch
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st

from bnexp.config.norm import NormSettings
from bnexp.nn.whiten import Whiten, inverse_root
from tests.helpers import EXACT_FLOAT64, assert_close, noise, randomized
from tests.nn.plain import PlainWhitening

TRIALS, BATCH, FEATURES = 3, 20, 6


def make(trials: int = TRIALS, features: int = FEATURES, **settings: object) -> Whiten:
    """Whitening in float64, without γ and β unless asked for."""
    layer = Whiten(trials, features, NormSettings.model_validate({"kind": "whiten", "affine": "none", **settings}))
    return layer.double()


def batch(number: int = 0, samples: int = BATCH) -> torch.Tensor:
    """Correlated features of unlike means and scales."""
    x_KBC = noise(TRIALS, samples, FEATURES, seed=20 + number) @ noise(TRIALS, FEATURES, FEATURES, seed=40)
    return (1 + number) * x_KBC + noise(TRIALS, 1, FEATURES, seed=60 + number)


def as_images(x_KBC: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """The samples as places of images."""
    return x_KBC.mT.unflatten(2, (-1, height, width)).permute(2, 0, 1, 3, 4).flatten(1, 2)


def as_samples(x_BDHW: torch.Tensor) -> torch.Tensor:
    return x_BDHW.unflatten(1, (TRIALS, -1)).permute(1, 0, 3, 4, 2).flatten(1, 3)


def covariance(x_NC: torch.Tensor, correction: int = 0) -> torch.Tensor:
    found: torch.Tensor = torch.cov(x_NC.T, correction=correction)
    return found


@pytest.mark.parametrize(("layout", "size"), [("features", None), ("features", 2), ("images", 1), ("images", 3)])
def test_it_equals_a_slow_transcription_group_by_group(layout: str, size: int | None) -> None:
    layer, x_KBC = make(affine="both", group_size=size, eps=1e-3), batch()
    randomized(layer)
    y_KBC = layer(x_KBC) if layout == "features" else as_samples(layer(as_images(x_KBC, 5, 2)))
    for k in range(TRIALS):
        plain = PlainWhitening(FEATURES, size, eps=1e-3).double()
        plain.weight.data, plain.bias.data = layer.gamma[k].detach(), layer.beta[k].detach()
        assert_close(y_KBC[k].detach(), plain(x_KBC[k]).detach(), EXACT_FLOAT64)


def gradients_agree(x: torch.Tensor, **settings: object) -> bool:
    layer = make(eps=0.05, **settings)
    return torch.autograd.gradcheck(layer, (x.detach().clone().requires_grad_(),))


def orthogonal() -> torch.Tensor:
    """A batch whose features are uncorrelated and of one variance: all eigenvalues are equal."""
    q, _ = torch.linalg.qr(torch.cat([torch.ones(8, 1).double(), noise(8, FEATURES)], dim=1))
    return 8**0.5 * q[None, :, 1:].expand(TRIALS, -1, -1)


@pytest.mark.parametrize("size", [None, 2])
def test_gradients_pass_the_numerical_check_where_eigenvalues_are_equal(size: int | None) -> None:
    values = torch.linalg.eigvalsh(covariance(orthogonal()[0]))
    assert_close(values, torch.ones(FEATURES), EXACT_FLOAT64)
    assert gradients_agree(orthogonal(), group_size=size)
    assert gradients_agree(as_images(orthogonal(), 2, 2), group_size=size)
    assert gradients_agree(make(eps=1e-12)(batch(samples=8)))  # white already
    assert gradients_agree(torch.zeros(TRIALS, 4, FEATURES).double())  # all eigenvalues 0


def symmetric(values: list[float], seed: int = 0) -> torch.Tensor:
    """A matrix with these eigenvalues."""
    q, _ = torch.linalg.qr(noise(len(values), len(values), seed=seed))
    return q @ torch.diag(torch.tensor(values, dtype=torch.float64)) @ q.T


def test_eigenvalues_that_rounding_leaves_below_zero_count_as_zero() -> None:
    for seed in range(8):
        sigma = symmetric([0.0, 0.0, 100.0], seed)
        assert bool(inverse_root(sigma, 1e-30).isfinite().all())
        assert_close(inverse_root(-sigma, 0.25), 2 * torch.eye(3), EXACT_FLOAT64)


@limits(max_examples=25, deadline=None, derandomize=True)
@given(st.lists(st.sampled_from([0.5, 1.0, 2.0]), min_size=1, max_size=5), st.integers(0, 9))
def test_the_derivative_of_the_root_is_that_of_its_equation(values: list[float], seed: int) -> None:
    # R (Σ + ε) R = 1, so that in any direction dR (Σ + ε) R + R dΣ R + R (Σ + ε) dR = 0.
    sigma, change = symmetric(values, seed), noise(len(values), len(values), seed=seed + 1)
    change = change + change.T
    one = torch.eye(len(values)).double()
    root, jacobian = inverse_root(sigma, 0.1), torch.autograd.functional.jacobian(lambda s: inverse_root(s, 0.1), sigma)
    derivative = torch.einsum("abij,ij->ab", jacobian, change)
    half = derivative @ (sigma + 0.1 * one) @ root
    assert_close(half + half.T, -root @ change @ root, EXACT_FLOAT64)


@pytest.mark.parametrize(("layout", "bad"), [("features", float("nan")), ("images", float("inf"))])
def test_a_trial_that_is_not_finite_becomes_nan_and_changes_no_gradient_of_another(layout: str, bad: float) -> None:
    x_KBC = batch() if layout == "features" else as_images(batch(), 2, 5)
    spoilt = x_KBC.clone()
    (spoilt[1] if layout == "features" else spoilt[:, FEATURES : 2 * FEATURES])[0, 2] = bad

    def pass_through(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, Whiten]:
        layer, x = make(affine="both"), x.clone().requires_grad_()
        y = layer(x)
        (gradient,) = torch.autograd.grad((y * noise(*y.shape, seed=8)).sum(), x)
        per_trial = [t if layout == "features" else as_samples(t) for t in (y.detach(), gradient)]
        return per_trial[0], per_trial[1], layer

    clean, clean_gradient, untouched = pass_through(x_KBC)
    y, gradient, layer = pass_through(spoilt)
    others = [0, 2]
    assert torch.equal(y[others], clean[others])
    assert torch.equal(gradient[others], clean_gradient[others])
    assert torch.equal(layer.running_covariance[others], untouched.running_covariance[others])
    assert bool(y[1].isnan().all())
    assert bool(gradient[1].isnan().all())
    assert not bool(layer.running_covariance[1].isfinite().all())
    later = layer.eval()(x_KBC)
    later_KNC = later if layout == "features" else as_samples(later)
    assert [bool(each.isnan().all()) for each in later_KNC] == [False, True, False]
    assert bool(later_KNC[others].isfinite().all())


@pytest.mark.parametrize(("samples", "dtype"), [(2, torch.float32), (6, torch.float32), (3, torch.float64)])
def test_batches_smaller_than_the_features_have_finite_outputs_and_gradients(samples: int, dtype: torch.dtype) -> None:
    layer, x_KBC = make().to(dtype), batch(samples=samples).to(dtype).requires_grad_()
    y_KBC = layer(x_KBC)
    (gradient,) = torch.autograd.grad((y_KBC * noise(*y_KBC.shape, seed=8).to(dtype)).sum(), x_KBC)
    assert bool(y_KBC.isfinite().all())
    assert bool(gradient.isfinite().all())
    assert bool(layer.running_covariance.isfinite().all())


@pytest.mark.parametrize("layout", ["features", "images"])
def test_under_autocast_half_precision_comes_in_and_goes_out_with_full_precision_between(layout: str) -> None:
    x = (batch() if layout == "features" else as_images(batch(), 2, 5)).bfloat16()
    layer, whole = make().float(), make().float()
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x)
    assert y.dtype == torch.bfloat16
    assert torch.equal(y, whole(x.float()).bfloat16())
    assert layer.running_covariance.dtype == torch.float32
    assert torch.equal(layer.running_covariance, whole.running_covariance)


def test_a_batch_of_one_cannot_be_whitened_in_training_but_can_in_evaluation() -> None:
    norm = Whiten(1, 3, NormSettings(kind="whiten")).float()
    with pytest.raises(ValueError, match="more than one sample"):
        norm(torch.zeros(1, 1, 3))
    assert norm.eval()(torch.zeros(1, 1, 3)).shape == (1, 1, 3)
