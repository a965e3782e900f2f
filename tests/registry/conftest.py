"""Bundles of a chosen quality, which a test pushes."""

import hashlib
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pneumonia.bundle import VALIDATION, graph_version, load_bundle, write_bundle
from pneumonia.evaluation.held_out import HeldOut, collect_held_out
from pneumonia.evaluation.metrics import compute_metrics
from pneumonia.registry.base import STAGED, Entry, Registry, timestamp
from pneumonia.registry.local import LocalRegistry
from pneumonia.registry.staged.result import StagedResult

Make = Callable[..., Path]


def held_out(threshold: float, wrong: int = 0, films: int = 400, data: str = "these") -> HeldOut:
    """Answers for films of alternate labels, the first `wrong` of them called what they are not."""
    rng = np.random.default_rng(len(data))
    labels = np.arange(films) % 2
    share = rng.uniform(0.2, 0.8, films)
    right = np.arange(films) >= wrong
    probabilities = np.where(right == (labels == 1), threshold + share * (1 - threshold), share * threshold)
    digests = [hashlib.sha256(f"{data} {film}".encode()).hexdigest() for film in range(films)]
    return collect_held_out(labels, probabilities, [str(film // 2) for film in range(films)], digests)


def recalibration_of(source: str, gained: int = 3, lost: int = 1) -> dict[str, Any]:
    """What a bundle that was recalibrated records of it."""
    figure = {"value": 0.9, "low": 0.8, "high": None}
    figures: dict[str, Any] = dict.fromkeys(("accuracy", "sensitivity", "specificity", "ece", "decided"), figure)
    figures |= {"coverage": 0.95, "covered": {"NORMAL": figure, "PNEUMONIA": figure}}
    classes = {"NORMAL": 20, "PNEUMONIA": 40}
    counts = {"films": 60, "patients": 50, "refused": 0, "seen": 0, "folds": 10}
    counts |= {"gained": gained, "lost": lost, "p_better": 0.3}
    return {"source": source, "classes": classes, "before": figures, "after": figures, **counts}


def push_tested(registry: Registry, directory: Path, *aliases: str) -> Entry:
    """Push a bundle of which it is known that its staged tests passed."""
    entry = registry.push(directory, aliases)
    result = StagedResult(entry.bundle_version, timestamp(), "tester", [])
    return registry.annotate(entry.reference, {STAGED: result.as_json()})


@pytest.fixture
def registry(tmp_path: Path) -> LocalRegistry:
    return LocalRegistry(tmp_path / "registry")


def make_bundle(
    source: Path,
    directory: Path,
    name: str = "cnn",
    wrong: int | None = 8,
    data: str = "these",
    synthetic: bool = False,
    films: int = 400,
    threshold: float | None = None,
) -> Path:
    """The bundle of `source` with another name or threshold, so many films called wrongly, or made of phantoms.

    `data` is which films it held out; it has no answers for them where `wrong` is None.
    """
    shutil.copytree(source, directory, dirs_exist_ok=True)
    old = load_bundle(source)
    point = replace(old.operating_point, threshold=threshold or old.operating_point.threshold)
    metrics: dict[str, Any] = {}
    if wrong is None:
        (directory / VALIDATION).unlink()
    else:
        answers = held_out(point.threshold, wrong, films, data)
        answers.save(directory / VALIDATION)
        figures = compute_metrics(answers.labels, answers.probabilities, point.threshold)
        metrics = {"validation": {"n": films, **{key: {"value": value} for key, value in figures.items()}}}
    write_bundle(
        replace(
            old,
            directory=directory,
            name=name,
            provenance={**old.provenance, "synthetic": synthetic},
            metrics=metrics,
            operating_point=point,
            version=graph_version(old.graph, point),
        )
    )
    return directory


@pytest.fixture
def make(bundle_dir: Path, tmp_path: Path) -> Make:
    """`make_bundle` of the session's bundle, somewhere."""

    def bundle(*words: Any, **options: Any) -> Path:
        folder = "-".join(map(str, (*words, *options.items()))) or "plain"
        return make_bundle(bundle_dir, tmp_path / "bundles" / re.sub(r"\W+", "-", folder), *words, **options)

    return bundle
