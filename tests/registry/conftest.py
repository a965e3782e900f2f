"""Bundles of a chosen quality, which a test pushes."""

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pneumonia.bundle import VALIDATION, load_bundle, write_bundle
from pneumonia.evaluation.held_out import HeldOut, collect_held_out
from pneumonia.evaluation.metrics import compute_metrics
from pneumonia.registry.base import STAGED, Entry, Registry
from pneumonia.registry.local import LocalRegistry

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


def push_tested(registry: Registry, directory: Path, *aliases: str) -> Entry:
    """Push a bundle of which it is known that its staged tests passed."""
    entry = registry.push(directory, aliases)
    return registry.annotate(entry.reference, {STAGED: {"passed": True, "bundle_version": entry.bundle_version}})


@pytest.fixture
def registry(tmp_path: Path) -> LocalRegistry:
    return LocalRegistry(tmp_path / "registry")


@pytest.fixture
def make(bundle_dir: Path, tmp_path: Path) -> Make:
    """A bundle with another name, so many films called wrongly, other held-out films, or made of phantoms."""

    def bundle(
        name: str = "cnn", wrong: int | None = 8, data: str = "these", synthetic: bool = False, films: int = 400
    ) -> Path:
        directory = tmp_path / "bundles" / f"{name}-{wrong}-{data}-{synthetic}-{films}"
        shutil.copytree(bundle_dir, directory, dirs_exist_ok=True)
        old = load_bundle(bundle_dir)
        metrics: dict[str, Any] = {}
        if wrong is None:
            (directory / VALIDATION).unlink()
        else:
            answers = held_out(old.operating_point.threshold, wrong, films, data)
            answers.save(directory / VALIDATION)
            figures = compute_metrics(answers.labels, answers.probabilities, old.operating_point.threshold)
            metrics = {"validation": {"n": films, **{key: {"value": value} for key, value in figures.items()}}}
        provenance = {**old.provenance, "synthetic": synthetic}
        write_bundle(replace(old, directory=directory, name=name, provenance=provenance, metrics=metrics))
        return directory

    return bundle
