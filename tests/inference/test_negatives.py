"""The reference bundle's input check on what is no frontal chest film: pictures of packages, and drawings."""

from collections import defaultdict

import pytest

from benchmarks.negatives import CHEST, Negative, collect
from pneumonia.bundle import REFERENCE, load_bundle
from pneumonia.inference.input_check import InputCheck
from pneumonia.inference.predictor import Predictor

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def checked() -> list[tuple[Negative, InputCheck]]:
    pytest.importorskip("skimage")
    pytest.importorskip("data_store")  # pydicom-data
    predictor = Predictor(load_bundle(REFERENCE))
    negatives, _ = collect(predictor.bundle.input_size)
    answers = predictor.predict([negative.radiograph for negative in negatives])
    return [(negative, answer.input_check) for negative, answer in zip(negatives, answers, strict=True)]


def test_the_collection_holds_what_the_check_has_to_tell_apart(checked: list[tuple[Negative, InputCheck]]) -> None:
    kinds = {negative.kind for negative, _ in checked}
    assert {"photograph", "text scan", "CT slice", "MR slice", "X-ray of another part", "noise", "blank"} <= kinds


def test_nearly_all_of_each_kind_are_refused(checked: list[tuple[Negative, InputCheck]]) -> None:
    refused: dict[str, list[bool]] = defaultdict(list)
    for negative, check in checked:
        refused[negative.kind].append(not check.passed)
    del refused[CHEST]
    assert {kind for kind, hits in refused.items() if sum(hits) < 0.9 * len(hits)} == set()
    everything = [hit for hits in refused.values() for hit in hits]
    assert sum(everything) >= 0.98 * len(everything)


def test_what_is_refused_has_a_reason_and_a_score_above_zero(checked: list[tuple[Negative, InputCheck]]) -> None:
    assert all(check.passed == (not check.reasons) == (check.score <= 0) for _, check in checked)
