"""Bootstrap intervals: by patient, the same for the same seed, as wide as they should be."""

import math

import numpy as np
import pytest

from pneumonia.errors import ConfigError, DataError
from pneumonia.evaluation.intervals import Interval, bootstrap_intervals
from pneumonia.evaluation.metrics import METRICS, compute_metrics
from pneumonia.evaluation.weighted import weighted_metrics


def films(seed, n=150):
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 2, n)
    return labels, np.clip(generator.normal(0.35 + 0.3 * labels, 0.25), 0, 1).round(2)


def one_patient_each(n):
    return [f"patient{index}" for index in range(n)]


def test_weights_of_one_give_the_plain_figures():
    labels, probabilities = films(0)
    weighted = weighted_metrics(labels, probabilities, 0.5, np.ones((3, len(labels))))
    plain = compute_metrics(labels, probabilities, 0.5)
    for name, values in weighted.items():
        assert values.tolist() == pytest.approx([plain[name]] * 3)


def test_whole_weights_give_the_figures_of_films_repeated_so_often():
    labels, probabilities = films(1)
    counts = np.random.default_rng(2).integers(0, 4, len(labels))
    weighted = weighted_metrics(labels, probabilities, 0.5, counts[None].astype(float))
    repeated = compute_metrics(np.repeat(labels, counts), np.repeat(probabilities, counts), 0.5)
    assert {name: values[0] for name, values in weighted.items()} == pytest.approx(repeated)


def test_intervals_equal_those_of_a_plain_loop_over_resamples():
    labels, probabilities = films(3, 60)
    patients = [f"patient{index // 3}" for index in range(60)]
    rows_of = [np.arange(60)[np.array(patients) == patient] for patient in np.unique(patients)]
    generator = np.random.default_rng(7)
    draws = []
    for drawn in generator.integers(0, 20, (200, 20)):
        rows = np.concatenate([rows_of[patient] for patient in drawn])
        draws.append(compute_metrics(labels[rows], probabilities[rows], 0.5)["auroc"])
    interval = bootstrap_intervals(labels, probabilities, 0.5, patients, resamples=200, seed=7)["auroc"]
    assert [interval.low, interval.high] == pytest.approx(np.quantile(draws, [0.025, 0.975]).tolist())


def test_every_interval_holds_its_value():
    labels, probabilities = films(4)
    intervals = bootstrap_intervals(labels, probabilities, 0.5, one_patient_each(150), resamples=200)
    assert tuple(intervals) == METRICS
    assert all(interval.low <= interval.value <= interval.high for interval in intervals.values())


def test_an_interval_that_resampling_biases_is_widened_to_its_value():
    labels = np.arange(100) % 2  # as many of each as the probability says: no resample is calibrated better
    interval = bootstrap_intervals(labels, np.full(100, 0.5), 0.5, one_patient_each(100), resamples=200, level=0.2)[
        "ece"
    ]
    assert (interval.value, interval.low) == (0.0, 0.0)
    assert interval.high > 0


def test_the_same_seed_gives_the_same_intervals_and_another_seed_others():
    labels, probabilities = films(5)
    first, again, other = (
        bootstrap_intervals(labels, probabilities, 0.5, one_patient_each(150), resamples=100, seed=seed)
        for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    truth, held = 0.8, 0
    generator = np.random.default_rng(6)
    for repetition in range(200):
        right = generator.random(100) < truth
        interval = bootstrap_intervals(
            np.ones(100, dtype=int), right.astype(float), 0.5, one_patient_each(100), 200, repetition
        )["sensitivity"]
        held += interval.low <= truth <= interval.high
    assert 0.88 <= held / 200 <= 0.99


def test_copies_of_films_do_not_narrow_an_interval_by_patient():
    labels, probabilities = films(8)
    copies = 9
    alone = bootstrap_intervals(labels, probabilities, 0.5, one_patient_each(150))["auroc"]
    by_patient = bootstrap_intervals(
        np.repeat(labels, copies),
        np.repeat(probabilities, copies),
        0.5,
        np.repeat(one_patient_each(150), copies).tolist(),
    )["auroc"]
    assert [by_patient.low, by_patient.high] == pytest.approx([alone.low, alone.high])


def test_an_interval_by_patient_is_wider_than_one_by_film_when_films_of_a_patient_are_copies():
    labels, probabilities = (np.repeat(column, 9) for column in films(8))
    by_patient = bootstrap_intervals(labels, probabilities, 0.5, np.repeat(one_patient_each(150), 9).tolist())["auroc"]
    by_film = bootstrap_intervals(labels, probabilities, 0.5, one_patient_each(len(labels)))["auroc"]
    assert by_patient.high - by_patient.low > 2 * (by_film.high - by_film.low)


def test_a_higher_level_gives_a_wider_interval():
    labels, probabilities = films(9)
    narrow, wide = (
        bootstrap_intervals(labels, probabilities, 0.5, one_patient_each(150), level=level)["auroc"]
        for level in (0.5, 0.99)
    )
    assert wide.low < narrow.low < narrow.high < wide.high


def test_a_resample_without_positives_is_left_out_of_the_figures_that_need_them():
    intervals = bootstrap_intervals([0, 0, 1], [0.1, 0.2, 0.9], 0.5, ["a", "b", "c"], resamples=200)
    assert (intervals["sensitivity"].low, intervals["sensitivity"].high) == (1.0, 1.0)


def test_an_undefined_figure_has_no_interval_and_is_null_in_json():
    interval = bootstrap_intervals([0, 0, 0], [0.1, 0.2, 0.9], 0.5, ["a", "b", "c"], resamples=50)["auroc"]
    assert interval.as_json() == {"value": None, "low": None, "high": None}


def test_one_patient_has_figures_but_no_interval():
    interval = bootstrap_intervals([0, 1], [0.1, 0.9], 0.5, ["a", "a"])["auroc"]
    assert interval.value == 1.0
    assert math.isnan(interval.low)
    assert math.isnan(interval.high)


@pytest.mark.parametrize(
    ("interval", "text"),
    [
        (Interval(0.981, 0.9624, 0.9936), "0.981 (0.962-0.994)"),
        (Interval(math.nan, math.nan, math.nan), "undefined"),
        (Interval(0.5, math.nan, math.nan), "0.500 (no interval)"),
    ],
)
def test_an_interval_is_written_as_journals_write_it(interval, text):
    assert str(interval) == text


@pytest.mark.parametrize(("resamples", "level"), [(0, 0.95), (100, 0.0), (100, 1.0), (100, 95)])
def test_settings_that_give_no_interval_are_refused(resamples, level):
    with pytest.raises(ConfigError, match="between 0 and 1"):
        bootstrap_intervals([0, 1], [0.1, 0.9], 0.5, ["a", "b"], resamples=resamples, level=level)


def test_a_film_without_a_patient_is_refused():
    with pytest.raises(DataError, match="1 patients for 2 films"):
        bootstrap_intervals([0, 1], [0.1, 0.9], 0.5, ["a"])
