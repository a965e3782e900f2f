"""Checks of what a bundle is worth: its recorded figures, films whose answers are known, and the present best.

A check takes the subject and returns in words what it found; it raises `CheckFailedError` or `CheckSkippedError`. No
name of a film or a patient is in the words.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from pneumonia.data.manifest import Row, scan_tree
from pneumonia.errors import DataError, ImageError
from pneumonia.evaluation.agreement import AgreementLimits
from pneumonia.evaluation.held_out import HeldOut, collect_held_out, in_common
from pneumonia.evaluation.metrics import compute_metrics
from pneumonia.registry.policy import compare_bundles
from pneumonia.registry.staged.result import CheckFailedError, CheckSkippedError
from pneumonia.registry.staged.subject import Subject

_SAME = 1e-6


def check_figures(subject: Subject) -> str:
    """The figures of validation follow from the answers that it keeps, at its threshold, and reach the minimum."""
    held_out, recorded = subject.bundle.held_out(), subject.bundle.metrics.get("validation", {})
    if held_out is None:
        raise CheckFailedError(
            "It keeps no answers for its held-out films, so that its figures can't be checked: export it again."
        )
    figures = _figures(held_out, subject)
    wrong = [name for name, value in figures.items() if not _equal(value, recorded.get(name))]
    if wrong or recorded.get("n") != len(held_out):
        raise CheckFailedError(
            f"Its answers for {len(held_out)} held-out films do not give the figures that it records: "
            f"{', '.join(wrong) or 'their number differs'}. Its threshold, figures or answers were changed."
        )
    _check_minimums(figures, subject)
    return f"{len(held_out)} held-out films: {_headline(figures)}, as recorded"


def check_films(subject: Subject) -> str:
    """Real films, decoded and answered here, get the recorded answers where they are recorded, and good ones."""
    if subject.options.data is None:
        raise CheckSkippedError("no films were given (--data DIR): that it tells pneumonia from normal is not shown")
    held_out = subject.bundle.held_out()
    rows = _chosen(scan_tree(subject.options.data).rows, held_out, subject.options.films)
    if not rows:
        raise CheckFailedError("The data hold no films of test or of those that it held out; give other --data.")
    answers = list(subject.predictor.predict_files([subject.options.data / row.path for row in rows]))
    decoded = [(row, answer) for row, answer in zip(rows, answers, strict=True) if not isinstance(answer, ImageError)]
    if len(decoded) < len(rows):
        raise CheckFailedError(f"{len(rows) - len(decoded)} of {len(rows)} films can't be decoded.")
    found = collect_held_out(
        [int(row.label == "PNEUMONIA") for row in rows],
        [answer.probability for _, answer in decoded],
        [row.patient for row in rows],
        [row.sha256 for row in rows],
    )
    figures = _figures(found, subject)
    _check_minimums(figures, subject)
    return f"{len(found)} films: {_headline(figures)}; {_agreement(found, held_out, subject)}"


def check_best(subject: Subject) -> str:
    """It is no worse than the present best for the films that both held out."""
    if subject.best is None:
        raise CheckSkippedError("there is no other best, or none that can be loaded, to compare it with")
    try:
        comparison = compare_bundles(subject.bundle, subject.best)
    except DataError as error:
        raise CheckSkippedError(f"not comparable with {subject.best.label}: {error}") from error
    if comparison.faults:
        raise CheckFailedError(
            f"It is worse than the present best, {subject.best.label}: {' and '.join(comparison.faults)}. {comparison}."
        )
    return f"no worse than {subject.best.label}: {comparison}"


def _chosen(rows: Sequence[Row], held_out: HeldOut | None, most: int) -> list[Row]:
    """Films whose answers are recorded, where there are, else those of test; of each label alike, by their digests."""
    recorded = set() if held_out is None else {film.decode() for film in held_out.films.tolist()}
    known = [row for row in rows if row.split != "test" and row.sha256[:16] in recorded]
    found = sorted(known or [row for row in rows if row.split == "test"], key=lambda row: row.sha256)
    of_label = {label: [row for row in found if row.label == label] for label in ("NORMAL", "PNEUMONIA")}
    fewest = min(map(len, of_label.values()))
    share = max(most // 2, most - fewest)
    return [row for of_one in of_label.values() for row in of_one[:share]]


def _agreement(found: HeldOut, held_out: HeldOut | None, subject: Subject) -> str:
    now, then = in_common(found, held_out) if held_out is not None else (found, found)
    if held_out is None or not len(now):
        return "their answers are not recorded"
    limits, threshold = AgreementLimits(), subject.bundle.operating_point.threshold
    change = float(np.abs(now.probabilities - then.probabilities).max())
    changed = int(((now.probabilities >= threshold) != (then.probabilities >= threshold)).sum())
    if change > limits.probability_change or changed > limits.share_changed * len(now):
        raise CheckFailedError(
            f"Of {len(now)} films {changed} are decided otherwise than recorded (at most "
            f"{100 * limits.share_changed:g}%), and a probability differs by {change:.3f} (at most "
            f"{limits.probability_change:g})."
        )
    return f"{len(now)} answered as recorded, {changed} decided otherwise, a probability by at most {change:.2g}"


def _figures(held_out: HeldOut, subject: Subject) -> dict[str, float]:
    return compute_metrics(held_out.labels, held_out.probabilities, subject.bundle.operating_point.threshold)


def _check_minimums(figures: Mapping[str, float], subject: Subject) -> None:
    faults = [
        f"{name} {figures[name]:.3f} (at least {least:g})"
        for name, least in subject.options.minimums.items()
        if not figures[name] >= least
    ]
    if faults:
        raise CheckFailedError(f"Too low: {', '.join(faults)}.")


def _headline(figures: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {figures[name]:.3f}" for name in ("auroc", "sensitivity", "specificity"))


def _equal(value: float, recorded: object) -> bool:
    stated = recorded.get("value") if isinstance(recorded, dict) else None
    if stated is None:  # what is undefined is recorded as null
        return bool(np.isnan(value)) and isinstance(recorded, dict)
    return bool(abs(value - float(stated)) <= _SAME)
