"""`metrics.csv`: a run's figures, kept whole through interruption, resumption and later commands on its folder."""

import csv
from pathlib import Path
from typing import Any

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter
from typing_extensions import override

from pneumonia.files import atomic_write


class RunLogger(CSVLogger):
    """Lightning's CSVLogger, with a file that lasts.

    Its own deletes the old file as soon as it is made, even by a command that is then refused.

    Args:
        folder: the run's.
        command: `fit` goes on with `metrics.csv`; the others write files of their own, `test_metrics.csv` and so on.
    """

    def __init__(self, folder: str, command: str = "fit") -> None:
        super().__init__(folder, name="", version="")
        self._metrics_file = "metrics.csv" if command == "fit" else f"{command}_metrics.csv"
        self._keep = command == "fit"

    @property
    def metrics_file(self) -> Path:
        """The CSV file."""
        return Path(self.log_dir) / self._metrics_file

    @property
    @override
    @rank_zero_experiment
    def experiment(self) -> Any:
        """What Lightning logs to, made on first use; a stand-in in all processes but the first."""
        if self._experiment is None:
            self._experiment = _Writer(self.metrics_file, self._keep)
        return self._experiment


class _Writer(ExperimentWriter):
    """All rows in memory, and the file written anew from them: atomically, whatever columns came in since."""

    def __init__(self, path: Path, keep: bool) -> None:
        super().__init__(str(path.parent))
        self.metrics_file_path = str(path)
        self._rows: list[dict[str, Any]] = list(read_metrics(path)) if keep else []

    @override
    def _check_log_dir_exists(self) -> None:
        """Lightning's deletes the file here."""

    @override
    def save(self) -> None:
        if not self.metrics:
            return
        self._rows += self.metrics
        self.metrics = []
        self._write()

    def rewind(self, steps: int) -> None:
        """Forget what was logged after so many steps."""
        kept = [row for row in self._rows if int(row["step"]) < steps]
        if len(kept) < len(self._rows):
            self._rows = kept
            self._write()

    def _write(self) -> None:
        keys = sorted({key for row in self._rows for key in row} | {"step"})
        with (
            atomic_write(self.metrics_file_path) as temporary,
            temporary.open("w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.DictWriter(file, keys)
            writer.writeheader()
            writer.writerows(self._rows)


class MetricsHistory(Callback):
    """What makes a resumed run's `metrics.csv` the one that it would have had without interruption."""

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget what was logged after the checkpoint."""
        for logger in trainer.loggers:
            if isinstance(logger, RunLogger) and trainer.is_global_zero:
                logger.experiment.rewind(trainer.global_step)

    @override
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the epoch's loss and write the file before the checkpoint: Lightning does it after, and may be killed."""
        figures = {"train/loss": float(trainer.callback_metrics["train/loss"]), "epoch": trainer.current_epoch}
        for logger in trainer.loggers:
            logger.log_metrics(figures, step=trainer.global_step - 1)
            logger.save()


def read_metrics(path: Path) -> list[dict[str, str]]:
    """The rows of `metrics.csv`, without empty cells; none when there is no file."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [{key: value for key, value in row.items() if value} for row in csv.DictReader(file)]
