"""Phantoms whose answers a bundle records when it is exported: whoever loads it can ask for them again."""

import tempfile
from pathlib import Path
from typing import Any

from pneumonia.bundle import Bundle
from pneumonia.data.phantom import GENERATOR_VERSION, PhantomCounts, write_phantoms
from pneumonia.errors import ImageError
from pneumonia.inference.engines.registry import choose_engine
from pneumonia.inference.predictor import Predictor

_COUNTS = PhantomCounts(train=0, val=0, test=12)
PROBE_SIDE = 256


def write_probes(folder: Path) -> list[Path]:
    """Files of twelve phantoms, half of them with pneumonia or more; the same ones every time."""
    root = write_phantoms(folder / "phantoms", _COUNTS, size=PROBE_SIDE)
    return sorted(root.rglob("*.jpeg"))


def record_probes(bundle: Bundle) -> dict[str, Any]:
    """What a bundle answers for these phantoms, by its best engine: its provenance keeps it, and `check_probes` asks.

    `generator` is the version of what draws them, `engine` what answered, `probabilities` of pneumonia in their order.
    """
    with tempfile.TemporaryDirectory(prefix="pneumonia-probes-") as folder:
        answers = list(Predictor(bundle, threads=1).predict_files(write_probes(Path(folder))))
    return {
        "generator": GENERATOR_VERSION,
        "engine": choose_engine(bundle).name,
        "probabilities": [answer.probability for answer in answers if not isinstance(answer, ImageError)],
    }
