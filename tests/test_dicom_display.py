"""Stored values are shown as DICOM's grayscale transformations say, PS3.3 section C.11."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from pneumonia.dicom_display import apply_window, show
from pneumonia.errors import DamagedImageError

FINITE = st.floats(-5000, 5000)


def elements(**values: object) -> Dataset:
    dataset = Dataset()
    for keyword, value in {"PhotometricInterpretation": "MONOCHROME2", **values}.items():
        setattr(dataset, keyword, value)
    return dataset


def lookup_table(descriptor: list[int], data: bytes | list[int]) -> Dataset:
    """A LUT item; `data` is of VR OW when it is bytes and US when it is numbers."""
    item = Dataset()
    item.add_new("LUTDescriptor", "SS", descriptor)
    item.add_new("LUTData", "OW" if isinstance(data, bytes) else "US", data)
    return item


def shown(stored: list[int], little_endian: bool = True, **values: object) -> list[int]:
    return show(np.array([stored], np.int32), elements(**values), little_endian)[0].tolist()


# The formulas of PS3.3, written as the standard writes them, with 0 and 255 for ymin and ymax.
def linear(x: float, c: float, w: float) -> float:  # C.11.2.1.2.1
    if x <= c - 0.5 - (w - 1) / 2:
        return 0
    if x > c - 0.5 + (w - 1) / 2:
        return 255
    return ((x - (c - 0.5)) / (w - 1) + 0.5) * 255


def linear_exact(x: float, c: float, w: float) -> float:  # C.11.2.1.3.2
    if x <= c - w / 2:
        return 0
    if x > c + w / 2:
        return 255
    return ((x - c) / w + 0.5) * 255


def sigmoid(x: float, c: float, w: float) -> float:  # C.11.2.1.3.1
    return float(255 / (1 + np.exp(-4 * (x - c) / w)))


@given(st.lists(FINITE, min_size=1), FINITE, st.floats(1, 9000))
def test_a_linear_window_follows_the_standard(values: list[float], center: float, width: float) -> None:
    expected = [linear(value, center, width) for value in values]
    assert np.allclose(apply_window(np.array(values), center, width, "LINEAR"), expected, atol=1e-6)


@given(st.lists(FINITE, min_size=1), FINITE, st.floats(0.01, 9000))
def test_an_exactly_linear_window_follows_the_standard(values: list[float], center: float, width: float) -> None:
    expected = [linear_exact(value, center, width) for value in values]
    assert np.allclose(apply_window(np.array(values), center, width, "LINEAR_EXACT"), expected, atol=1e-6)


@given(st.lists(FINITE, min_size=1), FINITE, st.floats(100, 9000))
def test_a_sigmoid_window_follows_the_standard(values: list[float], center: float, width: float) -> None:
    expected = [sigmoid(value, center, width) for value in values]
    assert np.allclose(apply_window(np.array(values), center, width, "SIGMOID"), expected, atol=1e-6)


def test_a_narrow_sigmoid_does_not_overflow() -> None:
    with np.errstate(all="raise"):
        assert apply_window(np.array([-65536.0, 65536.0]), 0, 1e-3, "SIGMOID").tolist() == [0, 255]


def test_a_linear_window_of_width_1_is_a_step() -> None:
    assert apply_window(np.array([9.0, 9.5, 10.0]), 10, 1, "LINEAR").tolist() == [0, 0, 255]


@pytest.mark.parametrize(
    ("function", "width"),
    [("LINEAR", 0), ("LINEAR", 0.5), ("LINEAR", -5), ("LINEAR_EXACT", 0), ("SIGMOID", 0), ("LINEAR", float("nan"))],
)
def test_a_window_without_width_is_an_error(function: str, width: float) -> None:
    with pytest.raises(DamagedImageError, match="Window Width"):
        apply_window(np.array([1.0]), 40, width, function)


def test_an_unknown_window_function_is_an_error_that_does_not_quote_it() -> None:
    with pytest.raises(DamagedImageError, match="LINEAR, LINEAR_EXACT and SIGMOID") as caught:
        shown([1, 2], WindowCenter=1, WindowWidth=2, VOILUTFunction="MEIER")
    assert "MEIER" not in str(caught.value)


@pytest.mark.parametrize("function", [None, "LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_a_films_window_is_applied_by_its_function(function: str | None) -> None:
    formula = {"LINEAR_EXACT": linear_exact, "SIGMOID": sigmoid}.get(function or "", linear)
    stored = list(range(0, 4096, 91))
    optional = {} if function is None else {"VOILUTFunction": function}
    expected = [round(formula(value, 2000, 1500)) for value in stored]
    assert shown(stored, WindowCenter=2000, WindowWidth=1500, **optional) == expected


def test_of_several_windows_the_first_is_applied() -> None:
    several = shown([0, 50, 100], WindowCenter=[50, 5000], WindowWidth=[101, 10])
    assert several == shown([0, 50, 100], WindowCenter=50, WindowWidth=101) == [1, 129, 255]


@pytest.mark.parametrize("window", [{}, {"WindowCenter": None, "WindowWidth": None}, {"WindowCenter": 5}])
def test_without_a_window_the_film_takes_the_full_range(window: dict[str, object]) -> None:
    assert shown([1000, 1500, 2000], **window) == [0, 128, 255]


def test_a_film_of_one_value_is_black() -> None:
    assert shown([700, 700]) == [0, 0]


def test_a_small_range_after_rescaling_is_stretched_too() -> None:
    assert shown([0, 1, 2], RescaleSlope=0.001, RescaleIntercept=0) == [0, 128, 255]


def test_the_window_is_in_rescaled_units() -> None:
    values = [linear(2 * stored - 100, 40, 400) for stored in (0, 50, 100)]
    rescaled = shown([0, 50, 100], RescaleSlope=2, RescaleIntercept=-100, WindowCenter=40, WindowWidth=400)
    assert rescaled == [round(value) for value in values]


def test_a_negative_slope_inverts() -> None:
    assert shown([0, 1, 2], RescaleSlope=-1, RescaleIntercept=0) == [255, 128, 0]


@pytest.mark.parametrize("empty", [{"RescaleSlope": None, "RescaleIntercept": None}, {"ModalityLUTSequence": []}])
def test_empty_modality_elements_are_as_good_as_none(empty: dict[str, object]) -> None:
    assert shown([0, 2, 4], **empty) == [0, 128, 255]


@pytest.mark.parametrize("slope", [1e308, float("inf"), float("nan")])
def test_a_rescale_that_is_not_finite_is_an_error(slope: float) -> None:
    with pytest.raises(DamagedImageError, match="Rescale"):
        shown([1, 40000], RescaleSlope=slope, RescaleIntercept=0)


@pytest.mark.parametrize(
    "inversion",
    [
        {"PhotometricInterpretation": "MONOCHROME1"},
        {"PresentationLUTShape": "INVERSE"},
        # What every DX film with bones dark in its stored values says; it is one inversion and not two.
        {"PhotometricInterpretation": "MONOCHROME1", "PresentationLUTShape": "INVERSE"},
    ],
)
def test_bones_are_bright_however_the_inversion_is_said(inversion: dict[str, object]) -> None:
    assert shown([0, 1000, 4000], **inversion) == [255, 191, 0]


def test_the_identity_presentation_changes_nothing() -> None:
    assert shown([0, 1000, 4000], PresentationLUTShape="IDENTITY") == [0, 64, 255]


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_padding_is_black_and_has_no_part_in_the_films_range(photometric: str) -> None:
    film = shown([1000, 1500, 2000], PhotometricInterpretation=photometric)
    padded = shown([-2000, 1000, 1500, 2000], PhotometricInterpretation=photometric, PixelPaddingValue=-2000)
    assert padded == [0, *film]


@pytest.mark.parametrize("ends", [(4090, 4095), (4095, 4090)])
def test_a_range_of_padding_is_black(ends: tuple[int, int]) -> None:
    stored = [0, 1000, 4089, 4090, 4092, 4095]
    padded = shown(stored, PixelPaddingValue=ends[0], PixelPaddingRangeLimit=ends[1])
    assert padded == [0, 62, 255, 0, 0, 0]


def test_a_film_that_is_all_padding_is_shown_as_it_is() -> None:
    assert shown([5, 6, 7], PixelPaddingValue=0, PixelPaddingRangeLimit=100) == [0, 128, 255]


def test_a_modality_lookup_table_comes_before_the_window() -> None:
    table = lookup_table([3, 10, 16], [100, 300, 200])
    stored = [0, 10, 11, 12, 99]  # values outside the table take its ends
    expected = [round(linear(value, 200, 201)) for value in (100, 100, 300, 200, 200)]
    assert shown(stored, ModalityLUTSequence=[table], WindowCenter=200, WindowWidth=201) == expected


def test_a_lookup_table_may_begin_below_zero() -> None:
    assert shown([-5, -4, -3], ModalityLUTSequence=[lookup_table([3, -5, 8], [0, 255, 51])]) == [0, 255, 51]


@pytest.mark.parametrize(
    ("bits", "entries", "expected"),
    [(8, [0, 100, 255], [0, 100, 255]), (10, [0, 512, 1023], [0, 128, 255]), (16, [0, 32768, 65535], [0, 128, 255])],
)
def test_the_depth_of_a_voi_lookup_table_is_its_descriptors(bits: int, entries: list[int], expected: list[int]) -> None:
    assert shown([0, 1, 2], VOILUTSequence=[lookup_table([3, 0, bits], entries)]) == expected


def test_a_voi_lookup_table_comes_before_a_window() -> None:
    table = lookup_table([2, 0, 8], [255, 0])
    assert shown([0, 1], VOILUTSequence=[table], WindowCenter=1, WindowWidth=1) == [255, 0]


def test_of_several_voi_lookup_tables_the_first_is_applied() -> None:
    tables = [lookup_table([2, 0, 8], [7, 8]), lookup_table([2, 0, 8], [0, 255])]
    assert shown([0, 1], VOILUTSequence=tables) == [7, 8]


def test_a_voi_lookup_table_of_8_bits_may_have_more_than_256_entries() -> None:
    table = lookup_table([4096, 0, 8], [value * 255 // 4095 for value in range(4096)])
    assert shown([0, 2048, 4095], VOILUTSequence=[table]) == [0, 127, 255]


@pytest.mark.parametrize(("little_endian", "order"), [(True, "<"), (False, ">")])
def test_a_lookup_table_in_words_has_the_files_byte_order(little_endian: bool, order: str) -> None:
    data = np.array([0, 4095, 2048], f"{order}u2").tobytes()
    assert shown([0, 1, 2], little_endian, VOILUTSequence=[lookup_table([3, 0, 12], data)]) == [0, 255, 128]


@pytest.mark.parametrize("data", [bytes([0, 200, 100, 0]), [0 | 200 << 8, 100]])
def test_entries_of_8_bits_may_be_packed_two_in_a_word(data: bytes | list[int]) -> None:
    assert shown([0, 1, 2], VOILUTSequence=[lookup_table([3, 0, 8], data)]) == [0, 200, 100]


def test_a_lookup_table_of_65536_entries_says_0() -> None:
    data = np.arange(65536, dtype="<u2").tobytes()
    assert shown([0, 32768, 65535], VOILUTSequence=[lookup_table([0, 0, 16], data)]) == [0, 128, 255]


@pytest.mark.parametrize("table", [lookup_table([4, 0, 12], [1, 2, 3]), lookup_table([3, 0, 7], [1, 2, 3])])
def test_a_lookup_table_that_contradicts_itself_is_an_error(table: Dataset) -> None:
    with pytest.raises(DamagedImageError, match="lookup table"):
        shown([0, 1], VOILUTSequence=[table])


@given(st.lists(st.integers(-32768, 65535), min_size=1, max_size=50))
def test_without_any_display_element_the_order_of_values_is_kept(stored: list[int]) -> None:
    assert (np.diff(shown(sorted(stored))) >= 0).all()
