"""What `benchmarks.own_films` fits is fitted on some patients and measured on others."""

import csv
from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit

from benchmarks.own_films import draw, fit_slope_too, measure, read_predictions
from pneumonia.errors import DataError
from pneumonia.evaluation.metrics import ece, specificity

RNG = np.random.default_rng(0)
LABELS = np.repeat([0, 1], 200)
PATIENTS = np.array([f"patient{number // 2}" for number in range(400)])
# Log-odds as they are of two normal distributions whose variance is twice their mean, all moved towards disease.
LOG_ODDS = RNG.normal(np.where(LABELS == 1, 4.5, -4.5), 3.0) + 3.0


def test_predictions_are_read_with_their_patients(tmp_path: Path) -> None:
    with (tmp_path / "predictions.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "probability", "prediction"])
        writer.writerow(["test/NORMAL/IM-0001-0001.jpeg", "NORMAL", 0.25, "NORMAL"])
        writer.writerow(["test/PNEUMONIA/person3_virus_7.jpeg", "PNEUMONIA", 0.75, "PNEUMONIA"])
    labels, probabilities, patients = read_predictions(tmp_path / "predictions.csv")
    assert labels.tolist() == [0, 1]
    assert probabilities.tolist() == [0.25, 0.75]
    assert patients.tolist() == ["IM-0001", "person3"]


def test_slope_and_offset_of_many_films_are_those_that_made_them() -> None:
    slope, offset = fit_slope_too(LABELS, (LOG_ODDS - 3.0) / 2)
    assert slope == pytest.approx(2, rel=0.25)
    assert offset == pytest.approx(0, abs=0.7)


def test_no_patient_is_on_both_sides_and_both_classes_are_drawn() -> None:
    for seed in range(20):
        drawn = draw(LABELS, PATIENTS, 2, np.random.default_rng(seed))
        assert set(LABELS[drawn]) == {0, 1}
        assert not set(PATIENTS[drawn]) & set(PATIENTS[~drawn])


def test_films_of_one_s_own_mend_scores_that_were_moved() -> None:
    found, other = measure(LABELS, expit(LOG_ODDS), PATIENTS, ["youden", "accuracy"], films=50, repeats=30)
    assert (found.pop("rule"), found.pop("films")) == ("youden", 50)
    assert other["ece"] == found["ece"]
    assert found["specificity"]["value"] > specificity(LABELS, expit(LOG_ODDS), 0.5) + 0.1
    assert found["ece"]["value"] < ece(LABELS, expit(LOG_ODDS)) / 2
    for figure in found.values():
        assert 0 <= figure["low"] <= figure["value"] <= figure["high"] <= 1


def test_more_films_than_there_are_is_an_error() -> None:
    with pytest.raises(DataError, match="400 films, 400 leave no others"):
        measure(LABELS, expit(LOG_ODDS), PATIENTS, ["youden"], films=400, repeats=1)
