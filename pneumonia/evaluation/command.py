"""`pneumonia evaluate`: a bundle on a split of a data tree, as `report.json`, `predictions.csv` and `report.html`."""

import argparse
import shutil
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from pneumonia import DISCLAIMER
from pneumonia.bundle import VALIDATION, Bundle, check_replaceable, load_bundle, write_bundle
from pneumonia.card import write_card
from pneumonia.data.manifest import Manifest, scan_tree, summarise_failures
from pneumonia.data.splits import recorded_splits
from pneumonia.errors import ConfigError, DataError, ImageError
from pneumonia.evaluation import faithfulness, robustness
from pneumonia.evaluation.answers import collect_answers
from pneumonia.evaluation.faithfulness import measure_faithfulness
from pneumonia.evaluation.held_out import collect_held_out
from pneumonia.evaluation.inputs import EvaluationInput
from pneumonia.evaluation.intervals import RESAMPLES
from pneumonia.evaluation.log import log_evaluation
from pneumonia.evaluation.metrics import METRICS
from pneumonia.evaluation.report import build_report, write_report
from pneumonia.evaluation.robustness import measure_robustness
from pneumonia.files import atomic_directory, write_json
from pneumonia.inference.engines.registry import AUTO, add_engine_option, asked_engine, choose_engine
from pneumonia.inference.prediction import Prediction
from pneumonia.registry.resolve import add_bundle_options, resolve_bundle

# What a bundle keeps of a report beside its metrics; of the figures of parts, those that a card can show.
_KEPT = ("n", "data_digest", *METRICS, "prediction_sets", "input_check", "classes", "faithfulness")
_KEPT_OF_PARTS = ("description", "n", "auroc", "accuracy", "sensitivity", "specificity")


def main(arguments: list[str]) -> None:
    """Evaluate, write the report, and say the headline figures."""
    parser = argparse.ArgumentParser(prog="pneumonia evaluate", description=__doc__, epilog=DISCLAIMER)
    add_bundle_options(parser)
    add_engine_option(parser)
    parser.add_argument("--data", type=Path, default=Path("data/chest_xray"), help="the tree (default: %(default)s)")
    parser.add_argument("--split", choices=("test", "validation", "train", "all"), default="test")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="where the report goes")
    parser.add_argument("--resamples", type=int, default=RESAMPLES, help="of the bootstrap (default: %(default)s)")
    parser.add_argument("--record", action="store_true", help="write the figures into the bundle of --bundle, too")
    parser.add_argument("--record-to", type=Path, metavar="DIR", help="write a copy of the bundle with the figures")
    parser.add_argument("--metrics", type=Path, metavar="JSON", help="write the headline figures alone, for DVC")
    parser.add_argument("--robustness", action="store_true", help="also measure corrupted and shrunken films (slower)")
    parser.add_argument("--faithfulness", action="store_true", help="also measure what the heatmaps show (slower)")
    parser.add_argument("--log", type=Path, metavar="CSV", help="add a line to this log of evaluations")
    options = parser.parse_args(arguments)
    if options.record and options.bundle is None:
        raise ConfigError("--record changes a bundle: name it with --bundle DIR.")
    if options.record_to is not None:
        check_replaceable(options.record_to)
    bundle = resolve_bundle(options)
    choice = choose_engine(bundle, asked_engine(options))
    if choice.note:
        print(choice.note)  # noqa: T201
    manifest = scan_tree(options.data, progress=True)
    if options.record or options.record_to:
        _check_recorded(bundle, manifest, options.split)
    inputs = predict_split(bundle, manifest, options.split, progress=True, engine=choice.name)
    report = build_report(inputs, resamples=options.resamples)
    if options.faithfulness:
        report["faithfulness"] = measure_faithfulness(bundle, manifest.root, inputs, options.resamples, progress=True)
    if options.robustness:
        report["robustness"] = measure_robustness(bundle, manifest, inputs, options.resamples, progress=True)
    write_report(options.output, report, inputs)
    if options.log:
        log_evaluation(options.log, report)
    if options.record:
        record_metrics(options.bundle, options.split, report, inputs)
    if options.record_to:
        record_metrics(bundle.directory, options.split, report, inputs, options.record_to)
    if options.metrics:
        write_json(options.metrics, {options.split: {name: report[name]["value"] for name in METRICS}})
    _say_headline(options.output, report)
    if options.robustness:
        print(robustness.headline(report["robustness"]))  # noqa: T201
    if options.faithfulness:
        print(faithfulness.headline(report["faithfulness"]))  # noqa: T201


def predict_split(
    bundle: Bundle, manifest: Manifest, split: str, progress: bool = False, engine: str = AUTO
) -> EvaluationInput:
    """Decode and classify every film of a split, as the server would.

    Validation patients are the ones that the bundle's own training held out. Raises `DataError` for a split without
    films, and naming the films that can't be decoded.
    """
    splits = recorded_splits(manifest, bundle.provenance.get("data", {}))
    indices = splits.named(split)
    rows = [manifest.rows[index] for index in indices]
    trained = {manifest.rows[index].patient for index in splits.train + splits.validation}
    predictions = _predictions(bundle, manifest.select(indices), progress, engine)
    return EvaluationInput(
        paths=[row.path for row in rows],
        labels=np.array([row.label == "PNEUMONIA" for row in rows], dtype=np.int64),
        probabilities=np.array([prediction.probability for prediction in predictions], dtype=np.float64),
        patients=[row.patient for row in rows],
        pathogens=[row.pathogen for row in rows],
        shared=np.array([split == "test" and row.patient in trained for row in rows], dtype=np.bool_),
        threshold=bundle.operating_point.threshold,
        temperature=bundle.operating_point.temperature,
        offset=bundle.operating_point.offset,
        split=split,
        data_digest=manifest.digest,
        synthetic=manifest.synthetic or bundle.synthetic,
        model={"name": bundle.name, "version": bundle.version, "engine": choose_engine(bundle, engine).name},
        sizes=[(row.width, row.height) for row in rows],
        answers=collect_answers(rows, predictions, bundle.classes) if predictions else None,
        digests=[row.sha256 for row in rows],
    )


def record_metrics(
    directory: Path, split: str, report: dict[str, Any], inputs: EvaluationInput, output: Path | None = None
) -> Bundle:
    """Put a report's figures into a bundle and its card, or into a copy at `output`; either is replaced as a whole.

    Of the validation films it keeps the answers as well: figures and answers are of one evaluation.
    """
    output = directory if output is None else output
    with atomic_directory(output, replace=True) as temporary:
        shutil.copytree(directory, temporary, dirs_exist_ok=True)
        bundle = load_bundle(temporary)
        figures = {**bundle.metrics.get(split, {}), **_recorded(report)}
        bundle = replace(bundle, metrics={**bundle.metrics, split: figures})
        if split == "validation" and inputs.digests is not None:
            held_out = collect_held_out(inputs.labels, inputs.probabilities, inputs.patients, inputs.digests)
            held_out.save(temporary / VALIDATION)
        write_card(bundle)
        write_bundle(bundle)
    return replace(bundle, directory=output)


def _recorded(report: dict[str, Any]) -> dict[str, Any]:
    figures = {name: report[name] for name in _KEPT if name in report}
    figures["engine"] = report["model"]["engine"]
    figures["subgroups"] = {
        name: {key: part[key] for key in _KEPT_OF_PARTS} for name, part in report["subgroups"].items()
    }
    if "robustness" in report:
        figures["robustness"] = robustness.summary(report["robustness"])
    return figures


def _check_recorded(bundle: Bundle, manifest: Manifest, split: str) -> None:
    """What a bundle keeps as figures of a split must not be of films that chose it, but for its own validation."""
    held_out = bundle.held_out() if bundle.recalibration is not None else None
    if held_out is not None:
        rows = manifest.select(recorded_splits(manifest, bundle.provenance.get("data", {})).named(split)).rows
        known = held_out.count([row.sha256 for row in rows])
        if known or split == "validation":
            raise DataError(
                f"{bundle.label} was recalibrated on {known} of these {len(rows)} films, or on others in the place of "
                f"its validation films: figures of {split} would flatter it. Evaluate it on other films, or leave out "
                "--record."
            )
    digest = bundle.provenance.get("data", {}).get("digest")
    if split == "validation" and digest != manifest.digest:
        raise DataError(
            f"The films under {manifest.root} are not those that {bundle.label} was trained on (digest "
            f"{manifest.digest[:12]}, not {str(digest)[:12]}): which of them it held out is not known, and nothing is "
            "recorded. Name the tree of its training, or leave out --record."
        )


def _predictions(bundle: Bundle, manifest: Manifest, progress: bool, engine: str) -> list[Prediction]:
    from tqdm import tqdm

    from pneumonia.inference.predictor import Predictor

    answers: Iterable[Any] = Predictor(bundle, engine=engine).predict_files(manifest.paths())
    failures, predictions = [], []
    counted = tqdm(answers, total=len(manifest.rows), desc="evaluate", unit="film", disable=not progress)
    for row, answer in zip(manifest.rows, counted, strict=True):
        if isinstance(answer, ImageError):
            failures.append(f"{row.path}: {answer}")
        else:
            predictions.append(answer)
    if failures:
        raise DataError(summarise_failures(failures, f"of {len(manifest.rows)} films can't be decoded"))
    return predictions


def _say_headline(output: Path, report: dict[str, Any]) -> None:
    figures = ", ".join(
        f"{name} {report[name]['value']:.4f} ({report[name]['low']:.4f}-{report[name]['high']:.4f})"
        for name in ("auroc", "accuracy", "sensitivity", "specificity")
        if None not in report[name].values()
    )
    print(f"{output / 'report.html'}: {report['split']}, n = {report['n']}: {figures}")  # noqa: T201
