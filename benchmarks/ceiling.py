"""A bundle called in one process, without HTTP: what a server of it could reach if serving cost nothing."""

import threading
import time
from collections.abc import Sequence
from pathlib import Path

from pneumonia.bundle import load_bundle
from pneumonia.inference.predictor import Predictor


class Ceiling:
    """Bytes to predictions on as many threads as there are cores, each with an engine and decoder of its own.

    Args:
        bundle: its directory.
        threads: of Python, each with an engine of one thread.
        batch: films in one run of an engine, as many as a worker finds waiting when that many clients ask.
    """

    def __init__(self, bundle: Path, threads: int, batch: int) -> None:
        self.predictors = [Predictor(load_bundle(bundle), threads=1) for _ in range(threads)]
        self.batch = batch

    def measure(self, films: Sequence[bytes], seconds: float) -> tuple[float, float]:
        """Predictions a second, and CPU seconds a prediction."""
        cpu = time.process_time()
        done, deadline = [0] * len(self.predictors), time.perf_counter() + seconds
        threads = [
            threading.Thread(target=self._work, args=(index, films, deadline, done)) for index in range(len(done))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return sum(done) / seconds, (time.process_time() - cpu) / max(1, sum(done))

    def _work(self, index: int, films: Sequence[bytes], deadline: float, done: list[int]) -> None:
        predictor, place = self.predictors[index], index * len(films) // len(done)
        while True:
            batch = [films[(place + offset) % len(films)] for offset in range(self.batch)]
            place += self.batch
            predictions = predictor.predict([predictor.read(film) for film in batch])
            for prediction in predictions:
                prediction.to_dict()
            done[index] += len(predictions)
            if time.perf_counter() > deadline:
                return
