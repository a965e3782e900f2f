"""Figures of parts of a split: by pathogen, by what train has seen of the patient, by source and size of the films."""

import re
from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from pneumonia.data.manifest import SPLITS, Manifest
from pneumonia.evaluation.inputs import EvaluationInput
from pneumonia.evaluation.intervals import LEVEL, RESAMPLES, bootstrap_intervals

# Kermany et al. (2018) name their NORMAL films in two series.
_SERIES = re.compile(r"(?P<series>(NORMAL\d*-)?IM)-\d+", re.IGNORECASE)

Rows = NDArray[np.bool_]


def shared_patients(manifest: Manifest, split: str, others: Collection[str] = SPLITS) -> frozenset[str]:
    """Patients of a split that occur in another of `others` as well: what was learned of them may help there."""
    elsewhere = {row.patient for row in manifest.rows if row.split in others and row.split != split}
    return frozenset(row.patient for row in manifest.rows if row.split == split and row.patient in elsewhere)


def subgroup_figures(
    inputs: EvaluationInput, resamples: int = RESAMPLES, seed: int = 0, level: float = LEVEL
) -> dict[str, dict[str, object]]:
    """Every metric with its interval for each part of the films, by a short name.

    Each is `{"description", "n", "positives", "patients", "auroc": {"value", "low", "high"}, ...}`; None stands for
    what is undefined. A part without films, and one that is all of them, is left out. Raises what
    `bootstrap_intervals` raises.
    """
    labels, patients = np.asarray(inputs.labels), np.asarray(inputs.patients, dtype=str)
    probabilities = np.asarray(inputs.probabilities)
    figures: dict[str, dict[str, object]] = {}
    for name, (description, rows) in _parts(inputs).items():
        if rows.all() or not rows.any():
            continue
        intervals = bootstrap_intervals(
            labels[rows], probabilities[rows], inputs.threshold, patients[rows].tolist(), resamples, seed, level
        )
        figures[name] = {
            "description": description,
            "n": int(rows.sum()),
            "positives": int(labels[rows].sum()),
            "patients": len(set(patients[rows])),
            **{metric: interval.as_json() for metric, interval in intervals.items()},
        }
    return figures


def _parts(inputs: EvaluationInput) -> dict[str, tuple[str, Rows]]:
    """What each part is, and which films are in it."""
    labels, shared = np.asarray(inputs.labels), np.asarray(inputs.shared, dtype=np.bool_)
    normal = labels == 0
    parts = {
        "patients_not_in_train": ("Films whose patient number does not occur in train", ~shared),
        "patients_also_in_train": ("Films whose patient number occurs in train as well", shared),
    }
    pathogens = np.asarray(inputs.pathogens, dtype=str)
    for pathogen in sorted(set(pathogens[~normal]) - {""}):
        parts[pathogen] = (f"PNEUMONIA of {pathogen} against all NORMAL films", normal | (pathogens == pathogen))
    sources = np.array([_series(patient) for patient in inputs.patients])
    for source in sorted(set(sources[normal]) - {""}):
        parts[f"normals_{source}"] = (
            f"All PNEUMONIA films against NORMAL films of the series {source}",
            ~normal | (sources == source),
        )
    if inputs.sizes is not None:
        pixels = np.array([width * height for width, height in inputs.sizes])
        larger = pixels >= np.median(pixels)
        parts["smaller_films"] = ("Films of fewer pixels than the median film", ~larger)
        parts["larger_films"] = ("Films of at least as many pixels as the median film", larger)
    return parts


def _series(patient: str) -> str:
    match = _SERIES.fullmatch(patient)
    return match["series"].upper() if match else ""
