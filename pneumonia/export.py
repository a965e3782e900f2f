"""Checkpoint to bundle: the graph is exported, compared with the checkpoint on real films, and calibrated."""

import argparse
import datetime
import warnings
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxscript.optimizer
import torch
from torch import Tensor, nn

from pneumonia.bundle import (
    GRAPH,
    QUANTIZED_GRAPH,
    TYPICALITY,
    VALIDATION,
    Bundle,
    check_replaceable,
    graph_version,
    write_bundle,
)
from pneumonia.card import write_card
from pneumonia.data.cache import open_cache
from pneumonia.data.card import DATA_CARD, render_data_card
from pneumonia.data.manifest import Manifest, class_indices, scan_tree
from pneumonia.data.splits import Splits, recorded_splits
from pneumonia.engine_measurement import describe_engines, measure_engines
from pneumonia.errors import BundleError, ConfigError, DataError
from pneumonia.evaluation.agreement import AgreementLimits
from pneumonia.evaluation.conformal import check_coverage, cross_coverage
from pneumonia.evaluation.operating_point import (
    OperatingPoint,
    calibrated_probabilities,
    fit_operating_point,
    positive_probability,
)
from pneumonia.evaluation.thresholds import parse_rule
from pneumonia.evaluation.validation import validation_answers, validation_figures
from pneumonia.files import atomic_directory
from pneumonia.folding import fold_pooled_convolutions
from pneumonia.inference.engine import OUTPUTS, Engine, OnnxRuntimeEngine, run_in_batches
from pneumonia.inference.engines.registry import choose_engine
from pneumonia.inference.probes import record_probes
from pneumonia.inference.typicality import Typicality, fit_typicality
from pneumonia.models.outputs import NetworkOutput
from pneumonia.provenance import describe_reproducibility, git_state, reproducibility
from pneumonia.quantization import quantize_graph
from pneumonia.training.callbacks import AtomicCheckpointIO
from pneumonia.training.module import ChestXRayClassifier

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Largest difference of a probability between checkpoint and graph: float32 sums in another order stay far below.
TOLERANCE = 1e-4
_COMPARED = 64
# Constants of up to so many elements are computed at export: a matrix over the 1024 rows of an image.
_FOLDED = 1 << 20
# Films of train whose values give int8 its ranges, each as it is and augmented; twice as many change nothing.
_CALIBRATED = 256
# Drawn once: the same checkpoint gives the same operating point.
_VIEWS_SEED = 0


@dataclass(frozen=True)
class ExportOptions:
    """What to export, the data it was trained on, where to, how the operating point is fitted, and on how many views.

    `rule` and `coverage` are the run's own where they are None. The operating point is fitted on each validation film
    as it is and in `views` augmented copies. Films from elsewhere differ from train in sharpness and exposure, which is
    what augmentation varies: a point fitted on the films as they are sits at the edge of what those happened to score.

    With `quantize` (`int8`) a second graph is made, whose answers on the validation films may differ by `limits`.
    """

    checkpoint: Path
    data: Path
    output: Path
    name: str
    cache_dir: Path
    rule: str | None = None
    coverage: float | None = None
    views: int = 4
    quantize: str | None = None
    limits: AgreementLimits = field(default_factory=AgreementLimits)


@dataclass(frozen=True, eq=False)
class _Films:
    """Decoded images (n, S, S), their rows and their classes (n,)."""

    images: "NDArray[np.uint8]"
    manifest: Manifest
    classes: "NDArray[np.int64]"


class _Served(nn.Module):
    """The network as it is served: unsigned bytes in, a plain tuple out."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        output: NetworkOutput = self.network(images)
        return output.logits, output.activation_map, output.embedding


def main(arguments: list[str]) -> None:
    """`pneumonia export`."""
    parser = argparse.ArgumentParser(prog="pneumonia export", description=__doc__)
    parser.add_argument("--checkpoint", type=Path, required=True, help="best.ckpt of a run")
    parser.add_argument("--data", type=Path, default=Path("data/chest_xray"), help="the tree it was trained on")
    parser.add_argument("--output", type=Path, required=True, help="the bundle's directory; replaced when it is there")
    parser.add_argument("--name", default="cnn", help="the bundle's name (default: %(default)s)")
    parser.add_argument("--rule", help="how the threshold is chosen on validation (default: as the run's config says)")
    parser.add_argument("--coverage", type=float, help="of the prediction sets (default: as the run's config says)")
    parser.add_argument(
        "--views", type=int, default=ExportOptions.views, help="augmented copies of a validation film (%(default)s)"
    )
    parser.add_argument("--cache-dir", type=Path, default=Path("artifacts/cache"), help="decoded images")
    _add_quantization(parser)
    words = vars(parser.parse_args(arguments))
    limits = AgreementLimits(**{name: words.pop(name) for name in vars(AgreementLimits())})
    bundle = export_bundle(ExportOptions(**words, limits=limits))
    validation = bundle.metrics["validation"]
    print(  # noqa: T201
        f"{bundle.directory}: {bundle.label}, {bundle.parameters:,} weights; validation AUROC "
        f"{validation['auroc']['value']:.4f}, temperature {bundle.operating_point.temperature:.3f}, "
        f"threshold {bundle.operating_point.threshold:.3f} ({bundle.operating_point.rule})"
    )
    print(f"Reproducible: {describe_reproducibility(bundle.provenance)}.")  # noqa: T201
    if bundle.engines:
        print(f"Best engine: {bundle.engines['reason']}.")  # noqa: T201


def _add_quantization(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group(
        "quantisation", "What int8 may change on the validation films; past a limit there is no bundle."
    )
    group.add_argument("--quantize", choices=("int8",), help="add a graph in int8, which is faster")
    for name, what in {
        "auroc_drop": "by how much the AUROC may fall",
        "share_changed": "share of films that may be decided otherwise, and as many that may get another prediction "
        "set, or another verdict of the input check",
        "probability_change": "by how much a probability may change",
    }.items():
        flag, default = f"--max-{name.replace('_', '-')}", getattr(AgreementLimits(), name)
        group.add_argument(flag, dest=name, type=float, default=default, help=f"{what} (default: %(default)s)")


def export_bundle(options: ExportOptions) -> Bundle:
    """Export, compare, calibrate on the run's validation patients, and write the bundle atomically.

    The figures of validation are those of the engine that was found best. Raises `ConfigError` for a checkpoint that
    can't be read or an output that is no bundle, `DataError` when the data are not those it was trained on,
    `BundleError` when the graph's probabilities differ from the checkpoint's by more than `TOLERANCE`, or those of the
    quantised graph from the graph's by more than `limits`.
    """
    check_replaceable(options.output)
    if options.rule is not None:
        parse_rule(options.rule)
    if options.coverage is not None:
        check_coverage(options.coverage)
    classifier, provenance = load_checkpoint(options.checkpoint)
    rule = classifier.threshold_rule if options.rule is None else options.rule
    coverage = classifier.coverage if options.coverage is None else options.coverage
    manifest, splits = _training_data(options.data, provenance)
    size, classes = classifier.image_size, tuple(provenance["data"]["classes"])
    cache = open_cache(manifest, size, options.cache_dir, progress=True)
    train, held_out = (
        _Films(cache[list(rows)], manifest.select(rows), np.array(class_indices(manifest.select(rows).rows, classes)))
        for rows in (splits.train, splits.validation)
    )
    with atomic_directory(options.output, replace=True) as directory:
        export_graph(classifier.network, size, directory / GRAPH)
        _compare(classifier.network, directory / GRAPH, held_out.images[:_COMPARED])
        engine = OnnxRuntimeEngine(directory / GRAPH)
        _fit_typicality(engine, classifier.augmentation, train, held_out).save(directory / TYPICALITY)
        views = [held_out.images, *augmented_views(classifier.augmentation, held_out.images, options.views)]
        logits = [run_in_batches(engine, images).logits for images in views]
        truth = np.tile(held_out.classes, len(views))
        point = fit_operating_point(np.concatenate(logits), truth, rule, coverage, plain=len(held_out.classes))
        bundle = Bundle(
            directory=directory,
            name=options.name,
            version=graph_version(directory / GRAPH, point),
            created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            classes=classes,
            input_size=size,
            parameters=sum(parameter.numel() for parameter in classifier.network.parameters()),
            operating_point=point,
            provenance=_with_export(provenance, replace(options, rule=rule, coverage=coverage)),
        )
        answered = logits[0]
        if options.quantize:
            bundle, answered = _quantize(bundle, classifier.augmentation, train, held_out, options.limits)
        rows = held_out.manifest.rows
        validation_answers(answered, rows, point).save(directory / VALIDATION)
        figures = {**validation_figures(answered, rows, point), **_cross_coverage(answered, held_out, point, classes)}
        bundle = replace(bundle, metrics={"validation": {**figures, "engine": choose_engine(bundle).name}})
        bundle = replace(bundle, provenance={**bundle.provenance, "probes": record_probes(bundle)})
        write_card(bundle)
        (directory / DATA_CARD).write_text(render_data_card(manifest, splits), encoding="utf-8")
        write_bundle(bundle)
    return replace(bundle, directory=options.output)


def load_checkpoint(path: Path) -> tuple[ChestXRayClassifier, dict[str, Any]]:
    """The classifier in evaluation mode, with the averaged weights where there are, and the run's provenance.

    Only tensors and plain values are read from the file. Raises `ConfigError` for a file that is no checkpoint.
    """
    content = AtomicCheckpointIO().load_checkpoint(path)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*is already saved during checkpointing.*")
            classifier = ChestXRayClassifier.load_from_checkpoint(path, map_location="cpu", weights_only=True)
        provenance = dict(content["provenance"])
        missing = {"digest", "classes", "validation_fraction", "split_seed"} - set(provenance["data"])
        if missing:
            raise ConfigError(f"it does not record {', '.join(sorted(missing))} of the data it was trained on")
    except Exception as error:  # the module's constructor may fail in any way on a foreign file
        raise ConfigError(f"{path} is no checkpoint of `pneumonia fit`: {error}") from error
    return classifier.eval(), provenance


def export_graph(network: nn.Module, size: int, path: Path) -> None:
    """Write ONNX with a free batch size: `images` (N, 1, S, S) uint8 to logits, activation_map, embedding."""
    served = _Served(network.to(memory_format=torch.contiguous_format)).eval()
    sample = torch.zeros(2, 1, size, size, dtype=torch.uint8)  # one would be taken for a constant
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            served,
            (sample,),
            dynamo=True,
            verbose=False,
            input_names=["images"],
            output_names=list(OUTPUTS),
            dynamic_shapes={"images": {0: torch.export.Dim("batch")}},
        )
    assert program is not None
    # The exporter itself leaves what is made of more than 8,192 elements to each run.
    onnxscript.optimizer.optimize(program.model, input_size_limit=_FOLDED, output_size_limit=_FOLDED)
    fold_pooled_convolutions(program.model)
    # Without traces of the exporting machine's paths, and the same bytes for the same weights.
    for node in program.model.graph:
        node.metadata_props.clear()
        node.doc_string = None
    program.save(path, external_data=False)


def _training_data(root: Path, provenance: dict[str, Any]) -> tuple[Manifest, Splits]:
    data = provenance["data"]
    manifest = scan_tree(root)
    if manifest.digest != data["digest"]:
        raise DataError(
            f"{root} is not the data that the checkpoint was trained on (manifest {manifest.digest[:12]}, not "
            f"{data['digest'][:12]}): its validation patients may have been trained on. Give that tree with --data."
        )
    return manifest, recorded_splits(manifest, data)


def _with_export(provenance: dict[str, Any], options: ExportOptions) -> dict[str, Any]:
    """Where the weights come from, how they were exported, and whether that could be done again."""
    settings = {name: getattr(options, name) for name in ("rule", "coverage", "views", "quantize")}
    whole = {**provenance, "export": {"git": git_state(), **settings}}
    return {**whole, "reproducibility": reproducibility(whole)}


def _compare(network: nn.Module, graph: Path, images: "NDArray[np.uint8]") -> None:
    with torch.inference_mode():
        expected = network(torch.from_numpy(images).unsqueeze(1)).logits.softmax(dim=1).numpy()
    difference = float(
        np.abs(positive_probability(OnnxRuntimeEngine(graph).run(images).logits, 1.0) - (1 - expected[:, 0])).max()
    )
    if not difference <= TOLERANCE:
        raise BundleError(
            f"The exported graph's probabilities differ from the checkpoint's by up to {difference:.2g} on "
            f"{len(images)} films, more than {TOLERANCE:.0e}. Check the network for layers that ONNX treats otherwise."
        )


def augmented_views(
    augmentation: nn.Module | None, images: "NDArray[np.uint8]", views: int
) -> "list[NDArray[np.uint8]]":
    """Augmented copies of the images, as training saw films; none for a network that was trained without."""
    if augmentation is None:
        return []
    generator = torch.Generator().manual_seed(_VIEWS_SEED)
    batches = torch.split(torch.from_numpy(images).unsqueeze(1), 256)
    return [
        torch.cat([augmentation(batch, generator) for batch in batches]).squeeze(1).round().byte().numpy()
        for _ in range(views)
    ]


def _fit_typicality(engine: Engine, augmentation: nn.Module | None, train: _Films, held_out: _Films) -> Typicality:
    """On the films of train as they are and in one augmented copy each: mildly turned or framed films are films, too.

    The limits are those of the held-out films as they are.
    """
    views = [train.images, *augmented_views(augmentation, train.images, 1)]
    return fit_typicality(
        np.concatenate(views),
        np.concatenate([run_in_batches(engine, images).embedding for images in views]),
        np.tile(train.classes, len(views)),
        (held_out.images, run_in_batches(engine, held_out.images).embedding),
    )


def _quantize(
    bundle: Bundle, augmentation: nn.Module | None, train: _Films, held_out: _Films, limits: AgreementLimits
) -> "tuple[Bundle, NDArray[np.float32]]":
    """The bundle with a graph in int8, what was measured of it, and the best engine's logits of the held-out films."""
    drawn = np.random.default_rng(_VIEWS_SEED).permutation(len(train.images))[:_CALIBRATED]
    films = train.images[np.sort(drawn)]
    views = [films, *augmented_views(augmentation, films, 1)]
    made = quantize_graph(bundle.graph, bundle.directory / QUANTIZED_GRAPH, np.concatenate(views))
    measured = measure_engines(bundle, held_out.images, (held_out.classes > 0).astype(np.int64))
    engines = describe_engines(measured, limits, made)
    version = graph_version(bundle.graph, bundle.operating_point, bundle.quantized_graph)
    return replace(bundle, engines=engines, version=version), measured[engines["order"][0]].outputs.logits


def _cross_coverage(
    logits: "NDArray[np.float32]", held_out: _Films, point: OperatingPoint, classes: tuple[str, ...]
) -> dict[str, Any]:
    """What sets calibrated on one half of these patients cover of each class in the other half."""
    covered = cross_coverage(
        calibrated_probabilities(logits, point.temperature),
        held_out.classes,
        [row.patient for row in held_out.manifest.rows],
        point.coverage,
    )
    shares = zip(classes, covered, strict=True)
    return {"cross_coverage": {name: None if np.isnan(share) else share for name, share in shares}}
