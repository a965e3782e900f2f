"""Callbacks and plugins that keep a run's record: checkpoints, curves and predictions."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import BasePredictionWriter
from lightning.pytorch.plugins.io import TorchCheckpointIO
from typing_extensions import override

from pneumonia.data.datamodule import ChestXRayDataModule
from pneumonia.errors import ConfigError
from pneumonia.files import atomic_write
from pneumonia.training.history import read_metrics


class AtomicCheckpointIO(TorchCheckpointIO):
    """Checkpoints that are whole or not there, and that are read without running what is in them.

    They are written under a temporary name beside their own, then renamed: also where /tmp is another file system.
    """

    @override
    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        if "://" in str(path):
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        with atomic_write(str(path)) as temporary:
            torch.save(checkpoint, temporary)

    @override
    def load_checkpoint(
        self, path: Any, map_location: Any | None = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Tensors and plain values only, from wherever: nothing in the file is run. Raises `ConfigError`."""
        del weights_only
        try:
            return super().load_checkpoint(path, map_location, weights_only=True)
        except FileNotFoundError as error:
            raise ConfigError(f"There is no checkpoint {path}; `pneumonia fit` writes them.") from error
        except Exception as error:  # the unpickler fails in many ways on a foreign file
            raise ConfigError(f"{path} is no checkpoint of `pneumonia fit`, or it is damaged; give another.") from error


class LearningCurves(Callback):
    """`curves.svg` in the run's folder, drawn anew from `metrics.csv` after each epoch."""

    @override
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        folder = trainer.log_dir  # asked for in every process: they agree on it
        if not trainer.is_global_zero or not folder:
            return
        rows = read_metrics(Path(folder) / "metrics.csv")
        if rows:
            _plot_curves(rows, Path(folder) / "curves.svg")


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
        data, folder = trainer.datamodule, trainer.log_dir  # type: ignore[attr-defined]
        if not isinstance(data, ChestXRayDataModule) or not folder:
            return
        rows = _of_all_processes(
            [
                (row, values)
                for batch in predictions
                for row, values in zip(batch["row"].tolist(), batch["logits"].softmax(dim=1).tolist(), strict=True)
            ],
            trainer.world_size,
        )
        if not trainer.is_global_zero:
            return
        with (
            atomic_write(Path(folder) / "predictions.csv") as temporary,
            temporary.open("w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["path", "label", *data.classes])
            for row, values in rows:
                writer.writerow([data.manifest.rows[row].path, data.manifest.rows[row].label, *values])


def _of_all_processes(rows: list[tuple[int, list[float]]], world_size: int) -> list[tuple[int, list[float]]]:
    """What every process has, in the manifest's order; each film is in one of them."""
    if world_size == 1:
        return rows
    parts: list[list[tuple[int, list[float]]]] = [[] for _ in range(world_size)]
    torch.distributed.all_gather_object(parts, rows)
    return sorted(row for part in parts for row in part)


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
