"""The LightningModule: loss, metrics, optimiser and steps around any network."""

from typing import Any, cast

import lightning as L
import torch
import torch.nn.functional as F
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torchmetrics import MeanMetric, MetricCollection
from torchmetrics.classification import (
    BinaryAccuracy,
    BinaryAUROC,
    BinaryF1Score,
    BinaryRecall,
    BinarySpecificity,
)

from pneumonia.data.datamodule import SEED_STRIDE, Batch, ChestXRayDataModule
from pneumonia.data.version import data_version
from pneumonia.errors import ConfigError
from pneumonia.evaluation.conformal import check_coverage
from pneumonia.evaluation.operating_point import DEFAULT_COVERAGE, DEFAULT_RULE
from pneumonia.evaluation.thresholds import parse_rule
from pneumonia.models.ensemble import Ensemble
from pneumonia.models.outputs import NetworkOutput
from pneumonia.provenance import CHECKOUT, git_state, software_versions
from pneumonia.training.finetuning import parameter_groups


class ChestXRayClassifier(L.LightningModule):
    """Cross-entropy training of a network on chest X-rays; class 0 is NORMAL, every other class is pneumonia.

    All randomness of a training step (augmentation, dropout) is a function of seed, step and device rank, so that a
    resumed run repeats the one that was not interrupted.

    Args:
        network: maps images (N, 1, S, S) to a `NetworkOutput`.
        augmentation: called with images (N, 1, S, S) and a `torch.Generator`; none trains on the films as they are.
        image_size: S.
        learning_rate: peak of the one-cycle schedule (Smith & Topin 2018).
        layer_decay: factor of the rate from each group of the network's layers to the one before it (discriminative
            fine-tuning, Howard & Ruder 2018); 1 trains all at the same rate.
        weight_decay: decoupled (Loshchilov & Hutter 2019), on weights with two or more dimensions.
        warmup: share of the steps in which the rate rises.
        label_smoothing: mass spread over all classes (Szegedy et al. 2016).
        mixup: alpha of the Beta distribution by which pairs of films are mixed (Zhang et al. 2018); 0 mixes none.
        balance_classes: weigh classes by the inverse of their frequency among the training images.
        threshold_rule: how `export` chooses the threshold on validation: youden, accuracy, sensitivity>=X,
            specificity>=X or cost=X (a missed pneumonia costs X false alarms).
        coverage: of the prediction sets that `export` calibrates.
        seed: of the training steps.
    """

    def __init__(
        self,
        network: nn.Module,
        augmentation: nn.Module | None = None,
        image_size: int = 128,
        learning_rate: float = 2e-3,
        layer_decay: float = 1.0,
        weight_decay: float = 0.05,
        warmup: float = 0.15,
        label_smoothing: float = 0.0,
        mixup: float = 0.0,
        balance_classes: bool = True,
        threshold_rule: str = DEFAULT_RULE,
        coverage: float = DEFAULT_COVERAGE,
        seed: int = 0,
    ) -> None:
        super().__init__()
        parse_rule(threshold_rule)
        check_coverage(coverage)
        if mixup < 0:
            raise ConfigError(f"mixup is {mixup:g}; give the alpha of a Beta distribution, above 0, or 0 for none.")
        self.save_hyperparameters()
        self.network = network.to(memory_format=torch.channels_last)
        self.augmentation = augmentation
        self.image_size = image_size
        self.learning_rate, self.weight_decay, self.warmup = learning_rate, weight_decay, warmup
        self.layer_decay = layer_decay
        self.label_smoothing, self.mixup = label_smoothing, mixup
        self.balance_classes, self.seed = balance_classes, seed
        self.threshold_rule, self.coverage = threshold_rule, coverage
        self.class_weights: Tensor | None = None
        self.provenance: dict[str, Any] = {}
        # The resolved config that the command line leaves here; empty for a module that is used from Python.
        self.run_config: dict[str, Any] = {}
        self.configure_metrics()

    def configure_metrics(self) -> None:
        """Of pneumonia against normal, at probability 0.5; one collection a split, so that none mixes with another."""
        metrics = MetricCollection(
            {
                "auroc": BinaryAUROC(),
                "accuracy": BinaryAccuracy(),
                "sensitivity": BinaryRecall(),
                "specificity": BinarySpecificity(),
                "f1": BinaryF1Score(),
            }
        )
        self.metrics = nn.ModuleDict({split: metrics.clone(prefix=f"{split}/") for split in ("val", "test")})
        # Lightning's own mean rounds the number of films of a process, when processes have different numbers of them.
        self.means = nn.ModuleDict(
            {split: nn.ModuleDict({"loss": MeanMetric(), "class_accuracy": MeanMetric()}) for split in ("val", "test")}
        )

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW, without decay on biases and normalisation, under one cycle over all steps of the run."""
        groups = parameter_groups(self.network, self.learning_rate, self.weight_decay, self.layer_decay)
        peaks = [group["lr"] for group in groups]
        optimizer = torch.optim.AdamW(groups, lr=self.learning_rate, fused=True)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, peaks, int(self.trainer.estimated_stepping_batches), pct_start=self.warmup
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def setup(self, stage: str) -> None:
        """Take the class weights from the training images: n / (K n_k), whose mean over the images is one."""
        if stage != "fit":
            return
        data = cast(ChestXRayDataModule, self.trainer.datamodule)  # type: ignore[attr-defined]
        self.provenance = {
            "synthetic": data.manifest.synthetic,
            "data": data.describe(),
            "data_version": data_version(data.manifest.root, CHECKOUT),
            "seed": self.seed,
            "config": {key: value for key, value in self.run_config.items() if key != "model"},
            "git": git_state(),
            "versions": software_versions(),
        }
        if self.balance_classes:
            counts = torch.tensor(data.class_counts(), dtype=torch.float32)
            self.class_weights = counts.sum() / (len(counts) * counts.clamp_min(1))

    def on_train_start(self) -> None:
        """Refuse to resume a run as another one: the schedule in its checkpoint is made for so many steps."""
        planned = cast(torch.optim.lr_scheduler.OneCycleLR, self.lr_schedulers()).total_steps
        if self.trainer.estimated_stepping_batches != planned:
            raise ConfigError(
                f"The checkpoint is of a run of {planned} steps, and this one would have "
                f"{self.trainer.estimated_stepping_batches:.0f}. Resume it with the epochs and the batch size it began "
                "with, or start another run with `--trainer.default_root_dir <another folder>`."
            )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep where the weights come from: what `export` writes into the bundle."""
        settings = checkpoint.get("hyper_parameters", {})
        checkpoint["provenance"] = {
            **self.provenance,
            "epoch": self.current_epoch,
            "steps": self.global_step,
            "model": _plain(settings),
        }
        checkpoint["hyper_parameters"] = _without_pretrained(settings)

    def forward(self, images: Tensor) -> NetworkOutput:
        """Images (N, 1, S, S), gray levels 0..255 of any dtype."""
        return cast(NetworkOutput, self.network(images.contiguous(memory_format=torch.channels_last)))

    def member_outputs(self, images: Tensor) -> list[NetworkOutput]:
        """What each member of an ensemble makes of images (N, 1, S, S): each learns from its own errors."""
        images = images.contiguous(memory_format=torch.channels_last)
        members = self.network.members if isinstance(self.network, Ensemble) else [self.network]
        return [cast(NetworkOutput, member(images)) for member in members]

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Seed whatever a training step draws, and augment its batch as a whole, on the device it was moved to."""
        if self.trainer.training:
            seed = self._step_seed()
            torch.manual_seed(seed)
            if self.augmentation is not None:
                batch["image"] = self.augmentation(batch["image"], torch.Generator().manual_seed(seed))
        return batch

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Loss of a batch."""
        images, targets = self._mix(batch["image"], batch["label"])
        losses = [self._loss(output.logits, targets) for output in self.member_outputs(images)]
        loss = torch.stack(losses).mean()
        # MetricsHistory passes it on to the loggers.
        self.log(
            "train/loss",
            loss,
            on_step=False,
            on_epoch=True,
            logger=False,
            batch_size=len(batch["label"]),
            sync_dist=True,
        )
        return loss

    def on_validation_epoch_start(self) -> None:
        """Measure what is saved: batch-norm statistics differ between processes, and the first one saves its own."""
        if self.trainer.world_size > 1:
            for buffer in self.network.buffers():
                torch.distributed.broadcast(buffer, 0)

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Loss and metrics on held-out patients; callbacks get manifest rows, classes and probabilities (N, K)."""
        logits = self._evaluate(batch, "val")
        return {"row": batch["row"], "label": batch["label"], "probabilities": logits.softmax(dim=1)}

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Loss and metrics on the official test folder."""
        self._evaluate(batch, "test")

    def predict_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Manifest rows, classes and logits of a batch, on the CPU."""
        logits = self(batch["image"]).logits.float()
        return {"row": batch["row"].cpu(), "label": batch["label"].cpu(), "logits": logits.cpu()}

    def _evaluate(self, batch: Batch, split: str) -> Tensor:
        logits = cast(Tensor, self(batch["image"]).logits.float())
        # Unweighted: the number that calibration cares for, and the same on every machine.
        loss = F.cross_entropy(logits, batch["label"])
        self._log_mean(f"{split}/loss", loss, len(logits), prog_bar=split == "val")
        metrics = cast(MetricCollection, self.metrics[split])
        metrics.update(1 - logits.softmax(dim=1)[:, 0], (batch["label"] > 0).long())
        self.log_dict(metrics, prog_bar=False, batch_size=len(logits))
        if logits.shape[1] > 2:
            right = (logits.argmax(dim=1) == batch["label"]).float().mean()
            self._log_mean(f"{split}/class_accuracy", right, len(logits))
        return logits

    def _log_mean(self, name: str, value: Tensor, films: int, prog_bar: bool = False) -> None:
        """Log the mean over all films of an epoch, in whichever process they are."""
        split, _, what = name.partition("/")
        mean = cast(MeanMetric, cast(nn.ModuleDict, self.means[split])[what])
        mean.update(value, films)
        self.log(name, mean, prog_bar=prog_bar, batch_size=films)

    def _mix(self, images: Tensor, labels: Tensor) -> tuple[Tensor, list[tuple[Tensor, float]]]:
        """Images, and the labels (N,) with the shares by which each counts in the loss."""
        if not self.mixup:
            return images, [(labels, 1.0)]
        share = float(torch.distributions.Beta(self.mixup, self.mixup).sample())
        order = torch.randperm(len(labels)).to(labels.device)
        images = images.float()
        return torch.lerp(images[order], images, share), [(labels, share), (labels[order], 1 - share)]

    def _loss(self, logits: Tensor, targets: list[tuple[Tensor, float]]) -> Tensor:
        weights = None if self.class_weights is None else self.class_weights.to(logits.device)
        losses = [
            share * F.cross_entropy(logits.float(), labels, weight=weights, label_smoothing=self.label_smoothing)
            for labels, share in targets
        ]
        return torch.stack(losses).sum()

    def _step_seed(self) -> int:
        batches_seen = self.trainer.fit_loop.epoch_loop.total_batch_idx + 1
        return self.seed * SEED_STRIDE + batches_seen * self.trainer.world_size + self.trainer.global_rank


def _without_pretrained(hyper_parameters: dict[str, Any]) -> dict[str, Any]:
    """The network's weights are in the checkpoint: none are to be fetched, from wherever, to load it."""
    network = hyper_parameters.get("network")
    if not isinstance(network, dict) or "weights" not in network.get("init_args", {}):
        return hyper_parameters
    return {**hyper_parameters, "network": {**network, "init_args": {**network["init_args"], "weights": None}}}


def _plain(hyper_parameters: dict[str, Any]) -> dict[str, Any]:
    """The hyperparameters that a config names, without what LightningCLI adds to instantiate them."""
    return {key: value for key, value in hyper_parameters.items() if not key.startswith("_")}
