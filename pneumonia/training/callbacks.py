"""Callbacks and plugins that keep a run's record whole: checkpoints, history, curves and predictions."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import BasePredictionWriter
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.plugins.io import TorchCheckpointIO
from typing_extensions import override

from pneumonia.data.datamodule import ChestXRayDataModule
from pneumonia.files import atomic_write


class AtomicCheckpointIO(TorchCheckpointIO):
    """Checkpoints under a temporary name beside their own, then renamed: also where /tmp is another file system."""

    @override
    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        if "://" in str(path):
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        with atomic_write(str(path)) as temporary:
            torch.save(checkpoint, temporary)


class MetricsHistory(Callback):
    """A resumed run keeps the lines of `metrics.csv` that were written before its checkpoint.

    Lightning's CSVLogger begins an empty file whenever it is made.
    """

    def __init__(self) -> None:
        self._rows: list[dict[str, str]] = []

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage == "fit" and trainer.is_global_zero and trainer.log_dir:
            self._rows = read_metrics(Path(trainer.log_dir) / "metrics.csv")

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        kept = [row for row in self._rows if int(row["step"]) < trainer.global_step]
        for logger in trainer.loggers:
            if isinstance(logger, CSVLogger) and trainer.is_global_zero and kept:
                logger.experiment.metrics[:0] = [{key: value for key, value in row.items() if value} for row in kept]
                logger.save()
        self._rows = []


class LearningCurves(Callback):
    """`curves.svg` in the run's folder, drawn anew from `metrics.csv` after each epoch."""

    @override
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.is_global_zero or not trainer.log_dir:
            return
        for logger in trainer.loggers:
            logger.save()
        rows = read_metrics(Path(trainer.log_dir) / "metrics.csv")
        if rows:
            _plot_curves(rows, Path(trainer.log_dir) / "curves.svg")


class PredictionWriter(BasePredictionWriter):
    """`pneumonia predict` writes `predictions.csv`: path, label, and the probability of each class (temperature 1)."""

    def __init__(self) -> None:
        super().__init__(write_interval="epoch")

    @override
    def write_on_epoch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        predictions: Sequence[Any],
        batch_indices: Sequence[Any],
    ) -> None:
        data = trainer.datamodule  # type: ignore[attr-defined]
        if not isinstance(data, ChestXRayDataModule) or not trainer.log_dir:
            return
        with (
            atomic_write(Path(trainer.log_dir) / "predictions.csv") as temporary,
            temporary.open("w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["path", "label", *data.classes])
            for batch in predictions:
                for row, values in zip(batch["row"].tolist(), batch["logits"].softmax(dim=1).tolist(), strict=True):
                    writer.writerow([data.manifest.rows[row].path, data.manifest.rows[row].label, *values])


def read_metrics(path: Path) -> list[dict[str, str]]:
    """The lines of a CSVLogger's file; none when there is no file."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _plot_curves(rows: list[dict[str, str]], path: Path) -> None:
    from matplotlib.figure import Figure

    panels = {
        "Cross-entropy": ["train/loss", "val/loss"],
        "Validation": ["val/auroc", "val/accuracy", "val/sensitivity", "val/specificity", "val/f1"],
        "Learning rate": [key for key in rows[0] if key.startswith("lr-")],
    }
    figure = Figure(figsize=(13, 3.6), layout="constrained")
    for axes, (title, keys) in zip(figure.subplots(1, len(panels)), panels.items(), strict=True):
        for key in keys:
            points = [(int(row["step"]), float(row[key])) for row in rows if row.get(key)]
            if points:
                axes.plot(*zip(*points, strict=True), label=key, marker=".", markersize=3)
        axes.set(title=title, xlabel="step")
        axes.grid(alpha=0.3)
        if axes.has_data():
            axes.legend(fontsize="small")
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format="svg")
