"""Refitting is judged by patients on whom it was not done."""

import numpy as np
import pytest

from pneumonia.errors import DataError
from pneumonia.evaluation.cross_fitting import FOLDS, check_enough, cross_fit, decide_all, decided_figures
from pneumonia.evaluation.operating_point import OperatingPoint, refit_operating_point

POINT = OperatingPoint(1.0, 0.5, "youden", 0.9, (0.3, 0.3))


def films(n=400, moved=3.0, seed=0):
    """Logits whose log-odds all lie too high, the classes, and two films a patient."""
    generator = np.random.default_rng(seed)
    classes = np.arange(n) // 2 % 2
    odds = generator.normal(np.where(classes == 1, 3.0, -3.0), 2.5) + moved
    return np.stack([np.zeros(n), odds], axis=1), classes, [f"patient{film // 2}" for film in range(n)]


def test_scores_that_were_moved_are_decided_better_by_what_was_fitted_on_others():
    logits, classes, patients = films()
    before = decided_figures(decide_all(logits, POINT), classes, ("NORMAL", "PNEUMONIA"), patients)
    after = decided_figures(cross_fit(logits, classes, patients, POINT), classes, ("NORMAL", "PNEUMONIA"), patients)
    assert after["accuracy"]["value"] > before["accuracy"]["value"] + 0.1
    assert after["specificity"]["value"] > before["specificity"]["value"] + 0.2
    assert after["ece"]["value"] < before["ece"]["value"]
    assert [share["value"] for share in after["covered"].values()] == pytest.approx([0.9, 0.9], abs=0.05)


def test_no_film_is_decided_by_what_its_own_patient_chose():
    logits, classes, patients = films(n=200)
    own = np.array(patients) == "patient7"
    changed = logits.copy()
    changed[own, 1] += 2.0
    before, after = (
        np.log(decided.probabilities) - np.log1p(-decided.probabilities)
        for decided in (cross_fit(rows, classes, patients, POINT) for rows in (logits, changed))
    )
    assert after[own] - before[own] == pytest.approx(2.0)
    # The offset of nine of ten folds has seen them.
    assert np.isclose(after[~own], before[~own], atol=1e-9).sum() == pytest.approx(200 / FOLDS, abs=4)


def test_labels_drawn_by_chance_are_not_made_to_look_told():
    generator = np.random.default_rng(1)
    classes = generator.permutation(np.arange(60) % 2)
    logits = np.stack([np.zeros(60), generator.normal(0, 1, 60)], axis=1)
    patients = list(map(str, range(60)))
    own = decide_all(logits, refit_operating_point(logits, classes, 1.0, "accuracy", 0.9))
    crossed = cross_fit(logits, classes, patients, OperatingPoint(1.0, 0.5, "accuracy", 0.9, (0.3, 0.3)))
    assert (own.called == classes).mean() > (crossed.called == classes).mean()


def test_the_same_films_give_the_same_figures():
    one, other = (cross_fit(*films(n=100), POINT) for _ in range(2))
    assert np.array_equal(one.probabilities, other.probabilities)
    assert np.array_equal(one.sets, other.sets)


def test_patients_with_films_of_both_classes_are_dealt_as_well():
    logits, classes, _ = films(n=60)
    patients = [f"patient{film % 15}" if film < 40 else f"alone{film}" for film in range(60)]
    assert len({frozenset(classes[np.array(patients) == name].tolist()) for name in set(patients)}) == 3
    decided = cross_fit(logits, classes, patients, POINT)
    assert ((decided.probabilities > 0) & (decided.probabilities < 1)).all()


def test_films_that_leave_too_few_in_a_fold_are_refused():
    _, classes, patients = films(n=36)
    with pytest.raises(DataError, match=r"18 films of 9 patients are NORMAL, of which 16 are left"):
        check_enough(classes, patients, ("NORMAL", "PNEUMONIA"), 0.9)
    _, classes, patients = films(n=80)
    check_enough(classes, patients, ("NORMAL", "PNEUMONIA"), 0.95)
    with pytest.raises(
        DataError, match=r"40 films of 20 patients are NORMAL, of which 36 .*: 49 of 10 patients or more"
    ):
        check_enough(classes, patients, ("NORMAL", "PNEUMONIA"), 0.98)


def test_enough_films_leave_sets_that_tell_something_in_every_fold():
    logits, classes, patients = films(n=84)
    check_enough(classes, patients, ("NORMAL", "PNEUMONIA"), 0.95)
    crossed = cross_fit(logits, classes, patients, OperatingPoint(1.0, 0.5, "youden", 0.95, (0.3, 0.3)))
    assert not crossed.sets.all()
    assert crossed.decided.any()
