"""Normalisation has the properties its names promise, for any images, and looks at nothing but its own."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bnexp.data.normalize import Normalization, fit
from bnexp.errors import ConfigError

CPU = torch.device("cpu")
SHAPES = st.tuples(st.integers(1, 5), st.integers(1, 3), st.integers(1, 4), st.integers(1, 4))
IMAGES = SHAPES.flatmap(lambda shape: arrays(np.uint8, shape)).map(torch.from_numpy)


def fit64(images_NCHW: torch.Tensor, scaling, feature_scale: dict[int, float] | None = None) -> Normalization:
    return fit(images_NCHW, scaling, feature_scale or {}, CPU, torch.float64)


@given(IMAGES)
def test_none_keeps_the_bytes(images_NCHW: torch.Tensor) -> None:
    images_NP = images_NCHW.flatten(1)
    inputs_NP = fit64(images_NCHW, "none")(images_NP)
    assert inputs_NP.dtype == torch.float64
    assert torch.equal(inputs_NP, images_NP.double())


@given(IMAGES)
def test_unit_spans_0_to_1_over_an_image_or_each_feature(images_NCHW: torch.Tensor) -> None:
    images_NP = images_NCHW.flatten(1)
    inputs_NP = fit64(images_NCHW, "unit")(images_NP)
    features = images_NCHW.shape[2:] == (1, 1)
    for bytes_, inputs in zip(images_NP.T, inputs_NP.T, strict=True) if features else [(images_NP, inputs_NP)]:
        assert inputs.min() == 0
        assert inputs.max() == (0 if bytes_.min() == bytes_.max() else 1)


@given(IMAGES)
def test_center_subtracts_the_mean_of_each_pixel_and_divides_by_nothing(images_NCHW: torch.Tensor) -> None:
    mean_CHW = images_NCHW.numpy().mean(0)
    for images in (images_NCHW, images_NCHW.double()):
        fitted = fit64(images, "center")
        inputs_NP = fitted(fitted.kept(images.flatten(1)))
        expected = images_NCHW.numpy() - mean_CHW
        assert inputs_NP.view(images_NCHW.shape).numpy() == pytest.approx(expected, abs=1e-12)
        constant = images_NCHW.flatten(1).amin(0) == images_NCHW.flatten(1).amax(0)
        assert (inputs_NP[:, constant] == 0).all()


@given(IMAGES)
def test_standard_has_mean_0_and_variance_1_per_channel(images_NCHW: torch.Tensor) -> None:
    inputs_NCHW = fit64(images_NCHW, "standard")(images_NCHW.flatten(1)).view(images_NCHW.shape)
    for channel, bytes_NHW in zip(inputs_NCHW.unbind(1), images_NCHW.unbind(1), strict=True):
        constant = bytes_NHW.min() == bytes_NHW.max()
        assert channel.mean().abs() < 1e-12
        assert channel.var(correction=0) == pytest.approx(0 if constant else 1, abs=1e-12)
        assert not constant or (channel == 0).all()


@given(IMAGES, st.sampled_from(["none", "unit", "center", "standard"]), st.floats(-100, 100), st.data())
def test_feature_scale_multiplies_one_pixel(images_NCHW: torch.Tensor, scaling, factor: float, data) -> None:
    images_NP = images_NCHW.flatten(1)
    pixel = data.draw(st.integers(0, images_NP.shape[1] - 1))
    expected_NP = fit64(images_NCHW, scaling)(images_NP)
    expected_NP[:, pixel] *= factor
    assert torch.equal(fit64(images_NCHW, scaling, {pixel: factor})(images_NP), expected_NP)


def test_moments_equal_numpy_s() -> None:
    images_NCHW = torch.randint(256, (40, 3, 5, 6), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    fitted = fit64(images_NCHW, "standard")
    assert fitted.shift_P.view(3, 30)[:, 0].numpy() == pytest.approx(images_NCHW.numpy().mean((0, 2, 3)), rel=1e-14)
    assert fitted.spread_P.view(3, 30)[:, 29].numpy() == pytest.approx(images_NCHW.numpy().std((0, 2, 3)), rel=1e-14)


def test_any_leading_axes_and_the_images_are_left_alone() -> None:
    images_SBP = torch.arange(24, dtype=torch.uint8).view(2, 3, 4)
    fitted = fit(images_SBP.view(6, 1, 2, 2), "standard", {1: 2.0}, CPU, torch.float32)
    inputs_SBP = fitted(images_SBP)
    assert inputs_SBP.dtype == torch.float32
    assert torch.equal(inputs_SBP[1, 2], fitted(images_SBP[1, 2]))
    assert torch.equal(images_SBP.flatten(), torch.arange(24, dtype=torch.uint8))


@pytest.mark.parametrize("scaling", ["none", "unit", "center", "standard"])
@pytest.mark.parametrize(
    ("dtype", "factor"), [(torch.float32, 1e300), (torch.float32, -3e38), (torch.float64, -1.7e308)]
)
def test_a_factor_that_takes_a_pixel_beyond_floats_is_refused(scaling, dtype: torch.dtype, factor: float) -> None:
    images_NCHW = torch.tensor([0, 10, 20, 30], dtype=torch.uint8).view(1, 1, 2, 2)
    with pytest.raises(ConfigError) as caught:
        fit(images_NCHW, scaling, {0: 2.0, 1: factor, 3: factor}, CPU, dtype)
    single = dtype == torch.float32
    beyond = "float32, 3.4e+38" if single else "float64, 1.8e+308"
    remedy = "lower it, or set train.precision: fp64" if single else "lower it"
    assert [str(problem) for problem in caught.value.problems] == [
        f"data.feature_scale: {factor:g} takes pixel {pixel} beyond the largest number of {beyond}; {remedy}"
        for pixel in (1, 3)
    ]
