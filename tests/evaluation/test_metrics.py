"""The figures agree with scikit-learn and torchmetrics, hold their laws, and say when they are undefined."""

import math

import numpy as np
import pytest
import sklearn.metrics as reference
from hypothesis import given, settings
from hypothesis import strategies as st

from pneumonia.errors import DataError
from pneumonia.evaluation import metrics
from pneumonia.evaluation.curves import precision_recall_curve, reliability_bins, roc_curve

SEEDS = range(5)


def films(seed, n=400, ties=True):
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 2, n)
    probabilities = np.clip(generator.normal(0.35 + 0.3 * labels, 0.25), 0, 1)
    return labels, probabilities.round(1) if ties else probabilities


@st.composite
def samples(draw):
    n = draw(st.integers(2, 40))
    labels = draw(st.lists(st.integers(0, 1), min_size=n, max_size=n))
    steps = draw(st.lists(st.integers(0, 20), min_size=n, max_size=n))
    return np.array(labels), np.array(steps) / 20


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (metrics.auroc, reference.roc_auc_score),
        (metrics.average_precision, reference.average_precision_score),
        (metrics.brier, reference.brier_score_loss),
        (metrics.log_loss, reference.log_loss),
    ],
)
@pytest.mark.parametrize("ties", [True, False])
def test_figures_of_probabilities_equal_scikit_learns(ours, theirs, seed, ties):
    labels, probabilities = films(seed, ties=ties)
    assert ours(labels, probabilities) == pytest.approx(theirs(labels, probabilities), rel=1e-10)


@pytest.mark.parametrize("seed", SEEDS)
def test_figures_at_a_threshold_equal_scikit_learns(seed):
    labels, probabilities = films(seed)
    called = probabilities >= 0.5
    figures = metrics.compute_metrics(labels, probabilities, 0.5)
    expected = {
        "accuracy": reference.accuracy_score(labels, called),
        "sensitivity": reference.recall_score(labels, called),
        "specificity": reference.recall_score(labels, called, pos_label=0),
        "ppv": reference.precision_score(labels, called),
        "npv": reference.precision_score(labels, called, pos_label=0),
        "f1": reference.f1_score(labels, called),
    }
    assert {name: figures[name] for name in expected} == pytest.approx(expected)


@pytest.mark.parametrize("seed", SEEDS)
def test_confusion_equals_scikit_learns(seed):
    labels, probabilities = films(seed)
    expected = reference.confusion_matrix(labels, probabilities >= 0.3).ravel().tolist()
    assert list(metrics.confusion(labels, probabilities, 0.3)) == expected


@pytest.mark.parametrize("seed", SEEDS)
def test_ece_equals_torchmetrics(seed):
    torch = pytest.importorskip("torch")
    functional = pytest.importorskip("torchmetrics.functional.classification")
    labels, probabilities = films(seed, ties=False)
    probabilities = np.clip(probabilities, 0.001, 0.999)  # at 1 exactly, torchmetrics opens a bin of its own
    expected = functional.binary_calibration_error(
        torch.tensor(probabilities), torch.tensor(labels), n_bins=15, norm="l1"
    )
    assert metrics.ece(labels, probabilities) == pytest.approx(float(expected), abs=1e-6)


@pytest.mark.parametrize("seed", SEEDS)
def test_auroc_and_average_precision_equal_torchmetrics(seed):
    torch = pytest.importorskip("torch")
    functional = pytest.importorskip("torchmetrics.functional.classification")
    labels, probabilities = films(seed)
    scores, truth = torch.tensor(probabilities), torch.tensor(labels)
    assert metrics.auroc(labels, probabilities) == pytest.approx(
        float(functional.binary_auroc(scores, truth)), abs=1e-5
    )
    assert metrics.average_precision(labels, probabilities) == pytest.approx(
        float(functional.binary_average_precision(scores, truth)), abs=1e-5
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_roc_curve_equals_scikit_learns(seed):
    labels, probabilities = films(seed)
    expected = reference.roc_curve(labels, probabilities, drop_intermediate=False)
    for ours, theirs in zip(roc_curve(labels, probabilities), expected, strict=True):
        np.testing.assert_allclose(ours, theirs)


@pytest.mark.parametrize("seed", SEEDS)
def test_precision_recall_curve_equals_scikit_learns_without_its_made_up_point(seed):
    labels, probabilities = films(seed)
    precision, recall, thresholds = reference.precision_recall_curve(labels, probabilities)
    curve = precision_recall_curve(labels, probabilities)
    np.testing.assert_allclose(curve.precision, precision[:-1][::-1])
    np.testing.assert_allclose(curve.recall, recall[:-1][::-1])
    np.testing.assert_allclose(curve.thresholds, thresholds[::-1])


def test_reliability_bins_hold_every_film_once_and_give_the_ece():
    labels, probabilities = films(0)
    bins = reliability_bins(labels, probabilities)
    gaps = np.abs(bins.share_positive - bins.mean_probability)
    assert bins.films.sum() == len(labels)
    assert np.nansum(gaps * bins.films) / len(labels) == pytest.approx(metrics.ece(labels, probabilities))


def test_probabilities_of_0_and_1_fall_in_the_outermost_bins():
    assert reliability_bins([0, 1], [0.0, 1.0]).films[[0, -1]].tolist() == [1, 1]


def test_a_probability_on_an_edge_belongs_to_the_bin_below_it():
    edges = reliability_bins([], []).upper
    assert reliability_bins(np.ones(15, dtype=int), edges).films.tolist() == [1] * 15


@settings(deadline=None)
@given(samples())
def test_auroc_does_not_change_under_a_monotone_map(sample):
    labels, probabilities = sample
    np.testing.assert_equal(metrics.auroc(labels, probabilities**3), metrics.auroc(labels, probabilities))


@settings(deadline=None)
@given(samples())
def test_auroc_of_flipped_labels_is_the_complement(sample):
    labels, probabilities = sample
    flipped = 1 - metrics.auroc(1 - labels, probabilities)
    np.testing.assert_allclose(flipped, metrics.auroc(labels, probabilities), atol=1e-12)


@settings(deadline=None)
@given(samples())
def test_ece_does_not_change_when_films_are_reordered(sample):
    labels, probabilities = sample
    assert metrics.ece(labels[::-1], probabilities[::-1]) == pytest.approx(metrics.ece(labels, probabilities))


@settings(deadline=None)
@given(samples(), st.floats(0, 1))
def test_every_figure_but_log_loss_lies_in_0_to_1_or_is_undefined(sample, threshold):
    figures = metrics.compute_metrics(*sample, threshold)
    assert tuple(figures) == metrics.METRICS
    assert all(math.isnan(value) or 0 <= value <= 1 for name, value in figures.items() if name != "log_loss")


@settings(deadline=None)
@given(samples(), st.floats(0, 1))
def test_the_single_functions_give_what_compute_metrics_gives(sample, threshold):
    figures = metrics.compute_metrics(*sample, threshold)
    for name in ("auroc", "average_precision", "ece", "brier", "log_loss"):
        np.testing.assert_equal(getattr(metrics, name)(*sample), figures[name])
    for name in ("accuracy", "sensitivity", "specificity", "ppv", "npv", "f1"):
        np.testing.assert_equal(getattr(metrics, name)(*sample, threshold), figures[name])


@pytest.mark.parametrize("name", ["auroc", "average_precision", "sensitivity"])
def test_figures_of_positives_are_undefined_without_positives(name):
    assert math.isnan(metrics.compute_metrics([0, 0], [0.2, 0.7], 0.5)[name])


@pytest.mark.parametrize("name", ["auroc", "specificity"])
def test_figures_of_negatives_are_undefined_without_negatives(name):
    assert math.isnan(metrics.compute_metrics([1, 1], [0.2, 0.7], 0.5)[name])


def test_predictive_values_are_undefined_when_nothing_is_called_so():
    assert math.isnan(metrics.ppv([0, 1], [0.1, 0.2], 0.5))
    assert math.isnan(metrics.npv([0, 1], [0.8, 0.9], 0.5))


def test_every_figure_of_no_films_is_undefined():
    assert all(math.isnan(value) for value in metrics.compute_metrics([], [], 0.5).values())


def test_a_film_exactly_at_the_threshold_is_called_pneumonia():
    assert metrics.confusion([1], [0.5], 0.5).tp == 1


def test_a_certain_error_costs_a_finite_log_loss():
    assert 30 < metrics.log_loss([1], [0.0]) < 40


@pytest.mark.parametrize(
    ("labels", "probabilities", "message"),
    [
        ([0, 1], [0.5], r"shape \(2,\).*\(1,\)"),
        ([0, 2], [0.5, 0.5], "0 .NORMAL. or 1"),
        ([0, 1], [0.5, 1.5], "1 of 2 probabilities.*index 1"),
        ([0, 1], [math.nan, 0.5], "1 of 2 probabilities.*index 0"),
    ],
)
def test_arrays_that_are_no_labels_and_probabilities_are_refused(labels, probabilities, message):
    with pytest.raises(DataError, match=message):
        metrics.compute_metrics(labels, probabilities, 0.5)
