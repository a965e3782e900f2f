"""What `benchmarks.film_shape` cuts and counts, on a real bundle and tree."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.film_shape import measure, table
from pneumonia.errors import ConfigError, DataError
from pneumonia.evaluation.corruptions import cut_to_shape


@pytest.mark.parametrize("ratio", [0.6, 0.85, 1.0, 1.15, 1.5])
def test_the_middle_of_a_film_gets_the_ratio_and_keeps_one_side(ratio: float) -> None:
    film = np.arange(120 * 200, dtype=np.uint32).reshape(120, 200).astype(np.uint8)
    cut = cut_to_shape(film, ratio)
    assert cut.shape[1] / cut.shape[0] == pytest.approx(200 / 120 * ratio, rel=0.02)
    assert (cut.shape[0] == 120) or (cut.shape[1] == 200)
    rows, columns = (120 - cut.shape[0]) // 2, (200 - cut.shape[1]) // 2
    assert np.array_equal(cut, film[rows : rows + cut.shape[0], columns : columns + cut.shape[1]])


def test_held_out_films_are_measured_at_the_bundle_s_threshold(
    bundle_dir: Path, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.film_shape._OWN_FILMS", 4)
    monkeypatch.setattr("benchmarks.film_shape._REPEATS", 3)
    report = measure(bundle_dir, tree, (1.0, 1.3))
    plain, wide = report["ratios"]["1"], report["ratios"]["1.3"]
    assert plain["moved"] == {"NORMAL": 0.0, "PNEUMONIA": 0.0}
    assert wide["moved"] != plain["moved"]
    assert 0 <= wide["recalibrated"]["low"] <= wide["recalibrated"]["high"] <= 1
    assert f"{report['n']} films of held-out patients" in table(report)
    assert "| 1.3 times |" in table(report)
    lowest = min((row["sensitivity"] + row["specificity"]) / 2 for row in (plain, wide))
    assert f"Lowest mean of sensitivity and specificity: {lowest:.3f}, at" in table(report)


def test_more_films_than_are_held_out_and_ratios_that_are_none_are_refused(bundle_dir: Path, tree: Path) -> None:
    with pytest.raises(DataError, match="ask for fewer"):
        measure(bundle_dir, tree, (1.0,))
    with pytest.raises(ConfigError, match="above 0"):
        measure(bundle_dir, tree, (1.0, 0.0))
