"""What the page says of the model."""

from functools import partial
from typing import Any

import pytest

from pneumonia import DISCLAIMER
from pneumonia.bundle import load_bundle
from pneumonia.demo.about import about as about_in
from pneumonia.demo.header import header as header_in
from pneumonia.demo.header import is_synthetic
from pneumonia.demo.problems import DOWN
from pneumonia.demo.strings import Strings
from pneumonia.serving.described import describe_model

SAY = Strings("en")
about, header = partial(about_in, SAY), partial(header_in, SAY)

FIGURE = {"value": 0.91234, "low": 0.85, "high": 0.95}


def model(**changes: Any) -> dict[str, Any]:
    return {
        "name": "cnn",
        "version": "0123456789ab",
        "synthetic": False,
        "operating_point": {"temperature": 1.0, "threshold": 0.41, "rule": "youden"},
        "metrics": {"test": {"n": 307, "auroc": FIGURE}, "validation": {"n": 785, "auroc": FIGURE, "ece": FIGURE}},
        **changes,
    }


def test_the_header_names_the_model_and_carries_the_disclaimer() -> None:
    markup = header(model())
    assert "cnn:0123456789ab" in markup
    assert DISCLAIMER in markup


def test_the_header_says_that_the_model_is_not_there() -> None:
    assert "reached" in header(DOWN)
    assert "Connecting" in header(None)


def test_a_synthetic_model_has_a_banner() -> None:
    assert "Synthetic model." in header(model(synthetic=True))
    assert "Synthetic" not in header(model())
    assert is_synthetic(model(synthetic=True))
    assert not is_synthetic(DOWN)


def test_figures_stand_with_their_intervals() -> None:
    markup = about(model())
    assert "0.912 <small>(0.850 to 0.950)</small>" in markup
    assert "785 films" in markup
    assert "307 films" in markup


def test_validation_stands_before_test() -> None:
    markup = about(model())
    assert markup.index(">Validation") < markup.index(">Test")


def test_the_operating_point_is_told_with_its_rule() -> None:
    assert "41.0%, chosen on validation films for the largest sum of sensitivity" in about(model())
    other = about(model(operating_point={"threshold": 0.2, "rule": "sensitivity>=0.95"}))
    assert "20.0%, chosen on validation films by the rule sensitivity&gt;=0.95" in other


def test_a_recalibration_is_told() -> None:
    provenance = {"recalibration": {"source": "cnn:0f", "films": 1200}}
    assert "from cnn:0f on 1,200 labelled films" in about(model(provenance=provenance))
    assert "those of validation chose the operating point and flatter it" in about(model(provenance=provenance))
    assert "flatter" not in about(model())
    assert "Recalibrated" not in about(model())
    assert "Recalibrated" not in about(model(provenance={"recalibration": {"films": "many", "source": 1}}))


def test_a_real_bundle_is_described(bundle_dir: Any) -> None:
    markup = about(describe_model(load_bundle(bundle_dir)).info)
    assert "Sensitivity" in markup
    assert "95% intervals" in markup
    assert "{" not in markup


@pytest.mark.parametrize(
    "stranger",
    [
        {},
        {"classes": 2, "parameters": "many"},
        {"metrics": None},
        {"metrics": {"test": 3}},
        {"metrics": {"test": {"auroc": None}}},
        {"provenance": []},
        {"provenance": {"data": {"files": "many"}}},
    ],
)
def test_an_answer_that_says_little_is_no_error(stranger: dict[str, Any]) -> None:
    assert "no figures" in about(stranger)
    assert header(stranger)


def test_what_a_server_says_is_text_and_never_markup() -> None:
    hostile = "<script>alert(1)</script>"
    point = {"threshold": 0.5, "rule": hostile}
    markup = about(model(name=hostile, created=hostile, classes=[hostile], operating_point=point, input_size=hostile))
    markup += header(model(name=hostile)) + about(model(metrics={hostile: {"auroc": FIGURE}}, parameters=hostile))
    assert "<script" not in markup
