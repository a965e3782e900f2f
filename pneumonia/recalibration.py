"""`pneumonia recalibrate`: a bundle whose operating point is fitted on labelled films of your own.

Network, temperature and input check stay; the offset of the log-odds, the threshold and the prediction sets are fitted
anew. What that is worth is told by patients on whom it was not fitted. The tree is what `evaluate` reads; a file whose
name does not begin with a patient's is the patient of that name.
"""

import argparse
import datetime
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
from pneumonia.data.splits import connected_films, recorded_splits
from pneumonia.errors import ConfigError, DataError, ImageError
from pneumonia.evaluation.conformal import check_coverage
from pneumonia.evaluation.cross_fitting import FOLDS, Decided, check_enough, cross_fit, decide_all, decided_figures
from pneumonia.evaluation.operating_point import OperatingPoint, refit_operating_point
from pneumonia.evaluation.paired import compare_decisions, count_decisions
from pneumonia.evaluation.thresholds import parse_rule
from pneumonia.evaluation.validation import validation_answers, validation_figures
from pneumonia.files import atomic_directory
from pneumonia.images import Radiograph
from pneumonia.inference.engine import run_in_batches
from pneumonia.inference.engines.registry import choose_engine
from pneumonia.inference.input_check import check_inputs
from pneumonia.inference.predictor import Predictor, read_many
from pneumonia.inference.probes import record_probes
from pneumonia.provenance import describe_recalibration, git_state, reproducibility
from pneumonia.registry.base import check_names
from pneumonia.registry.policy import SIGNIFICANT
from pneumonia.registry.resolve import add_bundle_options, resolve_bundle

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Of a tree of one's own, which has nothing but test, or of the one that it was trained on.
_SPLITS = ("test", "validation")
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
    if options.name is not None:
        check_names(bundle=options.name)
    rule = old.rule if options.rule is None else options.rule
    coverage = old.coverage if options.coverage is None else options.coverage
    parse_rule(rule)
    check_coverage(coverage)
    films = _films(bundle, options, coverage, progress)
    point = refit_operating_point(films.logits, films.classes, old.temperature, rule, coverage)
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
            name=bundle.name if options.name is None else options.name,
            version=graph_version(bundle.graph, point, bundle.quantized_graph),
            created=created,
            operating_point=point,
            provenance={**provenance, "reproducibility": reproducibility(provenance)},
        )
        rows, logits = films.manifest.rows, films.logits
        validation_answers(logits, rows, point).save(directory / VALIDATION)
        figures = validation_figures(logits, rows, point)
        recorded = {"data_digest": films.manifest.digest, "engine": choose_engine(bundle).name}
        made = replace(made, metrics={"validation": {**figures, **recorded}})
        made = replace(made, provenance={**made.provenance, "probes": record_probes(made)})
        write_card(made)
        write_bundle(made)
    return replace(made, directory=options.output)


@dataclass(frozen=True, eq=False)
class _Films:
    """Rows of n films, their classes and patients (n,), logits (n, k), and how many the input check turns away.

    Films with the same bytes count as of one patient.
    """

    manifest: Manifest
    classes: "NDArray[np.int64]"
    patients: list[str]
    logits: "NDArray[np.float32]"
    refused: int


def _films(bundle: Bundle, options: RecalibrationOptions, coverage: float, progress: bool) -> _Films:
    manifest = _chosen(bundle, options, progress)
    classes, patients = _classes(manifest, bundle.classes), _patients(manifest)
    check_enough(classes, patients, bundle.classes, coverage)
    predictor = Predictor(bundle)
    decoded = read_many(predictor, manifest.paths(), "decode" if progress else None)
    failures = [
        f"{row.path}: {film}" for row, film in zip(manifest.rows, decoded, strict=True) if isinstance(film, ImageError)
    ]
    if failures:
        raise DataError(summarise_failures(failures, f"of {len(manifest.rows)} films can't be decoded"))
    radiographs = [film for film in decoded if isinstance(film, Radiograph)]
    output = run_in_batches(predictor.engine, np.stack([radiograph.pixels for radiograph in radiographs]))
    checks = check_inputs(radiographs, output.embedding, predictor.typicality)
    return _Films(manifest, classes, patients, output.logits, sum(not check.passed for check in checks))


def _judged(bundle: Bundle, films: _Films, point: OperatingPoint) -> dict[str, Any]:
    """What is recorded of the films, and of their decisions before and after.

    `after` is of patients on whom it was not fitted; `gained` and `lost` count the films that are called what they are
    by the one alone, and by the other. `p_better` is McNemar's, of so many gains or more if none were better. `seen`
    counts films that chose the operating point of the source as well, which flatter it.
    """
    before = decide_all(films.logits, bundle.operating_point)
    after = cross_fit(films.logits, films.classes, films.patients, point)
    labels = (films.classes > 0).astype(np.int64)
    known = bundle.held_out()
    of_before = compare_decisions(labels, before.called, after.called)

    def figures(decided: Decided, coverage: float) -> dict[str, Any]:
        measured = decided_figures(decided, films.classes, bundle.classes, films.patients)
        return {**measured, "coverage": coverage}

    return {
        "films": len(labels),
        "patients": len(set(films.patients)),
        "classes": {name: int((films.classes == index).sum()) for index, name in enumerate(bundle.classes)},
        "refused": films.refused,
        "seen": 0 if known is None else known.count([row.sha256 for row in films.manifest.rows]),
        "folds": FOLDS,
        "before": figures(before, bundle.operating_point.coverage),
        "after": figures(after, point.coverage),
        "gained": of_before.lost,
        "lost": of_before.gained,
        "p_better": of_before.p_worse,
    }


def _chosen(bundle: Bundle, options: RecalibrationOptions, progress: bool) -> Manifest:
    """The rows of the split. Raises `DataError` for films that can tell nothing of those that the bundle will meet."""
    manifest, data = scan_tree(options.data, progress), bundle.provenance.get("data", {})
    if manifest.synthetic and not bundle.synthetic:
        raise DataError(
            f"{options.data} holds synthetic phantoms, and {bundle.label} was trained on films of patients: give films "
            "that were taken as those were that it will meet."
        )
    if options.split == "validation" and manifest.digest != data.get("digest"):
        raise DataError(
            f"{options.data} is not what {bundle.label} was trained on: which of its films are held out is not known. "
            f"Put films of your own into {options.data}/test, and leave out --split."
        )
    chosen = recorded_splits(manifest, data).named(options.split)
    if not chosen:
        raise DataError(f"{options.data} has no films of {options.split}: put yours into {options.data}/test.")
    return manifest.select(chosen)


def _classes(manifest: Manifest, names: Sequence[str]) -> "NDArray[np.int64]":
    classes = np.array(class_indices(manifest.rows, names), dtype=np.int64)
    unknown = int((classes < 0).sum())
    if unknown:
        raise DataError(
            f"The names of {unknown} of {len(classes)} films do not tell which of {', '.join(names)} they are; name "
            "films of pneumonia as in person23_bacteria_88.jpeg, or recalibrate a bundle of two classes."
        )
    return classes


def _patients(manifest: Manifest) -> list[str]:
    """One name a film, the same for films of a patient and for files with the same bytes.

    Raises `DataError` for a file that is there under both labels.
    """
    rows = manifest.rows
    film_of = {row.sha256: row for row in rows}
    for row in rows:
        other = film_of[row.sha256]
        if row.label != other.label:
            raise DataError(f"{row.path} and {other.path} are the same file: remove the one whose label is wrong.")
    patients = [row.patient for row in rows]
    for group in connected_films(manifest, list(range(len(rows)))):
        for film in group:
            patients[film] = rows[group[0]].patient
    return patients


def _told(bundle: Bundle) -> list[str]:
    """What came of it, in lines for people."""
    point, found = bundle.operating_point, bundle.recalibration or {}
    lines = [
        f"{bundle.directory}: {bundle.label}, recalibrated {describe_recalibration(found)}; offset "
        f"{point.offset:+.3f}, threshold {point.threshold:.3f} ({point.rule})",
        f"By patients left out in turn, in {found['folds']} folds:",
        recalibration_table(found),
        f"{found['gained']} films are called right by it alone, {found['lost']} by {found['source']} alone (McNemar, "
        f"one-sided p = {found['p_better']:.2g}).",
    ]
    if count_decisions(found["films"], found["gained"], found["lost"]).p_worse < SIGNIFICANT:
        lines.append("It calls fewer films right: a rule that asks for sensitivity or specificity may cost that.")
    elif found["p_better"] >= SIGNIFICANT:
        lines.append("That may be chance: these films do not show that it calls more of them right.")
    if found["seen"]:
        lines.append(f"{found['seen']} of the films chose the threshold of {found['source']} too, and flatter it.")
    if found["refused"] > _USUAL_REFUSALS * found["films"]:
        lines.append(
            f"The input check, which is not refitted, turns away {found['refused']} of {found['films']} films: see why "
            "with `pneumonia classify`."
        )
    return lines
