"""A callback that measures how many images a second a real run trains on."""

import time
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

WARM_UP = 5


class Throughput(Callback):
    """Images a second of the training steps after the first few."""

    measured = 0.0

    def __init__(self) -> None:
        self._began = 0.0
        self._images = 0

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count from the end of the last warm-up step to the end of each later one."""
        now = time.perf_counter()
        if batch_idx == WARM_UP - 1:
            self._began = now
        elif batch_idx >= WARM_UP:
            self._images += len(batch["image"])
            Throughput.measured = self._images / (now - self._began)
