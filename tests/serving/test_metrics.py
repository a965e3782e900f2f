"""`/metrics` of a server with several processes: right counts, bounded labels, a valid exposition."""

import io
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families

from pneumonia.serving.server import ROUTES

if TYPE_CHECKING:
    from tests.serving.conftest import Running

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def scrape(url: str) -> Samples:
    text = httpx.get(f"{url}/metrics").text
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def settled(url: str) -> Samples:
    """The samples once the requests before have all been counted: that is done after the answer."""
    now, before = scrape(url), None
    while requests(now) != before:
        before = requests(now)
        time.sleep(0.1)
        now = scrape(url)
    return now


def requests(samples: Samples) -> float:
    return sum(
        value
        for (name, labels), value in samples.items()
        if name == "pneumonia_requests_total" and labels[0][1] != "/metrics"
    )


def gained(url: str, before: Samples, expected: dict[str, float]) -> dict[str, float]:
    """What the samples `name{label="value"}` gained, once a request's own count, made after its answer, is in."""
    deadline = time.monotonic() + 10
    while True:
        now = scrape(url)
        gains = {name: now.get(key(name), 0) - before.get(key(name), 0) for name in expected}
        if gains == expected or time.monotonic() > deadline:
            return gains
        time.sleep(0.05)


def key(name: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    (family,) = text_string_to_metric_families(f"{name} 0\n")
    (sample,) = family.samples
    return sample.name, tuple(sorted(sample.labels.items()))


@pytest.fixture(scope="module")
def asked(talkative: "Running", film: bytes) -> tuple[Samples, Samples]:
    """The samples before and after 12 films, 3 of them blank, and 5 files that are none, from six clients at once."""
    buffer = io.BytesIO()
    Image.new("L", (100, 100)).save(buffer, format="PNG")
    uploads = [film] * 9 + [buffer.getvalue()] * 3 + [b"no film"] * 5
    before = settled(talkative.url)

    def ask(data: bytes) -> int:
        return httpx.post(f"{talkative.url}/predict", files={"file": data}, timeout=60).status_code

    with ThreadPoolExecutor(6) as pool:
        assert Counter(pool.map(ask, uploads)) == {200: 12, 415: 5}
    gained(talkative.url, before, {'pneumonia_request_seconds_count{route="/predict"}': 17})
    return before, scrape(talkative.url)


@pytest.mark.parametrize(
    ("name", "gain"),
    [
        ('pneumonia_requests_total{route="/predict",status="200"}', 12),
        ('pneumonia_requests_total{route="/predict",status="415"}', 5),
        ('pneumonia_request_seconds_count{route="/predict"}', 17),
        ('pneumonia_request_seconds_bucket{route="/predict",le="+Inf"}', 17),
        ("pneumonia_input_check_refusals_total", 3),
        ("pneumonia_decode_seconds_count", 17),
        ("pneumonia_batch_size_sum", 12),
    ],
)
def test_the_counts_of_all_processes_add_up(asked: tuple[Samples, Samples], name: str, gain: int) -> None:
    before, after = asked
    assert after[key(name)] - before.get(key(name), 0) == gain


def test_every_prediction_is_counted_under_its_class(asked: tuple[Samples, Samples]) -> None:
    before, after = asked
    names = [f'pneumonia_predictions_total{{prediction="{label}"}}' for label in ("NORMAL", "PNEUMONIA")]
    assert sum(after.get(key(name), 0) - before.get(key(name), 0) for name in names) == 12


def test_each_run_of_the_engine_is_timed_and_its_batch_counted(asked: tuple[Samples, Samples]) -> None:
    _, after = asked
    assert after[key("pneumonia_inference_seconds_count")] == after[key("pneumonia_batch_size_count")]


def test_several_processes_have_counted(talkative: "Running", asked: tuple[Samples, Samples]) -> None:
    del asked
    (folder,) = {
        process.environ()["PROMETHEUS_MULTIPROC_DIR"]
        for process in talkative.family()
        if "PROMETHEUS_MULTIPROC_DIR" in process.environ()
    }
    assert len(list(Path(folder).glob("counter_*.db"))) >= 2


def test_unknown_paths_share_one_label(talkative: "Running") -> None:
    before = settled(talkative.url)
    for number in range(20):
        httpx.get(f"{talkative.url}/guess/{number}?secret={number}")
    expected = {'pneumonia_requests_total{route="other",status="404"}': 20}
    assert gained(talkative.url, before, expected) == expected
    routes = {dict(labels)["route"] for _, labels in scrape(talkative.url) if "route" in dict(labels)}
    assert routes <= {*ROUTES, "other"}


def test_a_refused_body_is_counted_too(talkative: "Running") -> None:
    before = settled(talkative.url)
    httpx.post(f"{talkative.url}/predict", files={"file": bytes(300_000)}, timeout=60)
    expected = {'pneumonia_requests_total{route="/predict",status="413"}': 1}
    assert gained(talkative.url, before, expected) == expected


def test_what_is_taken_of_the_limits_and_which_bundle_is_served_can_be_read(talkative: "Running") -> None:
    samples = scrape(talkative.url)
    assert samples[key('pneumonia_places_limit{of="queue"}')] == 128
    assert samples[key('pneumonia_places_taken{of="queue"}')] == samples[key("pneumonia_queue_length")] == 0
    assert samples[key("pneumonia_workers_ready")] == 2
    info = httpx.get(f"{talkative.url}/model/info").json()
    assert samples[key(f'pneumonia_bundle_info{{name="{info["name"]}",version="{info["version"]}"}}')] == 1


def test_every_metric_is_documented(talkative: "Running") -> None:
    text = (Path(__file__).parents[2] / "docs" / "http.md").read_text()
    families = text_string_to_metric_families(httpx.get(f"{talkative.url}/metrics").text)
    assert not [family.name for family in families if f"`{family.name}" not in text]


def test_the_exposition_is_valid_and_every_metric_explains_itself(talkative: "Running") -> None:
    response = httpx.get(f"{talkative.url}/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=")
    families = list(text_string_to_metric_families(response.text))
    assert families
    assert all(family.name.startswith("pneumonia_") and family.documentation for family in families)
    assert len({family.name for family in families}) == len(families)
