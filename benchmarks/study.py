"""What moves validation, and what moves robustness: variants of a config, each trained and judged on held-out patients.

Each variant is a run of `pneumonia fit` with a few options changed. It is judged on the patients that it held out, on
their films as they are and on each corruption of `pneumonia.evaluation.corruptions` at the middle grade:

- plain: AUROC of the films as they are;
- worst view: the lowest AUROC among the corruptions, which is what variants are chosen by;
- crossed: AUROC when NORMAL films are seen in one view and PNEUMONIA films in another: the mean over all pairs of
  views, and the lowest. A network that takes sharpness or exposure for disease keeps its AUROC within each view and
  loses it here, as it does on films whose sharpness has another cause than in train.

No film of the test folder is read. Runs and views are kept: what was interrupted goes on where it stopped.

    python -m benchmarks.study --data data/chest_xray
"""

import argparse
import itertools
import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import yaml
from filelock import FileLock
from numpy.typing import NDArray
from torch.utils.flop_counter import FlopCounterMode

from pneumonia.data.manifest import Manifest, scan_tree
from pneumonia.data.splits import assign_splits
from pneumonia.evaluation.corruptions import CORRUPTIONS, MIDDLE_GRADE
from pneumonia.evaluation.metrics import auroc
from pneumonia.evaluation.operating_point import log_odds
from pneumonia.evaluation.robustness_views import film_seed, lossless
from pneumonia.export import export_graph, load_checkpoint
from pneumonia.files import atomic_write, write_json
from pneumonia.images import read_radiograph
from pneumonia.inference.engine import Engine, OnnxRuntimeEngine, run_in_batches
from pneumonia.models import Ensemble
from pneumonia.parallel import map_films

VARIANTS = Path(__file__).parent / "study.yaml"
TRACING = threading.Lock()  # PyTorch counts and exports in one thread at a time
VIEWS = ("plain", *CORRUPTIONS)

Images = NDArray[np.uint8]
Floats = NDArray[np.float64]


def held_out_views(manifest: Manifest, size: int, folder: Path) -> Images:
    """(views, n, size, size): the films of a manifest as they are and under each corruption at the middle grade."""
    path = folder / f"views-{manifest.digest[:12]}-{size}.npy"
    if not path.is_file():

        def views(index: int) -> Images:
            row, film = manifest.rows[index], manifest.paths()[index]
            pixels, seed = read_radiograph(film).pixels, film_seed(row.sha256)
            seen = [read_radiograph(film, size).pixels]
            for corruption in CORRUPTIONS.values():
                changed = lossless(corruption.apply(pixels, MIDDLE_GRADE, seed))
                seen.append(read_radiograph(changed, size).pixels)
            return np.stack(seen)

        images = np.stack(map_films(views, range(len(manifest.rows))), axis=1)
        with atomic_write(path) as temporary, temporary.open("wb") as file:
            np.save(file, images)
    made: Images = np.load(path, mmap_mode="r")
    return made


def log_odds_of_views(engine: Engine, images: Images) -> Floats:
    """(views, n) log-odds of pneumonia, before any calibration."""
    return np.stack([log_odds(run_in_batches(engine, np.ascontiguousarray(view)).logits, 1.0) for view in images])


def judge(scores: Floats, labels: NDArray[np.int64]) -> dict[str, Any]:
    """AUROC of log-odds (views, n): `plain`, `worst` and its view, `crossed` and the lowest pair, and `by_view`."""
    by_view = {view: auroc(labels, _ranks(row)) for view, row in zip(VIEWS, scores, strict=True)}
    worst = min(list(by_view)[1:], key=lambda view: by_view[view])
    crossed = {
        f"NORMAL {VIEWS[one]}, PNEUMONIA {VIEWS[other]}": auroc(
            labels, _ranks(np.where(labels == 1, scores[other], scores[one]))
        )
        for one, other in itertools.permutations(range(len(VIEWS)), 2)
    }
    lowest = min(crossed, key=lambda pair: crossed[pair])
    return {
        "plain": by_view["plain"],
        "worst": by_view[worst],
        "worst_view": worst,
        "crossed": float(np.mean(list(crossed.values()))),
        "crossed_worst": crossed[lowest],
        "crossed_pair": lowest,
        "by_view": by_view,
    }


def _ranks(scores: Floats) -> Floats:
    """Into [0, 1], in the same order: log-odds saturate as probabilities."""
    _, ranks = np.unique(scores, return_inverse=True)
    return ranks / max(1, len(scores))


def train(name: str, variant: dict[str, Any], settings: argparse.Namespace) -> Path:
    """Run `pneumonia fit`, or go on with it; returns the folder. `base` does not change a variant's own `config`."""
    folder: Path = settings.work / "runs" / name
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock"):  # several variants may judge one run
        _train(folder, variant, settings)
    return folder


def _train(folder: Path, variant: dict[str, Any], settings: argparse.Namespace) -> None:
    if not (folder / ".complete").is_file():
        config = variant.get("config")
        options = {**({} if config else settings.base), **variant.get("options", {})}
        words = [f"--{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in options.items()]
        command = [
            *(sys.executable, "-m", "pneumonia", "fit", "--config", str(config or settings.config), *words),
            *("--data.root", str(settings.data), "--data.cache_dir", str(settings.work / "cache")),
            *("--trainer.default_root_dir", str(folder), "--trainer.enable_progress_bar", "false"),
            *("--early_stopping.patience", "1000", "--ckpt_path", "last"),
        ]
        with (folder / "log.txt").open("ab") as log:
            environment = {**os.environ, "OMP_NUM_THREADS": str(settings.threads)}
            subprocess.run(command, check=True, stdout=log, stderr=log, env=environment)
        (folder / ".complete").touch()


def measure(name: str, variant: dict[str, Any], settings: argparse.Namespace, manifest: Manifest) -> dict[str, Any]:
    """Train a variant and judge its last epoch: the best epoch would be chosen by the films that judge it."""
    folder = train(variant.get("run", name), variant, settings)
    classifier, provenance = load_checkpoint(folder / "checkpoints" / "last.ckpt")
    network, size = classifier.network, classifier.image_size
    if "member" in variant:
        network = cast(Ensemble, network).members[variant["member"]]
    labels = np.array([row.label == "PNEUMONIA" for row in manifest.rows], dtype=np.int64)
    images = held_out_views(manifest, size, settings.work)
    counter = FlopCounterMode(display=False)
    with TRACING, counter, torch.inference_mode():
        network(torch.zeros(2, 1, size, size, dtype=torch.uint8))
    macs = counter.get_total_flops() / 4  # of two images, a multiplication and an addition each
    scores = _scores(folder / f"{name}.npy", images, network, settings.threads)
    if variant.get("flip_at_test"):
        mirrored = _scores(folder / f"{name}-mirrored.npy", images[..., ::-1], network, settings.threads)
        scores = (scores + mirrored) / 2
    seen = provenance["steps"] * provenance["data"]["batch_size"]
    result = {
        "what": variant["what"],
        "weights": sum(parameter.numel() for parameter in network.parameters()),
        "macs": macs,
        "images_seen": seen,
        "training_tera_macs": 3 * macs * seen / 1e12,  # backward is about two forwards
        **judge(scores, labels),
    }
    print(f"{name}: {_summary(result)}", flush=True)
    return result


def _summary(result: dict[str, Any]) -> str:
    return (
        f"plain {result['plain']:.4f}, worst {result['worst']:.4f} ({result['worst_view']}), crossed "
        f"{result['crossed']:.4f}, at worst {result['crossed_worst']:.4f} ({result['crossed_pair']})"
    )


def _scores(path: Path, images: Images, network: torch.nn.Module, threads: int) -> Floats:
    """(views, n) log-odds of the graph as it would be served, kept in the run's folder."""
    if not path.is_file():
        graph = path.with_suffix(".onnx")
        with TRACING:
            export_graph(network, images.shape[-1], graph)
        made = log_odds_of_views(OnnxRuntimeEngine(graph, threads), images)
        graph.unlink()
        with atomic_write(path) as temporary, temporary.open("wb") as file:
            np.save(file, made)
    kept: Floats = np.load(path)
    return kept


def table(results: dict[str, dict[str, Any]]) -> str:
    """Markdown: a row a variant, in the order of the file; cost is relative to the first one's training."""
    lines = [
        "| variant | what | weights | cost | plain | worst view | crossed | lowest crossed pair |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    base = next(iter(results.values()))["training_tera_macs"]
    for name, row in results.items():
        lines.append(
            f"| `{name}` | {row['what']} | {row['weights'] / 1e6:.2f} M | {row['training_tera_macs'] / base:.2f} | "
            f"{row['plain']:.4f} | {row['worst']:.4f} ({row['worst_view']}) | {row['crossed']:.4f} | "
            f"{row['crossed_worst']:.4f} ({row['crossed_pair']}) |"
        )
    return "\n".join(lines) + "\n"


def study_parser(description: str | None, variants: Path, output: Path) -> argparse.ArgumentParser:
    """The options of a study: what `train` and `begin` read."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data/chest_xray"))
    parser.add_argument("--config", type=Path, default=Path("configs/cnn.yaml"), help="what the variants change")
    parser.add_argument("--variants", type=Path, default=variants)
    parser.add_argument("--only", nargs="*", help="names of variants (default: all)")
    parser.add_argument("--work", type=Path, default=Path("artifacts/study"), help="where runs and views are kept")
    parser.add_argument("--output", type=Path, default=output, help="default: %(default)s")
    parser.add_argument("--threads", type=int, default=1, help="of a run")
    parser.add_argument("--parallel", type=int, default=os.cpu_count() or 1, help="runs side by side")
    return parser


def begin(settings: argparse.Namespace) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the file of the variants says, and of its variants those that are asked for."""
    torch.set_num_threads(settings.threads)
    study: dict[str, Any] = yaml.safe_load(settings.variants.read_text(encoding="utf-8"))
    settings.base = study["base"]
    only = settings.only or study["variants"]
    return study, {name: variant for name, variant in study["variants"].items() if name in only}


def main() -> None:
    """Run the variants, several side by side, and write their table."""
    settings = study_parser(__doc__, VARIANTS, Path("docs/study.json")).parse_args()
    _, chosen = begin(settings)
    manifest = scan_tree(settings.data)
    held_out = manifest.select(assign_splits(manifest).validation)
    with ThreadPoolExecutor(settings.parallel) as pool:
        made = pool.map(lambda name: measure(name, chosen[name], settings, held_out), chosen)
        results = dict(zip(chosen, made, strict=True))
    write_json(settings.output, results)
    print(table(results))


if __name__ == "__main__":
    main()
