"""Prometheus metrics that stay right with several processes: each writes its own file, `/metrics` adds them up.

`prometheus_client` decides at import whether it runs in several processes, so that `PROMETHEUS_MULTIPROC_DIR` has to
be set before: this module is imported late, by the processes of a server.
"""

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest, multiprocess

_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)

REQUESTS = Counter("pneumonia_requests", "HTTP requests by route and status.", ["route", "status"])
LATENCY = Histogram("pneumonia_request_seconds", "Time from request to answer.", ["route"], buckets=_SECONDS)
PREDICTIONS = Counter("pneumonia_predictions", "Predictions by class.", ["prediction"])
REFUSALS = Counter("pneumonia_input_check_refusals", "Radiographs that did not pass the input check.")
BATCH = Histogram("pneumonia_batch_size", "Radiographs in one run of the engine.", buckets=(1, 2, 4, 8, 16, 32))
DECODING = Histogram("pneumonia_decode_seconds", "Time to decode one file.", buckets=_SECONDS)
INFERENCE = Histogram("pneumonia_inference_seconds", "Time of one run of the engine.", buckets=_SECONDS)


def exposition() -> tuple[bytes, str]:
    """The sum over all processes in Prometheus text format, and its content type."""
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry), CONTENT_TYPE_LATEST
