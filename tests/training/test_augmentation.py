"""Augmentation is a function of its generator, keeps form and range, and each of its knobs has a neutral place."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pneumonia.training import RadiographAugmentation

NEUTRAL: dict[str, Any] = {
    "rotation": 0.0,
    "scale": (1.0, 1.0),
    "crop": 1.0,
    "aspect": 1.0,
    "shift": 0.0,
    "flip": 0.0,
    "gamma": 1.0,
    "contrast": 0.0,
    "resolution": 0.0,
    "sharpen": 0.0,
    "noise": 0.0,
    "spectrum": 0.0,
    "shade": 0.0,
}
STRONG: dict[str, Any] = {
    "rotation": 20.0,
    "scale": (0.7, 0.8),
    "crop": 1.5,
    "aspect": 1.4,
    "shift": 0.2,
    "flip": 1.0,
    "gamma": 2.0,
    "contrast": 0.4,
    "resolution": 1.0,
    "sharpen": 1.0,
    "noise": 30.0,
    "spectrum": 1.0,
    "shade": 0.5,
}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def films() -> Tensor:
    """(8, 1, 48, 40): smooth gray levels, uint8."""
    levels = torch.rand(8, 1, 6, 5, generator=generator(1)) * 200 + 20
    return torch.nn.functional.interpolate(levels, size=(48, 40), mode="bicubic").clamp(0, 255).to(torch.uint8)


@pytest.fixture(scope="module")
def augment() -> Callable[..., Tensor]:
    """Augment with all knobs neutral but those that are given."""

    def run(images: Tensor, seed: int = 0, **knobs: Any) -> Tensor:
        made: Tensor = RadiographAugmentation(**{**NEUTRAL, **knobs})(images, generator(seed))
        return made

    return run


Augment = Callable[..., Tensor]


def test_with_every_knob_neutral_the_films_stay_as_they_are(films: Tensor, augment: Augment) -> None:
    torch.testing.assert_close(augment(films), films.float(), atol=0.02, rtol=0)


@pytest.mark.parametrize("knob", STRONG)
def test_every_knob_does_something_by_itself(films: Tensor, augment: Augment, knob: str) -> None:
    changed = augment(films, **{knob: STRONG[knob]})
    assert (changed - films.float()).abs().amax(dim=(1, 2, 3)).mean() > 1


@pytest.mark.parametrize("knob", [knob for knob in NEUTRAL if knob not in ("flip", "spectrum")])
def test_every_knob_treats_each_film_in_its_own_way(films: Tensor, augment: Augment, knob: str) -> None:
    same = films[:1].expand(8, -1, -1, -1)
    changed = augment(same, **{knob: 0.5 if knob in ("resolution", "sharpen") else STRONG[knob]})
    assert len({film.numpy().tobytes() for film in changed}) > 1


def test_a_certain_flip_is_the_mirror_image(films: Tensor, augment: Augment) -> None:
    torch.testing.assert_close(augment(films, flip=1.0), films.float().flip(3), atol=0.02, rtol=0)


def test_a_shrunk_film_lies_on_black(augment: Augment) -> None:
    white = torch.full((4, 1, 40, 40), 255, dtype=torch.uint8)
    shrunk = augment(white, scale=(0.5, 0.5))
    assert shrunk[:, :, 20, 20].min() == 255
    assert not shrunk[:, :, [0, 0, -1, -1], [0, -1, 0, -1]].any()


def test_an_enlarged_film_fills_the_image(augment: Augment) -> None:
    white = torch.full((4, 1, 40, 40), 255, dtype=torch.uint8)
    torch.testing.assert_close(augment(white, scale=(1.5, 1.5)), white.float())


def test_a_cut_film_is_a_window_that_is_whole_in_one_direction_also_where_films_are_kept(augment: Augment) -> None:
    ramp = torch.linspace(0, 200, 50).view(1, 1, 1, 50).expand(64, 1, 50, 50)
    across = augment(ramp, crop=1.4, keep=1.0)
    upright = augment(ramp.transpose(2, 3), crop=1.4, keep=1.0)
    torch.testing.assert_close(across, across[:, :, :1].expand_as(across))
    widths, heights = (cut.amax((1, 2, 3)).sub(cut.amin((1, 2, 3))) / 200 for cut in (across, upright))
    torch.testing.assert_close(torch.maximum(widths, heights), torch.ones(64), atol=0.001, rtol=0)
    ratios = widths / heights
    assert 1 / 1.43 < ratios.min() < 0.8
    assert 1.25 < ratios.max() < 1.43
    places = across.amin((1, 2, 3))[widths < 0.9] / (200 * (1 - widths[widths < 0.9]))
    assert places.min() < 0.2
    assert places.max() > 0.8


def test_a_lower_resolution_makes_films_smoother_and_sharpening_rougher(augment: Augment) -> None:
    grain = torch.rand(4, 1, 40, 40, generator=generator(2)) * 40 + 100
    assert augment(grain, resolution=1.0, lowest_resolution=0.3).std() < 0.95 * grain.std()
    assert augment(grain, sharpen=1.0, lowest_resolution=0.3).std() > 1.05 * grain.std()


def test_gamma_and_contrast_keep_the_order_of_gray_levels(augment: Augment) -> None:
    ramp = torch.arange(256, dtype=torch.float32).view(1, 1, 16, 16).expand(8, -1, -1, -1)
    toned = augment(ramp, gamma=2.0, contrast=0.4).flatten(1)
    assert (toned.diff(dim=1) >= -0.1).all()


def test_spectra_change_amplitudes_and_keep_phases(films: Tensor, augment: Augment) -> None:
    gray = films.float() / 4 + 96  # far from black and white, where the result would be clipped
    varied = augment(gray, spectrum=1.0)
    before, after = torch.fft.rfft2(gray), torch.fft.rfft2(varied)
    strong = before.abs() > 50
    assert torch.cos(after.angle() - before.angle())[strong].min() > 0.999
    assert not torch.allclose(after.abs()[strong], before.abs()[strong], rtol=0.05)


def test_shade_is_smooth_and_within_its_range(augment: Augment) -> None:
    flat = torch.full((8, 1, 48, 40), 100.0)
    shade = augment(flat, shade=0.5).div(100).log()
    assert shade.abs().max() < 0.75  # a curve through the field's knots leaves their range a little
    assert shade.diff(dim=-1).abs().max() < 0.15
    assert shade.amax((1, 2, 3)).sub(shade.amin((1, 2, 3))).min() > 0.2


@settings(max_examples=30)
@given(st.integers(0, 2**63), st.integers(1, 5), st.integers(8, 50), st.integers(8, 50))
def test_form_and_range_are_kept_whatever_is_drawn(seed: int, count: int, height: int, width: int) -> None:
    images = torch.randint(0, 256, (count, 1, height, width), generator=generator(seed), dtype=torch.uint8)
    made = RadiographAugmentation(**STRONG)(images, generator(seed))
    assert made.shape == images.shape
    assert made.dtype == torch.float32
    assert made.min() >= 0
    assert made.max() <= 255


def test_the_same_generator_gives_the_same_films(films: Tensor) -> None:
    augmentation = RadiographAugmentation()
    first = augmentation(films, generator(5))
    augmentation(films, generator(6))
    assert torch.equal(augmentation(films, generator(5)), first)
    assert torch.equal(RadiographAugmentation()(films, generator(5)), first)


def test_another_seed_gives_other_films(films: Tensor) -> None:
    augmentation = RadiographAugmentation()
    assert not torch.equal(augmentation(films, generator(5)), augmentation(films, generator(6)))


def test_it_is_nothing_like_the_identity_by_default(films: Tensor) -> None:
    assert (RadiographAugmentation()(films, generator()) - films.float()).abs().mean() > 5


def test_numbers_and_bytes_are_augmented_alike(films: Tensor) -> None:
    augmentation = RadiographAugmentation()
    assert torch.equal(augmentation(films, generator(3)), augmentation(films.float(), generator(3)))


def test_the_films_that_go_in_are_not_changed(films: Tensor) -> None:
    before, numbers = films.clone(), films.float()
    RadiographAugmentation()(films, generator())
    RadiographAugmentation()(numbers, generator())
    assert torch.equal(films, before)
    assert torch.equal(numbers, before.float())


def test_the_global_generator_is_not_touched(films: Tensor) -> None:
    before = torch.get_rng_state()
    RadiographAugmentation()(films, generator())
    assert torch.equal(torch.get_rng_state(), before)


def test_a_batch_larger_than_the_bank_of_noise_gets_noise_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pneumonia.training.augmentation._NOISE_BANK", 1000)
    gray = torch.full((4, 1, 30, 30), 128, dtype=torch.uint8)
    made = RadiographAugmentation(**{**NEUTRAL, "noise": 30.0})(gray, generator(1))
    assert (made != 128).float().mean() > 0.9


def test_it_adds_nothing_to_a_checkpoint() -> None:
    assert not RadiographAugmentation().state_dict()
