"""What a server's metrics say of its traffic: Prometheus text in, figures out."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

PREDICT = "/predict"
_QUANTILES = (0.5, 0.95, 0.99)


@dataclass(frozen=True)
class Traffic:
    """Since the server started, over all of its processes.

    `answers` are of `POST /predict` by status; `predictions` by class; `latency` by quantile, in seconds, NaN without a
    request; `refusals` by the input check; `restarts` of workers by why.
    """

    answers: Mapping[str, int]
    predictions: Mapping[str, int]
    refusals: int
    latency: Mapping[float, float]
    queue: int
    workers: int
    restarts: Mapping[str, int]
    bundle: str = ""
    reloads: Mapping[str, int] = field(default_factory=dict)

    @property
    def asked(self) -> int:
        """Films that were sent, whatever they were answered with."""
        return sum(self.answers.values())

    @property
    def failed(self) -> int:
        """Those that the server failed on, or had no room for: a status of 500 or more."""
        return sum(count for status, count in self.answers.items() if status.startswith("5"))


def read_traffic(text: str) -> Traffic:
    """Raises `ValueError` for what is no Prometheus text, or of another server."""
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    if not any(sample.name == "pneumonia_workers_ready" for sample in samples):
        raise ValueError("these are not the metrics of `pneumonia serve`")
    requests = [sample for sample in samples if sample.labels.get("route") == PREDICT]
    info = next((sample.labels for sample in samples if sample.name == "pneumonia_bundle_info"), {})
    return Traffic(
        answers=_by(requests, "pneumonia_requests_total", "status"),
        predictions=_by(samples, "pneumonia_predictions_total", "prediction"),
        refusals=_sum(samples, "pneumonia_input_check_refusals_total"),
        latency={at: quantile(_buckets(requests, "pneumonia_request_seconds_bucket"), at) for at in _QUANTILES},
        queue=_sum(samples, "pneumonia_queue_length"),
        workers=_sum(samples, "pneumonia_workers_ready"),
        restarts=_by(samples, "pneumonia_worker_restarts_total", "why"),
        bundle=f"{info['name']}:{info['version']}" if {"name", "version"} <= set(info) else "",
        reloads=_by(samples, "pneumonia_reloads_total", "outcome"),
    )


def quantile(buckets: Mapping[float, float], share: float) -> float:
    """The quantile of a histogram, by linear interpolation within its bucket, as Prometheus' `histogram_quantile`.

    `buckets` maps upper bounds to how many lie at or below; NaN when that is none. What lies above the last finite
    bound is answered by that bound.

    >>> quantile({0.1: 50, 0.2: 100, math.inf: 100}, 0.75)
    0.15
    """
    bounds = sorted(buckets)
    total = buckets[bounds[-1]] if bounds else 0
    if not total:
        return math.nan
    below, lower = 0.0, 0.0
    for bound in bounds:
        if buckets[bound] >= share * total:
            if math.isinf(bound):
                return lower
            inside = buckets[bound] - below
            return lower + (bound - lower) * ((share * total - below) / inside if inside else 1.0)
        below, lower = buckets[bound], bound
    return lower


def _by(samples: Iterable[Sample], name: str, label: str) -> dict[str, int]:
    counted: dict[str, int] = {}
    for sample in samples:
        if sample.name == name and sample.value:
            key = sample.labels.get(label, "")
            counted[key] = counted.get(key, 0) + int(sample.value)
    return dict(sorted(counted.items()))


def _sum(samples: Iterable[Sample], name: str) -> int:
    return int(sum(sample.value for sample in samples if sample.name == name))


def _buckets(samples: Iterable[Sample], name: str) -> dict[float, float]:
    buckets: dict[float, float] = {}
    for sample in samples:
        if sample.name == name:
            bound = float(sample.labels["le"])
            buckets[bound] = buckets.get(bound, 0.0) + sample.value
    return buckets
