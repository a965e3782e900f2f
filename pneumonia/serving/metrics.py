"""Prometheus metrics that stay right with several processes: each writes its own file, `/metrics` adds them up.

`prometheus_client` decides at import whether it runs in several processes, so that `PROMETHEUS_MULTIPROC_DIR` has to
be set before: this module is imported late, by the processes of a server.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest, multiprocess
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from pneumonia.serving.admission import Load
from pneumonia.serving.vitals import Event, Vitals

_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)

REQUESTS = Counter("pneumonia_requests", "HTTP requests by route and status.", ["route", "status"])
LATENCY = Histogram("pneumonia_request_seconds", "Time from request to answer.", ["route"], buckets=_SECONDS)
PREDICTIONS = Counter("pneumonia_predictions", "Predictions by class.", ["prediction"])
REFUSALS = Counter("pneumonia_input_check_refusals", "Radiographs that did not pass the input check.")
BATCH = Histogram("pneumonia_batch_size", "Radiographs in one run of the engine.", buckets=(1, 2, 4, 8, 16, 32))
DECODING = Histogram("pneumonia_decode_seconds", "Time to decode one file.", buckets=_SECONDS)
INFERENCE = Histogram("pneumonia_inference_seconds", "Time of one run of the engine.", buckets=_SECONDS)


# By what is limited; how each is told apart is the label's value.
_PLACES = ("requests", "queue", "bytes")
_RESTARTS = {
    "killed": Event.WORKER_KILLED,
    "hung": Event.WORKER_HUNG,
    "not_started": Event.WORKER_FAILED,
}


class SharedCollector(Collector):
    """What the processes share in memory: it is the same whichever of them is asked, and no dead one's stays behind.

    Args:
        load: limits, and what is taken of them.
        vitals: workers and what happened to them.
        model: name and version of the bundle that is served.
    """

    def __init__(self, load: Load, vitals: Vitals, model: tuple[str, str]) -> None:
        self.load, self.vitals, self.model = load, vitals, model

    def collect(self) -> Iterator[Metric]:
        """The metrics as they are now."""
        places = (self.load.requests, self.load.queue, self.load.held_bytes)
        taken = GaugeMetricFamily("pneumonia_places_taken", "Of what is limited, what is in use.", labels=["of"])
        limits = GaugeMetricFamily("pneumonia_places_limit", "Of what is limited, how much there is.", labels=["of"])
        for name, each in zip(_PLACES, places, strict=True):
            taken.add_metric([name], each.taken)
            limits.add_metric([name], each.limit)
        yield taken
        yield limits
        waiting = max(0, self.load.queue.taken - self.vitals.at_work)
        yield GaugeMetricFamily("pneumonia_queue_length", "Uploads that wait for a worker.", waiting)
        yield GaugeMetricFamily("pneumonia_workers_ready", "Workers that can predict.", self.vitals.workers_ready)
        ended = CounterMetricFamily("pneumonia_worker_restarts", "Workers that were replaced, by why.", labels=["why"])
        for name, event in _RESTARTS.items():
            ended.add_metric([name], self.vitals.counted(event))
        yield ended
        ended = CounterMetricFamily("pneumonia_http_restarts", "HTTP processes that ended and were replaced.")
        ended.add_metric([], self.vitals.counted(Event.HTTP_ENDED))
        yield ended
        reloads = CounterMetricFamily("pneumonia_reloads", "Changes of the bundle, by outcome.", labels=["outcome"])
        for name, event in (("done", Event.RELOADED), ("refused", Event.REFUSED)):
            reloads.add_metric([name], self.vitals.counted(event))
        yield reloads
        bundle = GaugeMetricFamily("pneumonia_bundle_info", "The bundle that is served.", labels=["name", "version"])
        bundle.add_metric(list(self.model), 1)
        yield bundle


class _FilesCollector(multiprocess.MultiProcessCollector):
    """The files of all processes, dead ones' too: a counter never goes down."""

    def collect(self) -> Iterable[Metric]:
        """Their sums. A process that was killed may have left a file that it had not begun to write."""
        paths = [str(path) for path in Path(self._path).glob("*.db") if path.stat().st_size]
        return self.merge(paths, accumulate=True)  # type: ignore[no-untyped-call,no-any-return]


def exposition(shared: SharedCollector) -> tuple[bytes, str]:
    """The sum over all processes, and what they share, in Prometheus text format, and its content type."""
    registry = CollectorRegistry()
    _FilesCollector(registry)  # type: ignore[no-untyped-call]
    registry.register(shared)
    return generate_latest(registry), CONTENT_TYPE_LATEST
