"""Two processes train one network together, and what they measure is what one process measures."""

import csv
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from pneumonia.data.manifest import scan_tree
from pneumonia.data.splits import assign_splits
from pneumonia.training.cli import main
from tests.wandb_server.run_file import records

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not torch.distributed.is_gloo_available(), reason="PyTorch was built without gloo"),
]

CONFIGS = Path(__file__).parents[2] / "configs"
OVERLAY = CONFIGS / "ddp.yaml"
BATCH, EPOCHS = 4, 2
# What configs that are used for long train with, on all films.
OPTIONS = [
    f"--data.batch_size={BATCH}",
    f"--trainer.max_epochs={EPOCHS}",
    "--trainer.limit_train_batches=null",
    "--trainer.limit_val_batches=null",
    "--trainer.callbacks+=lightning.pytorch.callbacks.EMAWeightAveraging",
    "--trainer.callbacks.decay=0.9",
    "--model.learning_rate=0.02",
]
TrainingWords = Callable[..., list[str]]


def together(words: list[str]) -> "subprocess.CompletedProcess[str]":
    """The command in two processes: the first starts the other by its own command line."""
    command = [sys.executable, "-m", "pneumonia", *words, f"--config={OVERLAY}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    return done


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def shared(training_words: TrainingWords, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of two processes."""
    folder = tmp_path_factory.mktemp("runs") / "shared"
    tracker = [f"--config={CONFIGS / 'wandb.yaml'}", f"--trainer.logger.init_args.save_dir={folder.parent}"]
    done = together(training_words("fit", folder, *OPTIONS, *tracker))
    assert "MEMBER: 2/2" in done.stderr
    return folder


@pytest.fixture
def own_run(shared: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(shared, tmp_path / "run"))


def test_two_processes_train_to_the_end_and_leave_one_run(shared: Path, tree: Path) -> None:
    content = torch.load(shared / "checkpoints" / "last.ckpt", weights_only=True)
    films = len(assign_splits(scan_tree(tree)).train)
    assert content["global_step"] == EPOCHS * (films // 2 // BATCH)
    assert content["epoch"] == EPOCHS - 1
    left = {path.relative_to(shared).as_posix() for path in shared.rglob("*") if path.is_file()}
    files = {"config.yaml", "hparams.yaml", "metrics.csv", "curves.svg", "wandb.json"}
    assert left == files | {"checkpoints/best.ckpt", "checkpoints/last.ckpt"}


def test_a_tracker_gets_one_run_with_the_answers_of_both(shared: Path, tree: Path) -> None:
    [path] = shared.parent.glob("wandb/offline-run-*/run-*.wandb")
    listed = [
        json.loads(item.value_json)
        for record in records(path)
        for item in record.history.item
        if list(item.nested_key) == ["samples", "nrows"]
    ]
    assert listed == [len(assign_splits(scan_tree(tree)).validation)]


def test_what_two_processes_measured_while_training_one_measures_again(
    own_run: Path, training_words: TrainingWords
) -> None:
    main(training_words("validate", own_run, *OPTIONS, "--ckpt_path=last"))
    [again] = rows_of(own_run / "validate_metrics.csv")
    logged = [row for row in rows_of(own_run / "metrics.csv") if row["val/auroc"]]
    assert len(logged) == EPOCHS
    for name in ("val/loss", "val/auroc", "val/accuracy", "val/sensitivity", "val/specificity"):
        assert float(again[name]) == pytest.approx(float(logged[-1][name]), rel=1e-5), name


def test_two_processes_predict_each_film_once_as_one_does(own_run: Path, training_words: TrainingWords) -> None:
    def predicted(run: Callable[[list[str]], Any]) -> list[dict[str, str]]:
        run(training_words("predict", own_run, *OPTIONS, "--ckpt_path=best"))
        return rows_of(own_run / "predictions.csv")

    alone, shared = predicted(main), predicted(together)
    assert [(row["path"], row["label"]) for row in shared] == [(row["path"], row["label"]) for row in alone]
    for ours, theirs in zip(shared, alone, strict=True):
        assert float(ours["PNEUMONIA"]) == pytest.approx(float(theirs["PNEUMONIA"]), abs=1e-5)
    assert not list(own_run.glob(".predictions*")), "a process wrote beside the first one"
