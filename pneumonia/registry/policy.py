"""The rule by which a bundle becomes `best`, the same for every registry.

A bundle that was trained on phantoms never does. Another has to have passed its staged tests, and to be no worse than
the present best for the same films, which neither was trained on: by DeLong's test of AUROC, by McNemar's of decisions,
and by the AUROC itself.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pneumonia.bundle import Bundle, same_network
from pneumonia.errors import DataError
from pneumonia.evaluation.held_out import HeldOut, in_common
from pneumonia.evaluation.paired import PairedAuroc, PairedDecisions, compare_aurocs, compare_decisions, count_decisions

# A one-sided test below this says that the candidate is worse.
SIGNIFICANT = 0.05
# And by so much the AUROC may not be lower, however few the films that show it.
MARGIN = 0.005
# Where two bundles held out different films, those they share are compared if there are so many, and of each label.
FEWEST_FILMS, FEWEST_OF_A_LABEL = 100, 20


@dataclass(frozen=True)
class Verdict:
    """Whether a bundle may become `best`, why in words, and whether a person may decide otherwise."""

    allowed: bool
    finding: str
    forceable: bool = True


@dataclass(frozen=True)
class Comparison:
    """Candidate and present best on the same films, and which these are in words."""

    auroc: PairedAuroc
    decisions: PairedDecisions
    films: str = "films that both held out"

    @property
    def faults(self) -> list[str]:
        """In words, what makes the candidate worse; nothing where it is not."""
        faults = []
        if self.auroc.p_worse < SIGNIFICANT:
            faults.append(f"its AUROC is lower (DeLong, one-sided p = {self.auroc.p_worse:.2g})")
        elif self.auroc.difference < -MARGIN:
            faults.append(f"its AUROC is lower by more than {MARGIN:g}")
        if self.decisions.p_worse < SIGNIFICANT:
            faults.append(f"its decisions are worse (McNemar, one-sided p = {self.decisions.p_worse:.2g})")
        return faults

    def __str__(self) -> str:
        """The figures."""
        return (
            f"AUROC {self.auroc.candidate:.4f} against {self.auroc.present:.4f} on {self.auroc.n} {self.films}; "
            f"{self.decisions.gained} of them are called right by it alone, {self.decisions.lost} by the other alone"
        )


def judge_promotion(candidate: Bundle, best: Bundle | None, staged: Mapping[str, Any] | None) -> Verdict:
    """Whether `candidate` may take the place of `best`, which is None where there is none yet.

    `staged` is what came of its staged tests (`StagedResult.as_json`), None where they were not run.
    """
    if candidate.synthetic:
        words = (
            "it was trained on synthetic phantoms and means nothing for people. Train on real films: see `pneumonia "
            "data fetch --help`."
        )
        return Verdict(False, words, forceable=False)
    fault = _staged_fault(candidate, staged)
    if fault:
        return Verdict(False, fault)
    if best is None or best.synthetic:
        return Verdict(True, "there was no best to compare it with")
    try:
        comparison = compare_bundles(candidate, best)
    except DataError as error:
        return Verdict(False, f"it can't be compared with the present best, {best.label}: {error}")
    if comparison.faults:
        return Verdict(
            False, f"it is worse than the present best, {best.label}: {' and '.join(comparison.faults)}. {comparison}."
        )
    return Verdict(True, f"no worse than {best.label}: {comparison}")


def _staged_fault(candidate: Bundle, staged: Mapping[str, Any] | None) -> str:
    """In words, why its staged tests do not speak for it; empty when they do."""
    if staged is None or staged.get("bundle_version") != candidate.version:
        return "its staged tests were not run: `pneumonia registry test` runs them."
    if staged.get("passed") is not True:
        failed = [check for check in staged.get("checks", []) if check.get("outcome") == "fail"]
        return "its staged tests failed: " + "; ".join(f"{check['name']}: {check['words']}" for check in failed)
    return ""


def compare_bundles(candidate: Bundle, best: Bundle) -> Comparison:
    """By the answers for held-out films that both carry. Raises `DataError` when those are not the same films.

    One that the best was recalibrated to ranks every film as the best does. Its decisions are compared on the films of
    its recalibration, each decided by what was fitted on other patients'.
    """
    answers, found = _held_out(candidate), candidate.recalibration
    if found is not None and found["source"] == best.label and same_network(candidate, best):
        return Comparison(
            compare_aurocs(answers.labels, answers.probabilities, answers.probabilities),
            count_decisions(found["films"], found["gained"], found["lost"]),
            "films of its recalibration, each decided by what was fitted on other patients'",
        )
    return compare_answers(
        answers, _held_out(best), candidate.operating_point.threshold, best.operating_point.threshold
    )


def compare_answers(candidate: HeldOut, best: HeldOut, threshold: float, best_threshold: float) -> Comparison:
    """Each is at work at its own threshold. Raises `DataError` when the films in common are too few to compare."""
    first, second = in_common(candidate, best)
    same = set(candidate.films.tolist()) == set(best.films.tolist())
    fewest = int(min((first.labels == label).sum() for label in (0, 1)))
    if not same and (len(first) < FEWEST_FILMS or fewest < FEWEST_OF_A_LABEL):
        raise DataError(
            f"of its {len(candidate)} held-out films and the other's {len(best)}, only {len(first)} are the same "
            f"({fewest} of the rarer label). Train and export both with the same held-out patients, or use --force "
            "--reason TEXT."
        )
    return Comparison(
        compare_aurocs(first.labels, first.probabilities, second.probabilities),
        compare_decisions(
            first.labels,
            np.asarray(first.probabilities >= threshold, dtype=np.int64),
            np.asarray(second.probabilities >= best_threshold, dtype=np.int64),
        ),
    )


def _held_out(bundle: Bundle) -> HeldOut:
    held_out = bundle.held_out()
    if held_out is None:
        raise DataError(
            f"{bundle.label} carries no answers for held-out films, as bundles did before this version; export it "
            "again, or use --force --reason TEXT."
        )
    return held_out
