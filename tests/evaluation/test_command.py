"""Tests of `pneumonia evaluate` on a real bundle and tree."""

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from pneumonia.bundle import VALIDATION, load_bundle, write_bundle
from pneumonia.cli import main
from pneumonia.data.manifest import scan_tree
from pneumonia.data.splits import assign_splits
from pneumonia.errors import DataError
from pneumonia.evaluation.command import predict_split
from pneumonia.evaluation.metrics import METRICS, compute_metrics


def evaluate(*arguments: object) -> int:
    with pytest.raises(SystemExit) as stopped:
        main(["evaluate", *map(str, arguments), "--resamples", "20"])
    return int(stopped.value.code or 0)


def test_report_holds_every_metric_with_its_interval(bundle_dir: Path, tree: Path, tmp_path: Path) -> None:
    assert evaluate("--bundle", bundle_dir, "--data", tree, "--output", tmp_path) == 0
    report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert report["n"] == sum(row.split == "test" for row in scan_tree(tree).rows)
    assert all(set(report[name]) == {"value", "low", "high"} for name in METRICS)
    assert (tmp_path / "report.html").stat().st_size > 10_000


def test_predictions_give_the_reported_figures_again(bundle_dir: Path, tree: Path, tmp_path: Path) -> None:
    evaluate("--bundle", bundle_dir, "--data", tree, "--output", tmp_path)
    report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    with (tmp_path / "predictions.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    figures = compute_metrics(
        [int(row["label"] == "PNEUMONIA") for row in rows],
        [float(row["probability"]) for row in rows],
        report["threshold"],
    )
    assert figures["auroc"] == pytest.approx(report["auroc"]["value"])
    assert figures["accuracy"] == pytest.approx(report["accuracy"]["value"])


def test_validation_is_the_patients_that_the_bundle_held_out(bundle_dir: Path, tree: Path) -> None:
    bundle, manifest = load_bundle(bundle_dir), scan_tree(tree)
    data = bundle.provenance["data"]
    splits = assign_splits(manifest, data["validation_fraction"], data["split_seed"])
    expected = [manifest.rows[index].path for index in splits.validation]
    assert predict_split(bundle, manifest, "validation").paths == expected


def test_recorded_figures_are_in_the_bundle_which_still_verifies(bundle_dir: Path, tree: Path, tmp_path: Path) -> None:
    copy = tmp_path / "bundle"
    shutil.copytree(bundle_dir, copy)
    assert evaluate("--bundle", copy, "--data", tree, "--output", tmp_path / "report", "--record") == 0
    bundle = load_bundle(copy)
    assert set(METRICS) <= set(bundle.metrics["test"])
    assert bundle.version == load_bundle(bundle_dir).version


def test_figures_can_go_into_a_copy_of_the_bundle_and_a_file_of_their_own(
    bundle_dir: Path, tree: Path, tmp_path: Path
) -> None:
    copy, metrics = tmp_path / "copy", tmp_path / "metrics.json"
    words = ("--bundle", bundle_dir, "--data", tree, "--output", tmp_path / "report")
    assert evaluate(*words, "--record-to", copy, "--metrics", metrics) == 0
    assert "test" not in load_bundle(bundle_dir).metrics
    figures = json.loads(metrics.read_text(encoding="utf-8"))["test"]
    assert figures == {name: load_bundle(copy).metrics["test"][name]["value"] for name in METRICS}


def test_a_copy_replaces_no_folder_of_other_things(
    bundle_dir: Path, tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    words = ("--bundle", bundle_dir, "--data", tree, "--output", tmp_path / "report")
    assert evaluate(*words, "--record-to", tmp_path / "mine") == 1
    assert "is no bundle" in capsys.readouterr().err
    assert (tmp_path / "mine" / "notes.txt").read_text() == "mine"


def test_recorded_validation_brings_the_answers_that_its_figures_are_of(
    bundle_dir: Path, tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = Path(shutil.copytree(bundle_dir, tmp_path / "bundle"))
    (copy / VALIDATION).unlink()
    write_bundle(replace(load_bundle(bundle_dir), directory=copy, metrics={}))
    words = ["--bundle", copy, "--split", "validation", "--record", "--output", tmp_path / "report", "--data"]
    other = Path(shutil.copytree(tree, tmp_path / "other"))
    next((other / "train" / "NORMAL").iterdir()).unlink()
    assert evaluate(*words, other) == 1
    assert "which of them it held out is not known" in capsys.readouterr().err
    assert evaluate(*words, tree) == 0
    recorded, original = load_bundle(copy).held_out(), load_bundle(bundle_dir).held_out()
    assert recorded is not None
    assert original is not None
    assert recorded.films.tolist() == original.films.tolist()
    assert recorded.probabilities == pytest.approx(original.probabilities, abs=1e-3)
    figures = compute_metrics(recorded.labels, recorded.probabilities, load_bundle(copy).operating_point.threshold)
    assert figures["auroc"] == pytest.approx(load_bundle(copy).metrics["validation"]["auroc"]["value"])


def test_recording_without_a_named_bundle_is_refused(
    tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate("--data", tree, "--output", tmp_path, "--record") == 1
    assert "--bundle" in capsys.readouterr().err


def test_a_film_that_can_not_be_decoded_is_named(bundle_dir: Path, tree: Path, tmp_path: Path) -> None:
    copy = tmp_path / "tree"
    shutil.copytree(tree, copy)
    broken = next(iter(sorted((copy / "test" / "NORMAL").glob("*.jpeg"))))
    broken.write_bytes(broken.read_bytes()[:-200])
    with pytest.raises(DataError, match=broken.name):
        predict_split(load_bundle(bundle_dir), scan_tree(copy), "test")


def test_a_tree_of_test_films_alone_is_enough(bundle_dir: Path, tree: Path, tmp_path: Path) -> None:
    copy = tmp_path / "tree"
    shutil.copytree(tree / "test", copy / "test")
    assert evaluate("--bundle", bundle_dir, "--data", copy, "--output", tmp_path / "report") == 0
