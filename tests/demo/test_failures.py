"""Known failures: sentences made of the figures that a bundle carries."""

from typing import Any

from pneumonia.bundle import REFERENCE, load_bundle
from pneumonia.demo.failures import failures
from pneumonia.demo.strings import Strings

SAY = Strings("en")


def figure(value: float) -> dict[str, Any]:
    return {"value": value, "low": value, "high": value}


def test_a_model_without_figures_has_no_sentence() -> None:
    assert failures(SAY, {}) == []
    assert failures(SAY, {"metrics": {"test": {"specificity": figure(0.99), "sensitivity": figure(0.99)}}}) == []


def test_what_is_low_is_said_with_its_figure() -> None:
    metrics = {
        "test": {
            "specificity": figure(0.8),
            "sensitivity": figure(0.95),
            "subgroups": {"virus": {"description": "PNEUMONIA of virus", "sensitivity": figure(0.85)}},
            "robustness": {"worst": {"corruption": "blur", "amount": 2, "unit": "pixels", "drop": 0.03}},
            "prediction_sets": {"coverage": 0.95, "covered": {"NORMAL": figure(0.8), "PNEUMONIA": figure(0.95)}},
        }
    }
    assert failures(SAY, {"metrics": metrics}) == [
        "On the test films, 20% of the normal films are called pneumonia.",
        "On the test films, of the part “PNEUMONIA of virus”, only 85% with pneumonia are found.",
        "On the test films, of all changes that were tried, this one costs most: blur 2 (pixels) lowers the area under "
        "the ROC curve by 0.030.",
        "On the test films, prediction sets hold the class of NORMAL films in 80% of them, where 95% were asked for.",
    ]


def test_the_reference_tells_of_its_own() -> None:
    told = failures(SAY, load_bundle(REFERENCE).describe())
    assert any("normal films are called pneumonia" in text for text in told)
