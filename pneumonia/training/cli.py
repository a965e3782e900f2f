"""`pneumonia fit | validate | test | predict`: LightningCLI around the module and the data module."""

import os
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import EarlyStopping, LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback
from typing_extensions import override

from pneumonia.data.datamodule import ChestXRayDataModule
from pneumonia.errors import ConfigError
from pneumonia.training.callbacks import AtomicCheckpointIO, LearningCurves, PredictionWriter
from pneumonia.training.history import MetricsHistory, RunLogger
from pneumonia.training.module import ChestXRayClassifier
from pneumonia.training.tracking import WandbRecord
from pneumonia.training.wandb_settings import prepare_loggers

CHECKPOINTS = "checkpoints"


class BestCheckpoint(ModelCheckpoint):
    """`best.ckpt`: the epoch with the best `monitor`."""


class LastCheckpoint(ModelCheckpoint):
    """`last.ckpt`: the epoch that ended last, whether or not it was the best; what a killed run resumes from."""


class RunConfig(SaveConfigCallback):
    """`config.yaml` in the run's folder, and in its checkpoints; a new run does not write over another one's."""

    @override
    def setup(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        if stage != "fit":
            return
        checkpoints = Path(trainer.default_root_dir) / CHECKPOINTS
        if not self.overwrite and (checkpoints / "last.ckpt").exists():
            raise ConfigError(
                f"{trainer.default_root_dir} holds a run already. Resume it with `--ckpt_path last`, start a new one "
                "with `--trainer.default_root_dir <another folder>`, or remove the old one."
            )
        self.overwrite = True
        config = portable(yaml.safe_load(self.parser.dump(self.config)))
        config.pop("ckpt_path", None)  # a resumed run is the one that was not interrupted
        pl_module.run_config = config
        super().setup(trainer, pl_module, stage)


class PneumoniaCLI(LightningCLI):
    """One place for what every run has: seeds, sizes, run folder, CSV log, best and last checkpoint, early stopping."""

    @override
    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.link_arguments("data.image_size", "model.image_size")
        parser.link_arguments("data.classes", "model.network.init_args.classes", compute_fn=len)
        parser.link_arguments("seed_everything", "model.seed", compute_fn=int)
        parser.link_arguments("seed_everything", "data.seed", compute_fn=int)
        parser.add_lightning_class_args(BestCheckpoint, "best_checkpoint")
        parser.add_lightning_class_args(LastCheckpoint, "last_checkpoint")
        parser.add_lightning_class_args(EarlyStopping, "early_stopping")
        parser.add_lightning_class_args(WandbRecord, "tracking")
        parser.set_defaults(
            {
                "best_checkpoint.filename": "best",
                "best_checkpoint.monitor": "val/auroc",
                "best_checkpoint.mode": "max",
                "best_checkpoint.auto_insert_metric_name": False,
                "best_checkpoint.enable_version_counter": False,
                "last_checkpoint.filename": "last",
                "last_checkpoint.enable_version_counter": False,
                "early_stopping.monitor": "val/loss",
                "early_stopping.patience": 10,
            }
        )
        for checkpoint in ("best_checkpoint", "last_checkpoint"):
            parser.link_arguments("trainer.default_root_dir", f"{checkpoint}.dirpath", compute_fn=_checkpoint_folder)

    @override
    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        super().parse_arguments(parser, None if args is None else _with_variables(list(args)))
        options = self.config[self.config.subcommand]
        wanted = options.get("ckpt_path")
        if wanted == "best" or (wanted == "last" and self.config.subcommand != "fit"):
            # Lightning knows these names only in the process that trained; but a fit without `last` begins anew.
            wanted = str(Path(_checkpoint_folder(options.trainer.default_root_dir)) / f"{wanted}.ckpt")
            options["ckpt_path"] = wanted
        if wanted and wanted != "last":
            AtomicCheckpointIO().load_checkpoint(wanted)  # Lightning reads it next, and its errors explain nothing

    @override
    def before_instantiate_classes(self) -> None:
        options = self.config[self.config.subcommand]
        again = self.config.subcommand != "fit" or options.get("ckpt_path") is not None
        prepare_loggers(options.trainer.logger, Path(options.trainer.default_root_dir), again)

    @override
    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        trainer = self._get(self.config_init, "trainer")
        folder = trainer["default_root_dir"]
        wanted = trainer.get("logger")
        extra = wanted if isinstance(wanted, list) else [] if wanted in (None, True, False) else [wanted]
        kwargs["logger"] = [RunLogger(folder, str(self.subcommand)), *extra]
        kwargs["plugins"] = [*(trainer.get("plugins") or []), AtomicCheckpointIO()]
        made = super().instantiate_trainer(**kwargs)
        if self.subcommand == "fit" and self._get(self.config, "ckpt_path"):
            for callback in made.callbacks:  # type: ignore[attr-defined]
                if isinstance(callback, RunConfig):
                    callback.overwrite = True
        return made


def main(arguments: list[str] | None = None, callbacks: Sequence[Callback] = ()) -> PneumoniaCLI:
    """Run a LightningCLI subcommand, with callbacks beside those of its config.

    Raises `ConfigError` and `DataError`; LightningCLI itself exits on bad options.
    """
    _quieten()
    try:
        return _run(arguments, callbacks)
    except Exception as error:
        if not type(error).__module__.startswith("wandb."):
            raise
        raise ConfigError(f"W&B did not take the run: {error}. WANDB_MODE=offline keeps it for later.") from error


def _run(arguments: list[str] | None, callbacks: Sequence[Callback]) -> PneumoniaCLI:
    return PneumoniaCLI(
        ChestXRayClassifier,
        ChestXRayDataModule,
        save_config_callback=RunConfig,
        seed_everything_default=0,
        args=arguments,
        trainer_defaults={
            "default_root_dir": "artifacts/runs/default",
            "callbacks": [MetricsHistory(), LearningRateMonitor(), LearningCurves(), PredictionWriter(), *callbacks],
        },
        parser_kwargs={"prog": "pneumonia"},
    )


def portable(config: Any) -> Any:
    """A config without what is only this machine's: of an absolute path its last part is left.

    >>> portable({"data": {"root": "/home/me/chest_xray", "classes": ["NORMAL"]}})
    {'data': {'root': 'chest_xray', 'classes': ['NORMAL']}}
    """
    if isinstance(config, dict):
        return {key: portable(value) for key, value in config.items()}
    if isinstance(config, list):
        return [portable(value) for value in config]
    if isinstance(config, str) and Path(config).is_absolute():
        return Path(config).name
    return config


def _with_variables(words: list[str]) -> list[str]:
    """The words, with environment variables in the name of the run's folder replaced.

    Agents start all runs of a sweep by one command, and tell a run its name in `$WANDB_RUN_ID`. Raises `ConfigError`
    for a variable that is not set.
    """
    option = "--trainer.default_root_dir"
    made = []
    for before, word in zip(["", *words], words, strict=False):
        if before == option or word.startswith(f"{option}="):
            word = os.path.expandvars(word)
            unset = re.search(r"\$\{?\w+", word)
            if unset:
                raise ConfigError(f"{option} names {unset[0]}, an environment variable that is not set.")
        made.append(word)
    return made


def _checkpoint_folder(run: str | None) -> str:
    return str(Path(run or ".") / CHECKPOINTS)


def _quieten() -> None:
    """Silence messages that ask for nothing: each is about something that is meant here."""
    for meant in (
        ".*LightningCLI's args parameter is intended to run from within Python.*",
        ".*does not have many workers.*",
        ".*Experiment logs directory .* exists and is not empty.*",
        ".*Checkpoint directory .* exists and is not empty.*",
        ".*Precision .* is not supported by the model summary.*",
        ".*You have overridden `on_after_batch_transfer` in `LightningModule`.*",
        ".*isinstance.treespec, LeafSpec.* is deprecated.*",
    ):
        warnings.filterwarnings("ignore", meant)
    torch.set_float32_matmul_precision("high")
