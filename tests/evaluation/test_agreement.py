"""What is counted as a change between two engines, and what is too much of it."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pneumonia.evaluation.agreement import Agreement, AgreementLimits, compare_outputs
from pneumonia.evaluation.operating_point import OperatingPoint
from pneumonia.inference.engine import EngineOutput

POINT = OperatingPoint(1.0, 0.5, "youden", 0.95, (0.4, 0.4))
SAME = Agreement(1000, 0.99, 0.95, 0.0, 0.0, 0.0, 0, 0, 0, 0.0)
NONE_REFUSED = (np.zeros(4, bool), np.zeros(4, bool))


def output(log_odds: list[float], evidence: float = 1.0) -> EngineOutput:
    logits = np.array([[0.0, value] for value in log_odds], dtype=np.float32)
    maps = np.full((len(log_odds), 2, 3, 3), evidence, dtype=np.float32)
    return EngineOutput(logits, maps, np.zeros((len(log_odds), 5), dtype=np.float32))


def test_an_engine_agrees_with_itself() -> None:
    answers = output([-2.0, -1.0, 1.0, 2.0])
    agreement = compare_outputs(answers, answers, [0, 0, 1, 1], POINT, NONE_REFUSED)
    assert agreement == Agreement(4, 1.0, 1.0, 0.0, 0.0, 0.0, 0, 0, 0, 0.0)
    assert AgreementLimits(0.0, 0.0, 0.0).exceeded(agreement) == []


def test_changes_of_decision_set_and_map_are_counted() -> None:
    before, after = output([-2.0, -0.1, 0.1, 2.0]), output([-2.0, 0.1, 1.0, 2.0], evidence=1.5)
    agreement = compare_outputs(before, after, [0, 0, 1, 1], POINT, NONE_REFUSED)
    assert (agreement.decisions_changed, agreement.sets_changed) == (1, 1)
    assert agreement.largest_probability_change == pytest.approx(1 / (1 + np.exp(-1.0)) - 1 / (1 + np.exp(-0.1)))
    assert agreement.largest_map_change == pytest.approx(0.5)
    assert (agreement.auroc, agreement.auroc_drop, agreement.accuracy) == (1.0, 0.0, 0.75)


def test_a_film_that_is_ranked_wrong_costs_auroc() -> None:
    before, after = output([-2.0, -1.0, 1.0, 2.0]), output([-2.0, 1.5, 1.0, 2.0])
    agreement = compare_outputs(before, after, [0, 0, 1, 1], POINT, NONE_REFUSED)
    assert (agreement.auroc, agreement.auroc_drop) == (0.75, 0.25)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=4, max_size=4))
def test_another_verdict_of_the_input_check_counts_in_both_directions(verdicts: list[tuple[bool, bool]]) -> None:
    answers = output([-2.0, -1.0, 1.0, 2.0])
    one, other = zip(*verdicts, strict=True)
    agreement = compare_outputs(answers, answers, [0, 0, 1, 1], POINT, (one, other))
    assert agreement.refusals_changed == sum(before != after for before, after in verdicts)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"auroc_drop": 0.0021}, "AUROC falls by 0.0021"),
        ({"auroc_drop": float("nan")}, "AUROC falls by nan"),
        ({"largest_probability_change": 0.11}, "probability changes by 0.110"),
        ({"largest_probability_change": float("nan")}, "probability changes by nan"),
        ({"decisions_changed": 11}, "11 of 1000 films are decided otherwise"),
        ({"sets_changed": 11}, "11 of 1000 films get another prediction set"),
        ({"refusals_changed": 11}, "11 of 1000 films pass the input check"),
    ],
)
def test_each_limit_is_held(change: dict[str, float], said: str) -> None:
    (exceeded,) = AgreementLimits().exceeded(replace(SAME, **change))
    assert said in exceeded


def test_what_is_at_its_limit_is_within_it() -> None:
    at_limit = replace(SAME, auroc_drop=0.002, largest_probability_change=0.1, decisions_changed=10, sets_changed=10)
    assert AgreementLimits().exceeded(replace(at_limit, refusals_changed=10)) == []
