"""Whitened inputs: uncorrelated over the training images, fitted on nothing else, kept as floats."""

import re
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
import torch

from bnexp.config.data import DataSettings
from bnexp.data import normalize as whitening
from bnexp.data import raw as raw_images
from bnexp.data.dataset import Dataset, load
from bnexp.data.normalize import Normalization, fit
from bnexp.data.raw import RawImages
from bnexp.errors import ConfigError, InputError
from tests.helpers import EXACT_FLOAT64, NEAR_FLOAT64, assert_close

CPU = torch.device("cpu")
WHITENINGS = ("pca_whiten", "zca_whiten")
EPS = 1e-5


def correlated(images: int = 400, shape: tuple[int, int, int] = (2, 4, 3), seed: int = 0) -> torch.Tensor:
    """Images whose pixels hang together, in channels of different mean and spread."""
    rng = np.random.default_rng(seed)
    pixels = int(np.prod(shape))
    mixing_PP = rng.normal(size=(pixels, pixels)) * 0.9 ** np.arange(pixels)[:, None]
    values_NCHW = (rng.normal(size=(images, pixels)) @ mixing_PP).reshape(images, *shape)
    values_NCHW = 120 + 12 * values_NCHW * np.linspace(1, 2, shape[0])[:, None, None]
    return torch.from_numpy(values_NCHW.clip(0, 255).astype(np.uint8))


def fit64(images_NCHW: torch.Tensor, scaling, eps: float = EPS, **factors: float) -> Normalization:
    return fit(images_NCHW, scaling, {int(k[1:]): v for k, v in factors.items()}, CPU, torch.float64, eps)


def whitened(images_NCHW: torch.Tensor, scaling, eps: float = EPS) -> torch.Tensor:
    return fit64(images_NCHW, scaling, eps)(images_NCHW.flatten(1))


def standardised(images_NCHW: torch.Tensor) -> np.ndarray:
    """Step by step in NumPy: each channel by its mean and deviation, then each pixel by its mean."""
    x_NCHW = images_NCHW.numpy().astype(float)
    x_NCHW = (x_NCHW - x_NCHW.mean((0, 2, 3), keepdims=True)) / x_NCHW.std((0, 2, 3), keepdims=True)
    x_NP = x_NCHW.reshape(len(x_NCHW), -1)
    return x_NP - x_NP.mean(0)


def covariance(x_NP: np.ndarray) -> np.ndarray:
    return (x_NP - x_NP.mean(0)).T @ (x_NP - x_NP.mean(0)) / len(x_NP)


def spectrum(images_NCHW: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Variances and components, the largest first, from the singular values of the images themselves."""
    x_NP = standardised(images_NCHW)
    _, singular, rows = np.linalg.svd(x_NP, full_matrices=len(x_NP) < x_NP.shape[1])
    variance_P = np.zeros(x_NP.shape[1])
    variance_P[: len(singular)] = singular**2 / len(x_NP)
    return variance_P, rows.T


# What the definition says.


@pytest.mark.parametrize("eps", [EPS, 0.1])
def test_pca_s_training_covariance_is_diagonal_with_each_variance_over_itself_and_eps(eps: float) -> None:
    images_NCHW = correlated()
    found_PP = covariance(whitened(images_NCHW, "pca_whiten", eps).numpy())
    variance_P, _ = spectrum(images_NCHW)
    assert (np.diff(variance_P) < 0).all()
    assert_close(found_PP, np.diag(variance_P / (variance_P + eps)), EXACT_FLOAT64 * 100)


def test_zca_s_training_covariance_is_the_identity_but_for_eps() -> None:
    images_NCHW = correlated()
    found_PP = covariance(whitened(images_NCHW, "zca_whiten", 1e-12).numpy())
    assert_close(found_PP, np.eye(24), NEAR_FLOAT64)


@pytest.mark.parametrize("scaling", WHITENINGS)
def test_inputs_equal_those_of_a_transcription(scaling) -> None:
    images_NCHW = correlated()
    x_NP = standardised(images_NCHW)
    variance_P, component_PP = np.linalg.eigh(covariance(x_NP))
    expected_NP = x_NP @ component_PP[:, ::-1] / np.sqrt(variance_P[::-1] + EPS)
    if scaling == "zca_whiten":
        expected_NP = expected_NP @ component_PP[:, ::-1].T
    found_NP = whitened(images_NCHW, scaling).numpy()
    # A component's sign is nothing that eigh promises.
    signs_P = np.sign((found_NP * expected_NP).sum(0))
    assert scaling == "pca_whiten" or (signs_P == 1).all()
    assert_close(found_NP, expected_NP * signs_P, NEAR_FLOAT64)


def test_every_principal_component_has_its_largest_weight_positive() -> None:
    images_NCHW = correlated()
    fitted = fit64(images_NCHW, "pca_whiten")
    assert fitted.once is not None
    weights_PP = fitted.once.matrix_PP * fitted.spread_P[:, None]
    assert (weights_PP.gather(0, weights_PP.abs().argmax(0, keepdim=True)) > 0).all()


# Awkward images.


@pytest.mark.parametrize("scaling", WHITENINGS)
def test_fewer_images_than_pixels(scaling) -> None:
    images_NCHW = correlated(images=7)
    variance_P, _ = spectrum(images_NCHW)
    inputs_NP = whitened(images_NCHW, scaling).numpy()
    assert np.isfinite(inputs_NP).all()
    found_P = np.sort(np.linalg.eigvalsh(covariance(inputs_NP)))[::-1]
    assert_close(found_P, variance_P / (variance_P + EPS), NEAR_FLOAT64)
    if scaling == "pca_whiten":
        assert np.abs(inputs_NP[:, 6:]).max() < 1e-9


@pytest.mark.parametrize("scaling", WHITENINGS)
@pytest.mark.parametrize(("images", "eps"), [(7, EPS), (400, 1e-18), (7, 1e-18)])
def test_other_images_become_the_same_whatever_order_the_pixels_are_in(scaling, images: int, eps: float) -> None:
    # Eigenvectors of eigenvalue 0, of which seven images leave many, would be other ones.
    trained, others = correlated(images, shape=(1, 4, 6)), correlated(50, shape=(1, 4, 6), seed=1)
    order = torch.from_numpy(np.random.default_rng(2).permutation(24))
    expected_NP = fit64(trained, scaling, eps)(others.flatten(1))
    shuffled = trained.flatten(1)[:, order].view_as(trained)
    found_NP = fit64(shuffled, scaling, eps)(others.flatten(1)[:, order])
    assert_close(found_NP, expected_NP if scaling == "pca_whiten" else expected_NP[:, order], NEAR_FLOAT64)
    assert scaling == "zca_whiten" or ((found_NP == 0).all(0).sum() == max(0, 25 - images))


@pytest.mark.parametrize("scaling", WHITENINGS)
@pytest.mark.parametrize("eps", [EPS, 1e-12])
def test_pixels_that_never_change_are_zero_and_leave_the_others_alone(scaling, eps: float) -> None:
    images_NCHW = correlated(images=401, shape=(1, 4, 6))
    images_NCHW[:, :, 0], images_NCHW[:, :, 3, 5] = 0, 37
    fitted = fit64(images_NCHW, scaling, eps)
    inputs_NP = fitted(images_NCHW.flatten(1))
    constant = [0, 1, 2, 3, 4, 5, 23] if scaling == "zca_whiten" else list(range(17, 24))
    assert inputs_NP[:, constant].abs().max() < 1e-12
    variance_P, _ = spectrum(images_NCHW)
    found_P = np.sort(np.linalg.eigvalsh(covariance(inputs_NP.numpy())))[::-1]
    assert_close(found_P[:17], variance_P[:17] / (variance_P[:17] + eps), NEAR_FLOAT64)
    other_P = images_NCHW[:1].flatten(1).clone()
    other_P[0, 2] = 1
    # One byte, standardised, over the root of eps; principal components have no place for it.
    expected = 1 / fitted.spread_P[2] / eps**0.5 if scaling == "zca_whiten" else torch.zeros(())
    assert (fitted(other_P) - fitted(images_NCHW[:1].flatten(1))).norm() == pytest.approx(expected.item(), rel=1e-6)


@pytest.mark.parametrize("scaling", WHITENINGS)
@pytest.mark.parametrize("images_NCHW", [correlated(images=1), torch.full((5, 3, 2, 2), 9, dtype=torch.uint8)])
def test_images_that_are_all_alike_are_zeros(scaling, images_NCHW: torch.Tensor) -> None:
    assert (whitened(images_NCHW, scaling) == 0).all()


@pytest.mark.parametrize("scaling", WHITENINGS)
def test_chunks_of_any_size_give_the_same(scaling, monkeypatch: pytest.MonkeyPatch) -> None:
    images_NCHW = correlated(images=50)
    whole = fit64(images_NCHW, scaling)
    expected_NP = whole.kept(images_NCHW.flatten(1))
    for numbers in (1, 24 * 7, 24 * 50):
        monkeypatch.setattr(whitening, "CHUNK_NUMBERS", numbers)
        assert_close(fit64(images_NCHW, scaling).kept(images_NCHW.flatten(1)), expected_NP, NEAR_FLOAT64)


# In a data set.


def load_as(dtype: torch.dtype = torch.float64, **settings) -> Dataset:
    return load(DataSettings(**{"name": "digits", "normalize": "zca_whiten"} | settings), CPU, dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scaling", WHITENINGS)
def test_a_set_keeps_whitened_images_as_floats_that_are_inputs_already(scaling, dtype: torch.dtype) -> None:
    data, plain = load_as(dtype, normalize=scaling), load_as(normalize="none")
    for split, bytes_ in ((data.train, plain.train), (data.val, plain.val), (data.test, plain.test)):
        assert split.images_NP.dtype == dtype
        assert split.images_NP.shape == (len(split), 64)
        assert data.inputs(split.images_NP) is split.images_NP
        assert torch.equal(data.inputs(bytes_.images_NP), split.images_NP)


def test_the_fit_sees_training_images_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    raw, expected = raw_images.read_digits(DataSettings(name="digits")), load_as(train_size=300)
    rng = np.random.default_rng(0)
    train_NCHW = np.concatenate([raw.train.images_NCHW[:300], rng.integers(0, 256, (1137, 1, 8, 8), dtype=np.uint8)])
    test_NCHW = rng.integers(0, 256, raw.test.images_NCHW.shape, dtype=np.uint8)
    other = RawImages(raw.train._replace(images_NCHW=train_NCHW), raw.test._replace(images_NCHW=test_NCHW), 10)
    monkeypatch.setattr(raw_images, "read_digits", lambda settings: other)
    found = load_as(train_size=300)
    assert torch.equal(found.train.images_NP, expected.train.images_NP)
    assert not torch.equal(found.test.images_NP, expected.test.images_NP)
    for split, images_NCHW in ((found.val, train_NCHW[-143:]), (found.test, test_NCHW)):
        assert torch.equal(split.images_NP, expected.inputs(torch.from_numpy(images_NCHW).flatten(1)))


@pytest.mark.parametrize("scaling", WHITENINGS)
def test_factors_multiply_components_after_whitening(scaling) -> None:
    plain, scaled = load_as(normalize=scaling), load_as(normalize=scaling, feature_scale={0: 50.0, 9: 0.0})
    expected_NP = plain.inputs(plain.test.images_NP).clone()
    expected_NP[:, 0] *= 50
    expected_NP[:, 9] = 0
    assert torch.equal(scaled.inputs(scaled.test.images_NP), expected_NP)
    # Inputs that a step changes in place are not the set's images.
    before = scaled.test.images_NP.clone()
    scaled.inputs(scaled.test.images_NP).zero_()
    assert torch.equal(scaled.test.images_NP, before)


@pytest.mark.parametrize("scaling", WHITENINGS)
def test_no_bytes_become_less_or_more_than_the_extremes_and_some_become_these(scaling) -> None:
    fitted = fit64(correlated(), scaling)
    assert fitted.once is not None
    weights_PP = fitted.once.matrix_PP
    # For each component the picture that is bright where its weights are positive, and the opposite.
    ends_VPP = torch.stack([weights_PP.mT < 0, weights_PP.mT > 0]).to(torch.uint8) * 255
    expected_VP = fitted(ends_VPP).diagonal(dim1=1, dim2=2)
    assert_close(
        fitted.once.extremes(torch.tensor([[0.0], [255.0]], dtype=torch.float64).expand(-1, 24)),
        expected_VP,
        NEAR_FLOAT64,
    )


@pytest.mark.parametrize("scaling", WHITENINGS)
def test_a_factor_is_refused_where_some_image_of_bytes_would_leave_the_floats(scaling) -> None:
    images_NCHW = correlated()
    largest = torch.finfo(torch.float32).max
    fitted = fit64(images_NCHW, scaling)
    assert fitted.once is not None
    weights_P = fitted.once.matrix_PP[:, 5]
    ends_2P = torch.stack([torch.where(weights_P > 0, 255, 0), torch.where(weights_P > 0, 0, 255)]).to(torch.uint8)
    reach = fitted(ends_2P)[:, 5].abs().max().item()
    fit(images_NCHW, scaling, {5: 0.999 * largest / reach}, CPU, torch.float32)
    factor = -1.001 * largest / reach
    with pytest.raises(ConfigError) as caught:
        fit(images_NCHW, scaling, {2: 1.0, 5: factor}, CPU, torch.float32)
    assert str(caught.value) == (
        f"data.feature_scale: {factor:g} takes pixel 5 beyond the largest number of float32, 3.4e+38; "
        "lower it, or set train.precision: fp64"
    )


def test_an_eps_that_takes_inputs_beyond_floats_is_refused() -> None:
    images_NCHW = correlated(images=5)
    with pytest.raises(ConfigError) as caught:
        fit(images_NCHW, "zca_whiten", {3: 2.0}, CPU, torch.float32, 1e-90)
    assert str(caught.value) == (
        "data.whiten_eps: 1e-90 takes inputs beyond the largest number of float32, 3.4e+38; "
        "raise it, or set train.precision: fp64"
    )
    assert fit64(images_NCHW, "zca_whiten", 1e-90)(images_NCHW.flatten(1)).isfinite().all()


@pytest.mark.parametrize("scaling", WHITENINGS)
def test_images_that_do_not_fit_the_memory_as_floats_are_refused(scaling, monkeypatch: pytest.MonkeyPatch) -> None:
    free = 2**28
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=free))
    assert load_as(normalize=scaling).train.images_NP.isfinite().all()
    free = 2**26
    message = (
        f"data.normalize: {scaling}: inputs made of 1797 images with 64 values each take 65 MiB, and 64 MiB of memory "
        "are free on cpu; lower data.train_size and data.test_size, or keep fewer values of each, or set "
        "data.normalize: standard"
    )
    with pytest.raises(InputError, match=rf"^{re.escape(message)}$"):
        load_as(normalize=scaling)
    assert load_as(normalize="standard").train.images_NP.dtype == torch.uint8
