"""`pneumonia recalibrate`: a bundle whose operating point is fitted on labelled films of your own.

Network, temperature and input check stay; the offset of the log-odds, the threshold and the prediction sets are fitted
anew. What that is worth is told by patients on whom it was not fitted. The tree is what `evaluate` reads, and a file
whose name tells no patient is a patient of its own.
"""

import argparse
import datetime
import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pneumonia import DISCLAIMER
from pneumonia.bundle import (
    CARD,
    VALIDATION,
    Bundle,
    check_replaceable,
    graph_version,
    read_bundle_manifest,
    write_bundle,
)
from pneumonia.card import recalibration_table, write_card
from pneumonia.data.manifest import Manifest, class_indices, scan_tree, summarise_failures
from pneumonia.data.splits import recorded_splits
from pneumonia.engine_measurement import describe_engines, measure_engines
from pneumonia.errors import ConfigError, DataError, ImageError
from pneumonia.evaluation.agreement import AgreementLimits
from pneumonia.evaluation.conformal import check_coverage, in_percent
from pneumonia.evaluation.cross_fitting import FOLDS, cross_fit, decide_all, decided_figures
from pneumonia.evaluation.operating_point import OperatingPoint, refit_operating_point
from pneumonia.evaluation.paired import compare_decisions
from pneumonia.evaluation.thresholds import parse_rule
from pneumonia.evaluation.validation import validation_answers, validation_figures
from pneumonia.files import atomic_directory
from pneumonia.images import Radiograph
from pneumonia.inference.engine import EngineOutput, run_in_batches
from pneumonia.inference.engines.registry import choose_engine
from pneumonia.inference.input_check import check_inputs
from pneumonia.inference.predictor import Predictor, read_many
from pneumonia.inference.probes import record_probes
from pneumonia.provenance import describe_recalibration, git_state, reproducibility
from pneumonia.registry.resolve import add_bundle_options, resolve_bundle

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Films of the training are no films from elsewhere: of their tree only these are taken.
_SPLITS = ("test", "validation", "all")
# A site's films that the input check turns away more often than this are said to be.
_USUAL_REFUSALS = 0.02


@dataclass(frozen=True)
class RecalibrationOptions:
    """The films, which of them, where the bundle goes, and how its operating point is fitted.

    `rule`, `coverage` and `name` are the bundle's own where they are None.
    """

    data: Path
    output: Path
    split: str = "test"
    rule: str | None = None
    coverage: float | None = None
    name: str | None = None


def main(arguments: list[str]) -> None:
    """Recalibrate, and say what changed."""
    parser = argparse.ArgumentParser(prog="pneumonia recalibrate", description=__doc__, epilog=DISCLAIMER)
    add_bundle_options(parser)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="the tree of your films")
    parser.add_argument("--split", choices=_SPLITS, default="test", help="which of them (default: %(default)s)")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="where the new bundle goes")
    parser.add_argument("--rule", help="how the threshold is chosen (default: the bundle's rule)")
    parser.add_argument("--coverage", type=float, help="of the prediction sets (default: the bundle's)")
    parser.add_argument("--name", help="of the new bundle (default: the bundle's)")
    options = parser.parse_args(arguments)
    chosen = {name: getattr(options, name) for name in ("data", "output", "split", "rule", "coverage", "name")}
    bundle = recalibrate(resolve_bundle(options), RecalibrationOptions(**chosen), progress=True)
    for line in _told(bundle):
        print(line)  # noqa: T201


def recalibrate(bundle: Bundle, options: RecalibrationOptions, progress: bool = False) -> Bundle:
    """Fit on every film of the split, judge by patients left out in turn, and write the bundle atomically.

    Raises `ConfigError` for an output that is no bundle or the bundle itself, a rule or a coverage that can't be;
    `DataError` for films that can't be decoded, whose class is not known, that it was trained on, or that are too few.
    """
    check_replaceable(options.output)
    if options.output.resolve() == bundle.directory.resolve():
        raise ConfigError(f"{options.output} is the bundle that is recalibrated: name another folder with --output.")
    old = bundle.operating_point
    rule = old.rule if options.rule is None else options.rule
    coverage = old.coverage if options.coverage is None else options.coverage
    parse_rule(rule)
    check_coverage(coverage)
    films = _films(bundle, options, coverage, progress)
    point = refit_operating_point(films.output.logits, films.classes, old.temperature, rule, coverage)
    created = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    recalibration = {
        "source": bundle.label,
        "created": created,
        "git": git_state(),
        "split": options.split,
        "data_digest": films.manifest.digest,
        **_judged(bundle, films, point),
    }
    provenance = {**bundle.provenance, "recalibration": recalibration}
    with atomic_directory(options.output, replace=True) as directory:
        for name in read_bundle_manifest(bundle.directory)["files"]:
            if name not in (VALIDATION, CARD):  # which are of the films from before
                shutil.copy(bundle.directory / name, directory / name)
        made = replace(
            bundle,
            directory=directory,
            name=options.name or bundle.name,
            version=graph_version(bundle.graph, point, bundle.quantized_graph),
            created=created,
            operating_point=point,
            provenance={**provenance, "reproducibility": reproducibility(provenance)},
        )
        made = _with_validation(made, films)
        made = replace(made, provenance={**made.provenance, "probes": record_probes(made)})
        write_card(made)
        write_bundle(made)
    return replace(made, directory=options.output)


@dataclass(frozen=True, eq=False)
class _Films:
    """Decoded images (n, S, S), their rows and classes (n,), what the engine gives, and how many are turned away."""

    images: "NDArray[np.uint8]"
    manifest: Manifest
    classes: "NDArray[np.int64]"
    output: EngineOutput
    refused: int

    @property
    def patients(self) -> list[str]:
        return [row.patient for row in self.manifest.rows]

    @property
    def labels(self) -> "NDArray[np.int64]":
        return (self.classes > 0).astype(np.int64)


def _films(bundle: Bundle, options: RecalibrationOptions, coverage: float, progress: bool) -> _Films:
    manifest = _chosen(bundle, options, progress)
    classes = np.array(class_indices(manifest.rows, bundle.classes), dtype=np.int64)
    _check_enough(classes, manifest, bundle.classes, coverage)
    predictor = Predictor(bundle)
    decoded = read_many(predictor, manifest.paths(), "decode" if progress else None)
    failures = [
        f"{row.path}: {film}" for row, film in zip(manifest.rows, decoded, strict=True) if isinstance(film, ImageError)
    ]
    if failures:
        raise DataError(summarise_failures(failures, f"of {len(manifest.rows)} films can't be decoded"))
    radiographs = [film for film in decoded if isinstance(film, Radiograph)]
    images = np.stack([radiograph.pixels for radiograph in radiographs])
    output = run_in_batches(predictor.engine, images)
    checks = check_inputs(radiographs, output.embedding, predictor.typicality)
    return _Films(images, manifest, classes, output, sum(not check.passed for check in checks))


def _judged(bundle: Bundle, films: _Films, point: OperatingPoint) -> dict[str, Any]:
    """What is recorded of the films, and of their decisions before and after.

    `after` is of patients on whom it was not fitted; `gained` and `lost` count the films that are called what they are
    by the one alone, and by the other.
    """
    patients = films.patients
    before = decide_all(films.output.logits, bundle.operating_point)
    after = cross_fit(films.output.logits, films.classes, patients, point)
    decisions = compare_decisions(films.labels, after.called, before.called)
    return {
        "films": len(patients),
        "patients": len(set(patients)),
        "classes": {name: int((films.classes == index).sum()) for index, name in enumerate(bundle.classes)},
        "refused": films.refused,
        "folds": FOLDS,
        "before": decided_figures(before, films.classes, bundle.classes, patients),
        "after": decided_figures(after, films.classes, bundle.classes, patients),
        "gained": decisions.gained,
        "lost": decisions.lost,
    }


def _with_validation(bundle: Bundle, films: _Films) -> Bundle:
    """The bundle with these films' answers in its directory, their figures, and its engines measured on them."""
    logits, rows, point = films.output.logits, films.manifest.rows, bundle.operating_point
    if bundle.engines:
        measured = measure_engines(bundle, films.images, films.labels)
        limits = AgreementLimits(**bundle.engines["limits"])
        bundle = replace(bundle, engines=describe_engines(measured, limits, bundle.engines["quantization"]))
        logits = measured[bundle.engines["order"][0]].outputs.logits
    validation_answers(logits, rows, point).save(bundle.directory / VALIDATION)
    figures = validation_figures(logits, rows, point, bundle.classes)
    recorded = {"data_digest": films.manifest.digest, "engine": choose_engine(bundle).name}
    return replace(bundle, metrics={"validation": {**figures, **recorded}})


def _chosen(bundle: Bundle, options: RecalibrationOptions, progress: bool) -> Manifest:
    """The rows of the split. Raises `DataError` for films that can tell nothing of those that the bundle will meet."""
    manifest, data = scan_tree(options.data, progress), bundle.provenance.get("data", {})
    if manifest.synthetic and not bundle.synthetic:
        raise DataError(
            f"{options.data} holds synthetic phantoms, and {bundle.label} was trained on films of patients: give films "
            "that were taken as those were that it will meet."
        )
    if options.split == "all" and manifest.digest == data.get("digest"):
        raise DataError(
            f"{options.data} is what {bundle.label} was trained on: choose --split test or validation, or name films "
            "of your own with --data."
        )
    chosen = recorded_splits(manifest, data).named(options.split)
    if not chosen:
        raise DataError(f"The split {options.split!r} of {options.data} has no films; choose another with --split.")
    return manifest.select(chosen)


def _check_enough(classes: "NDArray[np.int64]", manifest: Manifest, names: Sequence[str], coverage: float) -> None:
    unknown = int((classes < 0).sum())
    if unknown:
        raise DataError(
            f"The names of {unknown} of {len(classes)} films do not tell which of {', '.join(names)} they are; name "
            "films of pneumonia as in person23_bacteria_88.jpeg, or recalibrate a bundle of two classes."
        )
    # With fewer, a class would belong to every set (`pneumonia.evaluation.conformal`).
    fewest = max(FOLDS, math.ceil(1 / (1 - coverage) - 1e-9) - 1)
    of_films = np.array([row.patient for row in manifest.rows])
    for index, name in enumerate(names):
        films, people = int((classes == index).sum()), len(set(of_films[classes == index].tolist()))
        if films < fewest or people < FOLDS:
            raise DataError(
                f"{films} films of {people} patients are {name}; {fewest} of {FOLDS} or more are needed for prediction "
                f"sets at a coverage of {in_percent(coverage)}. Label more films, or ask for less with --coverage."
            )


def _told(bundle: Bundle) -> list[str]:
    """What came of it, in lines for people."""
    point, found = bundle.operating_point, bundle.recalibration or {}
    lines = [
        f"{bundle.directory}: {bundle.label}, recalibrated {describe_recalibration(found)}; offset "
        f"{point.offset:+.3f}, threshold {point.threshold:.3f} ({point.rule})",
        f"By patients left out in turn, in {found['folds']} folds:",
        recalibration_table(found),
        f"{found['gained']} films are called right by it alone, {found['lost']} by {found['source']} alone.",
    ]
    if found["gained"] <= found["lost"]:
        lines.append("These films do not show that it decides better.")
    if found["refused"] > _USUAL_REFUSALS * found["films"]:
        lines.append(
            f"The input check, which is not refitted, turns away {found['refused']} of {found['films']} films: see why "
            "with `pneumonia classify`."
        )
    return lines
