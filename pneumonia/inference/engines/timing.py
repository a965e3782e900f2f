"""How long engines take, side by side."""

import statistics
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pneumonia.inference.engine import Engine

BATCHES = (1, 32)
# Runs of a small batch are timed together, up to so many images: one run is too short for the clock.
_TOGETHER = 16


def time_engines(
    engines: "Mapping[str, Engine]", images: "NDArray[np.uint8]", batches: Sequence[int] = BATCHES, rounds: int = 15
) -> dict[str, dict[int, float]]:
    """Milliseconds an image of each engine at each batch size: the median of rounds in which all take their turn.

    Taking turns, they meet the same noise of a shared machine. Images (n, S, S) uint8 are taken in their order, again
    from the first where they are fewer than a batch. Each engine runs once at each size before the clock starts.
    """
    medians: dict[str, dict[int, float]] = {name: {} for name in engines}
    for batch in batches:
        chosen = images[[index % len(images) for index in range(batch)]]
        runs = max(1, _TOGETHER // batch)
        took: dict[str, list[float]] = {name: [] for name in engines}
        for engine in engines.values():
            engine.run(chosen)
        for _ in range(rounds):
            for name, engine in engines.items():
                began = time.perf_counter()
                for _ in range(runs):
                    engine.run(chosen)
                took[name].append((time.perf_counter() - began) * 1000 / runs / batch)
        for name, samples in took.items():
            medians[name][batch] = statistics.median(samples)
    return medians
