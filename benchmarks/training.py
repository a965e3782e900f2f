"""How much of `pneumonia fit`'s time is the network's, and how it compares with the plain way of training.

Three things are timed in turn, several rounds of each, in one process on the same data:

- fit: `pneumonia fit --config configs/cnn.yaml`, cache built, augmentation on, steady state of the first epoch;
- ceiling: the same network, precision, batch, loss and optimiser, fed from one tensor in RAM;
- plain: the way most people write it: a loop that decodes each file with Pillow to RGB in every epoch, torchvision
  transforms at 224 px, a four-layer CNN of 13 million weights in float32.

    python -m benchmarks.training --data data/chest_xray
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
import yaml
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from benchmarks.plain import plain_network, plain_transform
from benchmarks.throughput import WARM_UP, Throughput
from pneumonia.data.manifest import Manifest, scan_tree
from pneumonia.data.splits import assign_splits
from pneumonia.models import SmallResNet
from pneumonia.training.cli import main as training_cli

CONFIG = Path(__file__).parent.parent / "configs" / "cnn.yaml"


def fit_images_per_second(data: Path, steps: int, scratch: Path) -> float:
    """Through the real command line."""
    training_cli(
        [
            *("fit", "--config", str(CONFIG), "--data.root", str(data), "--data.cache_dir", str(scratch / "cache")),
            *("--trainer.default_root_dir", tempfile.mkdtemp(dir=scratch), "--trainer.max_epochs", "1"),
            *("--trainer.limit_train_batches", str(steps + WARM_UP), "--trainer.limit_val_batches", "0"),
            *("--trainer.enable_progress_bar", "false", "--trainer.enable_model_summary", "false"),
            *("--early_stopping.monitor", "train/loss", "--best_checkpoint.monitor", "train/loss"),
            "--trainer.callbacks+=benchmarks.throughput.Throughput",
        ]
    )
    return Throughput.measured


def ceiling_images_per_second(steps: int) -> float:
    """The network alone."""
    data = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))["data"]
    batch, size = data["batch_size"], data["image_size"]
    network = SmallResNet().to(memory_format=torch.channels_last)
    images = torch.rand(batch, 1, size, size).mul(255).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(0, 2, (batch,))
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4, fused=True)

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16):
            logits = network(images).logits
        loss = F.cross_entropy(logits.float(), labels)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return _rate(step, steps, batch)


def plain_images_per_second(manifest: Manifest, steps: int, batch: int = 32) -> float:
    """The loop that most people write."""
    network = plain_network()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4)
    batches = _endless(DataLoader(_PlainFiles(manifest), batch_size=batch, shuffle=True, drop_last=True))

    def step() -> None:
        images, labels = next(batches)
        loss = F.cross_entropy(network(images), labels)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return _rate(step, steps, batch)


class _PlainFiles(Dataset[tuple[torch.Tensor, int]]):
    def __init__(self, manifest: Manifest) -> None:
        self.paths, self.rows = manifest.paths(), manifest.rows
        self.transform = plain_transform(transforms.RandomHorizontalFlip(), transforms.RandomRotation(10))

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.transform(Image.open(self.paths[index]).convert("RGB")), int(self.rows[index].label == "PNEUMONIA")


def _endless(loader: DataLoader[Any]) -> Iterator[Any]:
    while True:
        yield from loader


def _rate(step: Callable[[], None], steps: int, batch: int) -> float:
    for _ in range(WARM_UP):
        step()
    began = time.perf_counter()
    for _ in range(steps):
        step()
    return steps * batch / (time.perf_counter() - began)


def main() -> None:
    """Measure, print and optionally write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data/chest_xray"))
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    manifest = scan_tree(options.data)
    manifest = manifest.select(assign_splits(manifest).train)
    with tempfile.TemporaryDirectory() as folder:
        rows = [
            {
                "fit": fit_images_per_second(options.data, options.steps, Path(folder)),
                "ceiling": ceiling_images_per_second(options.steps),
                "plain": plain_images_per_second(manifest, max(2, options.steps // 10)),
            }
            for _ in range(options.rounds)
        ]
    result = {
        **{name: statistics.median(row[name] for row in rows) for name in rows[0]},
        "fit_of_ceiling": statistics.median(row["fit"] / row["ceiling"] for row in rows),
        "fit_of_plain": statistics.median(row["fit"] / row["plain"] for row in rows),
        "threads": torch.get_num_threads(),
        "rounds": rows,
    }
    print(json.dumps(result, indent=2))
    if options.output:
        options.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
