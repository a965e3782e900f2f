"""Which engine is found best, and when an export fails for what int8 changes."""

from dataclasses import replace

import numpy as np
import pytest

from pneumonia.engine_measurement import MeasuredEngine, describe_engines, rank_engines, reason
from pneumonia.errors import BundleError
from pneumonia.evaluation.agreement import Agreement, AgreementLimits
from pneumonia.inference.engine import EngineOutput

OUTPUT = EngineOutput(*(np.zeros((1, 2), np.float32) for _ in range(3)))
SAME = Agreement(785, 0.99, 0.95, 0.0, 0.0, 0.0, 0, 0, 0, 0.0)


def measured(agreement: Agreement = SAME, **milliseconds: float) -> dict[str, MeasuredEngine]:
    return {
        name.replace("_", "-"): MeasuredEngine(OUTPUT, SAME if name == "fp32" else agreement, {1: took, 32: took})
        for name, took in milliseconds.items()
    }


@pytest.mark.parametrize(
    ("milliseconds", "order"),
    [
        ({"fp32": 3.0, "int8": 1.2}, ["int8", "fp32"]),
        ({"fp32": 3.0, "int8": 2.9}, ["fp32", "int8"]),  # answers change for nothing
        ({"fp32": 3.0, "int8": 1.2, "openvino_int8": 1.15}, ["int8", "openvino-int8", "fp32"]),  # a package for nothing
        ({"fp32": 3.0, "int8": 1.2, "openvino_int8": 0.9}, ["openvino-int8", "int8", "fp32"]),
    ],
)
def test_what_is_faster_is_better_where_it_is_worth_it(milliseconds: dict[str, float], order: list[str]) -> None:
    assert rank_engines(measured(**milliseconds)) == order


def test_the_reason_gives_speed_and_cost() -> None:
    engines = measured(replace(SAME, largest_probability_change=0.004), fp32=2.99, int8=1.3)
    assert reason(engines, "int8") == "int8: 2.3 times fp32 at batch 1, largest change of probability 0.004"
    assert reason(engines, "fp32").startswith("fp32: no other engine was faster")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"auroc_drop": 0.01}, "AUROC falls"),
        ({"decisions_changed": 8}, "8 of 785 films are decided otherwise"),
        ({"largest_probability_change": 0.2}, "a probability changes by 0.200"),
    ],
)
def test_int8_that_answers_otherwise_is_refused(change: dict[str, float], said: str) -> None:
    engines = measured(replace(SAME, **change), fp32=3.0, int8=1.0)
    with pytest.raises(BundleError, match=f"int8 answers otherwise than fp32: .*{said}.*pneumonia export --help"):
        describe_engines(engines, AgreementLimits(), {})
    wide = AgreementLimits(auroc_drop=1, share_changed=1, probability_change=1)
    assert describe_engines(engines, wide, {})["order"] == ["int8", "fp32"]


def test_another_runtime_that_answers_otherwise_is_recorded_and_not_taken() -> None:
    engines = measured(fp32=3.0, int8=1.2, openvino_bf16=0.1)
    engines["openvino-bf16"] = replace(
        engines["openvino-bf16"], agreement=replace(SAME, largest_probability_change=0.5)
    )
    said = describe_engines(engines, AgreementLimits(), {"method": "some"})
    assert said["order"] == ["int8", "fp32"]
    assert said["measured"]["openvino-bf16"]["largest_probability_change"] == 0.5
    assert said["measured"]["int8"]["speed"] == {"1": 2.5, "32": 2.5}


def test_a_figure_that_is_undefined_is_null() -> None:
    engines = measured(replace(SAME, auroc=float("nan")), fp32=3.0, int8=1.2)
    assert describe_engines(engines, AgreementLimits(), {})["measured"]["int8"]["auroc"] is None
