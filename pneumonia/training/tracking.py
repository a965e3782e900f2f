"""What Weights & Biases gets of a run beside its metrics: config, data, curves and samples; nothing of a patient."""

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
import yaml
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import WandbLogger
from typing_extensions import override

from pneumonia.data.datamodule import ChestXRayDataModule
from pneumonia.errors import ConfigError
from pneumonia.files import write_json
from pneumonia.training.charts import precision_recall_points, roc_points, telling_samples
from pneumonia.training.wandb_settings import RUN_FILE

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from wandb import Artifact
    from wandb.sdk.wandb_run import Run

# Of a film's SHA-256: enough to find it again in the data that one has, and nothing to guess a name from.
_DIGEST = 16


class WandbRecord(Callback):
    """The run's record in Weights & Biases, where a `WandbLogger` is configured; nothing otherwise.

    The resolved config; the manifest as a dataset artifact that the run uses, without names; at the end, of the epoch
    with the best validation AUROC, ROC and precision-recall curves, confusion matrix and some predictions.

    Args:
        samples: how many predictions on validation films are listed, the most wrong and the least certain first.
        films: whether their pictures are sent along. Phantoms always are: they show nobody.
    """

    def __init__(self, samples: int = 16, films: bool = False) -> None:
        super().__init__()
        if samples < 0:
            raise ConfigError(f"tracking.samples is {samples}; give 0 or more.")
        self.samples, self.films = samples, films
        self._seen: list[dict[str, NDArray[np.float64]]] = []
        self._best: dict[str, NDArray[np.float64]] | None = None
        self._best_auroc = -np.inf

    @override
    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Send config and manifest; the checkpoint's provenance and the run's folder get where the run is."""
        run = _run(trainer)
        if run is None:
            return
        config, provenance = cast(dict[str, Any], pl_module.run_config), cast(dict[str, Any], pl_module.provenance)
        described = {**config, "data": {**config.get("data", {}), **provenance["data"]}}
        run.config.update(described, allow_val_change=True)  # type: ignore[no-untyped-call]
        configured = _text_artifact(f"config-{run.id}", "config", "config.yaml", yaml.safe_dump(config), {})
        run.log_artifact(configured)
        _use(run, manifest_artifact(_data(trainer)))
        said = {
            "id": run.id,
            "entity": run.entity or None,
            "project": run.project,
            "url": None if run.offline else run.url,
            "config_artifact": f"config-{run.id}",
        }
        provenance["run"] = said
        write_json(Path(trainer.default_root_dir) / RUN_FILE, said)

    @override
    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep the answers of the epoch."""
        if isinstance(outputs, dict) and _is_tracked(trainer):
            self._seen.append({name: value.cpu().numpy() for name, value in outputs.items()})

    @override
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep the answers of the best epoch."""
        seen, self._seen = _of_all_processes(trainer, self._seen), []
        auroc = float(trainer.callback_metrics.get("val/auroc", -np.inf))
        if seen and not trainer.sanity_checking and (self._best is None or auroc > self._best_auroc):
            self._best = {name: np.concatenate([part[name] for part in seen]) for name in seen[0]}
            self._best_auroc = auroc

    @override
    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Send the charts of the best epoch."""
        run = _run(trainer)
        if run is None or self._best is None:
            return
        data, best = _data(trainer), self._best
        curves = Path(trainer.default_root_dir) / "curves.svg"  # `log_dir` is to be asked for in every process
        content = _charts(best, data.classes) | {"samples": self._samples(data, best)}
        if curves.is_file():
            import wandb

            content["learning_curves"] = wandb.Html(curves.read_text(encoding="utf-8"), inject=False)
        run.log(content)
        run.summary["best/auroc"] = self._best_auroc

    @override
    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Wait until all is sent or written."""
        run = _any_run(trainer) if stage == "fit" else None
        if run is not None:
            run.finish()

    def _samples(self, data: ChestXRayDataModule, best: "dict[str, NDArray[np.float64]]") -> Any:
        import wandb

        pictures = self.films or data.manifest.synthetic
        table = wandb.Table(columns=["film", "label", "prediction", "probability", *(["picture"] if pictures else [])])
        positive = 1 - best["probabilities"][:, 0]
        for index in telling_samples((best["label"] > 0).astype(np.int64), positive, self.samples):
            row, answer = int(best["row"][index]), best["probabilities"][index]
            cells: list[Any] = [
                data.manifest.rows[row].sha256[:_DIGEST],
                data.classes[int(best["label"][index])],
                data.classes[int(answer.argmax())],
                float(positive[index]),
            ]
            table.add_data(*cells, *([wandb.Image(data.picture(row), file_type="png")] if pictures else []))
        return table


def manifest_artifact(data: ChestXRayDataModule) -> "Artifact":
    """The manifest as a dataset: what each film is and is used for, by its digest; patients as numbers, no names."""
    numbers: dict[str, int] = {}
    uses = {row: use for use in ("train", "validation", "test") for row in data.splits.named(use)}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["film", "used_for", "label", "pathogen", "patient", "width", "height"])
    for index, row in enumerate(data.manifest.rows):
        patient = numbers.setdefault(row.patient, len(numbers))
        film = row.sha256[:_DIGEST]
        writer.writerow([film, uses.get(index, ""), row.label, row.pathogen, patient, row.width, row.height])
    metadata = {**data.describe(), "synthetic": data.manifest.synthetic}
    return _text_artifact("manifest", "dataset", "manifest.csv", text.getvalue(), metadata)


def _charts(best: "dict[str, NDArray[np.float64]]", classes: tuple[str, ...]) -> dict[str, Any]:
    """ROC, precision-recall and confusion matrix as W&B's own charts."""
    import wandb

    truth, probabilities = (best["label"] > 0).astype(np.int64), 1 - best["probabilities"][:, 0]
    charts: dict[str, Any] = {
        "confusion_matrix": wandb.plot.confusion_matrix(
            y_true=best["label"].astype(int).tolist(),
            preds=best["probabilities"].argmax(axis=1).tolist(),
            class_names=list(classes),
            title="Confusion matrix (validation)",
        )
    }
    for name, points, title, axes in (
        ("roc", roc_points(truth, probabilities), "ROC (validation)", ("1 - specificity", "Sensitivity")),
        ("pr", precision_recall_points(truth, probabilities), "Precision-recall (validation)", ("Recall", "Precision")),
    ):
        charts[name] = wandb.plot_table(
            vega_spec_name="wandb/area-under-curve/v0",
            data_table=wandb.Table(columns=["class", "x", "y"], data=[["PNEUMONIA", x, y] for x, y in points]),
            fields={"x": "x", "y": "y", "class": "class"},
            string_fields={"title": title, "x-axis-title": axes[0], "y-axis-title": axes[1]},
        )
    return charts


def _text_artifact(name: str, kind: str, file: str, text: str, metadata: dict[str, Any]) -> "Artifact":
    import wandb

    artifact = wandb.Artifact(name, type=kind, metadata=metadata)
    with artifact.new_file(file, mode="w", encoding="utf-8") as opened:
        opened.write(text)
    return artifact


def _use(run: "Run", artifact: "Artifact") -> None:
    """Log an artifact as an input of the run: data -> run in the lineage."""
    if run.offline:
        # `use_artifact` refuses offline, but what it would write into the run file is what `wandb sync` understands.
        run._log_artifact(artifact, is_user_created=True, use_after_commit=True)
    else:
        run.use_artifact(artifact)


def _data(trainer: Trainer) -> ChestXRayDataModule:
    return cast(ChestXRayDataModule, trainer.datamodule)  # type: ignore[attr-defined]


def _of_all_processes(trainer: Trainer, seen: "list[dict[str, NDArray[np.float64]]]") -> Any:
    """What all processes have seen; each film is in one of them."""
    if trainer.world_size == 1 or not _is_tracked(trainer):
        return seen
    parts: list[Any] = [None] * trainer.world_size
    torch.distributed.all_gather_object(parts, seen)
    return [answers for part in parts for answers in part]


def _is_tracked(trainer: Trainer) -> bool:
    """Whether W&B gets the run: in every process, also in those that send nothing."""
    return any(isinstance(logger, WandbLogger) for logger in trainer.loggers)


def _run(trainer: Trainer) -> "Run | None":
    """W&B's run in the first process, where there is one that is recorded: `WANDB_MODE=disabled` makes another kind."""
    run = _any_run(trainer)
    return None if run is None or run.disabled else run


def _any_run(trainer: Trainer) -> "Run | None":
    if not trainer.is_global_zero:
        return None
    loggers = [logger for logger in trainer.loggers if isinstance(logger, WandbLogger)]
    return cast("Run", loggers[0].experiment) if loggers else None
