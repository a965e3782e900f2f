"""Checks that need no real film: the bundle loads as it is served, keeps the contract, and answers alike.

A check takes the subject and returns in words what it found; it raises `CheckFailedError` or `CheckSkippedError`.
"""

import json
import subprocess
import sys
from typing import Any

import numpy as np

from pneumonia.bundle import graph_version
from pneumonia.data.phantom import GENERATOR_VERSION
from pneumonia.evaluation.operating_point import positive_probability
from pneumonia.inference.engine import OUTPUTS
from pneumonia.inference.engines.registry import DEFAULT_ENGINE, open_engine
from pneumonia.inference.engines.timing import time_engines
from pneumonia.inference.prediction import Prediction
from pneumonia.registry.staged.probes import extremes
from pneumonia.registry.staged.result import CheckFailedError, CheckSkippedError
from pneumonia.registry.staged.subject import Subject

# Sums of float32 in another order; int8 rounds them the same way.
_SAME = 1e-3
# What a JPEG's losses or a coarser scale of gray may change: as much as int8 may (`AgreementLimits`).
_ALIKE = 0.1
_SECONDS = 300
# An engine that is chosen for its speed and is slower than float32 by more than noise is chosen wrongly here.
_SLOWER_THAN_DEFAULT = 1.5


def check_version(subject: Subject) -> str:
    """The version is the hash of this graph and this operating point."""
    bundle = subject.bundle
    expected = graph_version(bundle.graph, bundle.operating_point, bundle.quantized_graph)
    if bundle.version != expected:
        raise CheckFailedError(
            f"It calls itself {bundle.version}, but its graphs and operating point make {expected}: one of them was "
            "changed after the export."
        )
    return f"{bundle.version} is the hash of its graphs and operating point"


def check_served(subject: Subject) -> str:
    """A process of its own loads it as a server's worker does, without torch, and answers as this process does."""
    words = [sys.executable, "-m", "pneumonia.registry.staged.served", subject.bundle.directory, *subject.probes]
    try:
        done = subprocess.run(  # noqa: S603 (our own module)
            list(map(str, words)), capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise CheckFailedError(f"It gave no answer in {_SECONDS} s.") from error
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it ended without a word"])[-1]
        raise CheckFailedError(f"A process that loads it as a server does ended with {done.returncode}: {last}")
    said: dict[str, Any] = json.loads(done.stdout)
    if said["torch"]:
        raise CheckFailedError("Loading it as a server does imports torch.")
    ours = [prediction.probability for prediction in subject.predictor.predict(subject.radiographs)]
    theirs = [np.nan if answer is None else answer["probability"] for answer in said["predictions"]]
    if not _largest(ours, theirs) <= _SAME:
        raise CheckFailedError(f"Loaded as a server does, it answers otherwise: by {_largest(ours, theirs):.3g}.")
    return f"engine {said['engine']}, {len(theirs)} films, without torch"


def check_contract(subject: Subject) -> str:
    """Every field of a prediction is what docs/http.md says."""
    classes = subject.bundle.classes
    if len(classes) < 2 or classes[0] != "NORMAL" or len(set(classes)) < len(classes):
        raise CheckFailedError(f"Its classes are {', '.join(classes)}: the first has to be NORMAL, each another.")
    predictions = subject.predictor.predict(subject.radiographs, [True] * len(subject.radiographs))
    faults = sorted({fault for prediction in predictions for fault in _faults(prediction, subject)})
    if faults:
        raise CheckFailedError(f"In a prediction {'; '.join(faults)}.")
    return f"{len(predictions)} predictions with heatmaps"


def check_finite(subject: Subject) -> str:
    """Logits, maps and embeddings are finite, for films and for what is none."""
    images = np.concatenate([subject.images, extremes(subject.bundle.input_size)])
    output = subject.predictor.engine.run(images)
    broken = [name for name, values in zip(OUTPUTS, output, strict=True) if not np.isfinite(values).all()]
    if broken:
        raise CheckFailedError(f"Not finite: {', '.join(broken)}. The network diverged, or its graph is damaged.")
    return f"{len(images)} images, four of them black, white, a dot and noise"


def check_batch(subject: Subject) -> str:
    """Films get the same answer in a batch as alone."""
    together = subject.predictor.engine.run(subject.images).logits
    alone = np.concatenate([subject.predictor.engine.run(image[None]).logits for image in subject.images])
    point = subject.bundle.operating_point
    change = _largest(*(positive_probability(logits, point.temperature, point.offset) for logits in (together, alone)))
    if not change <= _SAME:
        raise CheckFailedError(f"In a batch a probability differs by {change:.3g} from that of the film alone.")
    return f"largest difference of a probability {change:.1g}"


def check_probes(subject: Subject) -> str:
    """Phantoms get the answers here that they got when it was exported, whatever machine and versions that was with."""
    recorded = subject.bundle.provenance.get("probes") or {}
    if recorded.get("generator") != GENERATOR_VERSION:
        raise CheckSkippedError("no answers for these phantoms were recorded when it was exported")
    now = [prediction.probability for prediction in subject.predictor.predict(subject.radiographs)]
    change = _largest(now, recorded["probabilities"])
    if not change <= _ALIKE:
        raise CheckFailedError(
            f"Phantoms are answered otherwise than when it was exported, a probability by {change:.3f} (at most "
            f"{_ALIKE:g}): its graph was changed, or this machine computes it otherwise."
        )
    return f"{len(now)} phantoms answered as when it was exported, a probability by at most {change:.2g}"


def check_invariances(subject: Subject) -> str:
    """A film gets nearly the same answer in colour, as another format, and exposed otherwise."""
    probabilities = {
        name: [prediction.probability for prediction in subject.predictor.predict(radiographs)]
        for name, radiographs in subject.copies.items()
    }
    plain = probabilities.pop("plain")
    changes = {name: _largest(plain, values) for name, values in probabilities.items()}
    faults = [f"{name} by {change:.3f}" for name, change in changes.items() if not change <= _ALIKE]
    if faults:
        raise CheckFailedError(f"The probability of the same film changes: {', '.join(faults)} (at most {_ALIKE:g}).")
    worst = max(changes, key=lambda name: changes[name])
    return f"{', '.join(changes)}: at most {changes[worst]:.3f} ({worst})"


def milliseconds(subject: Subject) -> dict[str, float]:
    """An image's time alone, one thread as a worker has it, by engine: the one served, and float32 beside it."""
    names = dict.fromkeys([subject.engine, DEFAULT_ENGINE])
    engines = {name: open_engine(subject.bundle, name, threads=1) for name in names}
    return {name: taken[1] for name, taken in time_engines(engines, subject.images, (1,), rounds=7).items()}


def check_latency(subject: Subject, taken: dict[str, float]) -> str:
    """`taken` against what this bundle and engine took when it was exported or tested before."""
    engine, now = subject.engine, taken[subject.engine]
    if engine != DEFAULT_ENGINE and now > _SLOWER_THAN_DEFAULT * taken[DEFAULT_ENGINE]:
        raise CheckFailedError(
            f"{engine} was chosen for its speed and takes {now:.2f} ms an image here, {DEFAULT_ENGINE} "
            f"{taken[DEFAULT_ENGINE]:.2f} ms: serve it with --engine {DEFAULT_ENGINE}, or export it again."
        )
    baseline = subject.baselines.get(engine)
    if baseline is None:
        raise CheckSkippedError(f"{now:.2f} ms an image with {engine}; no baseline yet: this is one from now on")
    if now > subject.options.max_slowdown * baseline:
        raise CheckFailedError(
            f"{now:.2f} ms an image with {engine}, more than {subject.options.max_slowdown:g} times its baseline of "
            f"{baseline:.2f} ms."
        )
    return f"{now:.2f} ms an image with {engine}, {now / baseline:.1f} times its baseline of {baseline:.2f} ms"


def _faults(prediction: Prediction, subject: Subject) -> list[str]:
    bundle = subject.bundle
    probabilities, kinds = prediction.probabilities, bundle.classes
    positive = prediction.class_index > 0
    holds = {
        "`probability` is no share": 0 <= prediction.probability <= 1,
        "`probabilities` are not of its classes": tuple(probabilities) == kinds,
        "`probabilities` do not sum to 1": abs(sum(probabilities.values()) - 1) < _SAME,
        "`probability` is not 1 less that of NORMAL": abs(prediction.probability + probabilities[kinds[0]] - 1) < _SAME,
        "`prediction` is not the class of `class_index`": prediction.prediction == kinds[prediction.class_index],
        "the threshold does not decide": positive == (prediction.probability >= prediction.threshold),
        "`threshold` is not the operating point's": prediction.threshold == bundle.operating_point.threshold,
        "`prediction_set` holds other classes": set(prediction.prediction_set) <= set(kinds),
        "`model` is not name:version": prediction.model == f"{bundle.name}:{bundle.version}",
        "the input check's score is not finite": bool(np.isfinite(prediction.input_check.score)),
        "the heatmap is no PNG": (prediction.heatmap or b"").startswith(b"\x89PNG"),
    }
    return [fault for fault, right in holds.items() if not right]


def _largest(one: Any, other: Any) -> float:
    return float(np.abs(np.asarray(one) - np.asarray(other)).max())
