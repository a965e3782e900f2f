"""What may become best: no phantoms, nothing worse for the same films, and by force only with a reason."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pneumonia.bundle import GRAPH, graph_version, load_bundle, write_bundle
from pneumonia.errors import DataError, RegistryError
from pneumonia.evaluation.held_out import HeldOut
from pneumonia.registry.local import LocalRegistry
from pneumonia.registry.policy import compare_answers, compare_bundles
from tests.registry.conftest import held_out, push_tested, recalibration_of

Make = Callable[..., Path]


def compare(candidate: HeldOut, best: HeldOut) -> list[str]:
    return compare_answers(candidate, best, 0.5, 0.5).faults


def best(registry: LocalRegistry) -> str | None:
    entry = registry.holder("best")
    return None if entry is None else entry.reference


def test_a_bundle_that_answers_alike_is_no_worse() -> None:
    assert compare(held_out(0.5), held_out(0.5)) == []


def test_a_bundle_that_ranks_films_worse_is() -> None:
    faults = compare(held_out(0.5, wrong=40), held_out(0.5, wrong=8))
    assert [fault.partition(" (")[0] for fault in faults] == ["its AUROC is lower", "its decisions are worse"]
    assert compare(held_out(0.5, wrong=8), held_out(0.5, wrong=40)) == []


def test_a_lower_area_beyond_the_margin_is_worse_though_the_films_are_too_few_to_be_sure() -> None:
    assert compare(held_out(0.5, wrong=3, films=60), held_out(0.5, wrong=1, films=60)) == [
        "its AUROC is lower by more than 0.005"
    ]


def test_decisions_count_though_the_ranks_are_the_same() -> None:
    answers = held_out(0.5)
    comparison = compare_answers(answers, answers, 0.7, 0.5)
    assert comparison.auroc.difference == 0
    assert [fault.partition(" (")[0] for fault in comparison.faults] == ["its decisions are worse"]
    assert "worse" not in str(comparison)


def test_other_held_out_films_are_not_compared() -> None:
    with pytest.raises(DataError, match="of its 400 held-out films and the other's 400, only 0 are the same"):
        compare(held_out(0.5, data="these"), held_out(0.5, data="those"))


def test_films_that_two_of_different_data_share_are_compared_when_they_are_many() -> None:
    assert compare(held_out(0.5, films=400), held_out(0.5, films=100)) == []
    with pytest.raises(DataError, match=r"only 98 are the same \(49 of the rarer label\)"):
        compare(held_out(0.5, films=400), held_out(0.5, films=98))


def recalibrate(directory: Path, source: str, gained: int, lost: int, temperature: float | None = None) -> None:
    """Make of a bundle one that says it was recalibrated."""
    bundle = load_bundle(directory)
    old = bundle.operating_point
    point = replace(old, offset=1.0, temperature=old.temperature if temperature is None else temperature)
    provenance = {**bundle.provenance, "recalibration": recalibration_of(source, gained, lost)}
    version = graph_version(bundle.graph, point)
    write_bundle(replace(bundle, operating_point=point, provenance=provenance, version=version))


@pytest.mark.parametrize(("gained", "lost", "becomes"), [(9, 1, True), (0, 0, True), (2, 3, True), (1, 9, False)])
def test_a_recalibrated_bundle_is_compared_with_its_source_by_patients_left_out(
    registry: LocalRegistry, make: Make, gained: int, lost: int, becomes: bool
) -> None:
    source = make(wrong=8)
    push_tested(registry, source)
    registry.promote("cnn:v1")
    directory = make("site", wrong=8, data="site")
    recalibrate(directory, load_bundle(source).label, gained, lost)
    push_tested(registry, directory)
    comparison = compare_bundles(load_bundle(directory), load_bundle(source))
    assert comparison.auroc.difference == 0
    assert (comparison.decisions.n, comparison.decisions.gained, comparison.decisions.lost) == (60, gained, lost)
    if becomes:
        registry.promote("site:v1")
    else:
        with pytest.raises(RegistryError, match="its decisions are worse"):
            registry.promote("site:v1")
    assert best(registry) == ("site:v1" if becomes else "cnn:v1")


@pytest.mark.parametrize(("source", "temperature"), [("another:0f", None), (None, 9.0)])
def test_of_another_bundle_or_network_what_a_recalibration_gained_says_nothing(
    registry: LocalRegistry, make: Make, source: str | None, temperature: float | None
) -> None:
    push_tested(registry, make(wrong=8))
    registry.promote("cnn:v1")
    directory = make("site", wrong=8, data="site")
    recalibrate(directory, source or load_bundle(make(wrong=8)).label, 9, 1, temperature)
    push_tested(registry, directory)
    with pytest.raises(RegistryError, match="only 0 are the same"):
        registry.promote("site:v1")


@pytest.mark.parametrize(("wrong", "becomes"), [(40, False), (8, True), (0, True)])
def test_for_the_same_films_a_bundle_becomes_best_only_if_it_is_no_worse(
    registry: LocalRegistry, make: Make, wrong: int, becomes: bool
) -> None:
    push_tested(registry, make(wrong=8))
    registry.promote("cnn:v1")
    push_tested(registry, make("other", wrong=wrong))
    if becomes:
        registry.promote("other:v1")
        assert "no worse than cnn:" in registry.history()[-1].finding
    else:
        with pytest.raises(RegistryError, match=r"other:v1 .* is not promoted: it is worse than the present best, cnn"):
            registry.promote("other:v1")
    assert best(registry) == ("other:v1" if becomes else "cnn:v1")


@pytest.mark.parametrize(
    ("options", "words"),
    [({"data": "others"}, "Train and export both with the same"), ({"wrong": None}, "carries no answers")],
)
def test_what_can_not_be_compared_does_not_become_best(
    registry: LocalRegistry, make: Make, options: dict[str, object], words: str
) -> None:
    push_tested(registry, make())
    registry.promote("cnn:v1")
    push_tested(registry, make("other", **options))
    with pytest.raises(RegistryError, match=words):
        registry.promote("other:v1")
    assert best(registry) == "cnn:v1"


@pytest.mark.parametrize(
    ("staged", "words"),
    [
        (None, "its staged tests were not run"),
        ({"passed": True, "bundle_version": "of another"}, "its staged tests were not run"),
        ({"passed": False}, "its staged tests failed: finite: Not finite: logits."),
        ({}, "its staged tests failed"),
    ],
)
def test_without_staged_tests_that_passed_nothing_becomes_best(
    registry: LocalRegistry, make: Make, staged: dict[str, object] | None, words: str
) -> None:
    entry = registry.push(make(), ["candidate"])
    if staged is not None:
        checks = [
            {"name": "batch", "outcome": "pass", "words": "alike"},
            {"name": "finite", "outcome": "fail", "words": "Not finite: logits."},
        ]
        result = {"bundle_version": entry.bundle_version, "checks": checks, **staged}
        registry.annotate("candidate", {"staged": result})
    with pytest.raises(RegistryError, match=words):
        registry.promote("candidate")
    assert best(registry) is None
    registry.promote("candidate", force=True, reason="to see it served")
    assert registry.history()[-1].forced


def test_a_person_may_decide_otherwise_and_gives_a_reason_that_is_kept(registry: LocalRegistry, make: Make) -> None:
    push_tested(registry, make())
    registry.promote("cnn:v1")
    push_tested(registry, make("other", wrong=40))
    with pytest.raises(RegistryError, match="gives a reason"):
        registry.promote("other:v1", force=True, reason=" ")
    registry.promote("other:v1", force=True, reason="the other one fails on lateral films")
    event = registry.history()[-1]
    assert (event.forced, event.reason, event.previous) == (True, "the other one fails on lateral films", "cnn:v1")
    assert "its AUROC is lower" in event.finding
    assert best(registry) == "other:v1"


def test_a_best_that_was_damaged_gives_way_by_force_alone(registry: LocalRegistry, make: Make) -> None:
    push_tested(registry, make())
    registry.promote("cnn:v1")
    with (registry.pull("best") / GRAPH).open("ab") as graph:
        graph.write(b"\0")
    push_tested(registry, make("other"))
    registry.push(make("third"), [])
    with pytest.raises(RegistryError, match=r"can't be compared with the present best: cnn:v1 in .* is damaged"):
        registry.promote("other:v1")
    with pytest.raises(RegistryError, match="its staged tests were not run"):
        registry.promote("third:v1")
    registry.promote("other:v1", force=True, reason="the disk failed")
    assert best(registry) == "other:v1"
    assert "is damaged" in registry.history()[-1].finding


@pytest.mark.parametrize("force", [False, True])
def test_a_bundle_of_phantoms_never_becomes_best(registry: LocalRegistry, make: Make, force: bool) -> None:
    push_tested(registry, make(synthetic=True), "candidate")
    with pytest.raises(RegistryError, match="synthetic phantoms and means nothing for people"):
        registry.promote("candidate", force=force, reason="please")
    assert best(registry) is None


def test_the_label_of_a_bundle_is_of_the_bundle_that_was_refused(registry: LocalRegistry, make: Make) -> None:
    directory = make(synthetic=True)
    push_tested(registry, directory)
    with pytest.raises(RegistryError, match=rf"cnn:v1 \({load_bundle(directory).label}\) is not promoted"):
        registry.promote("cnn:v1")
