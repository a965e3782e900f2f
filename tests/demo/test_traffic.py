"""What the monitor makes of a server's metrics."""

import math

import pytest

from pneumonia.client import Validation
from pneumonia.demo.monitoring import Expected, expected_of, monitored
from pneumonia.demo.strings import Strings
from pneumonia.demo.traffic import quantile, read_traffic

SAY = Strings("en")
TEXT = """
# TYPE pneumonia_requests_total counter
pneumonia_requests_total{route="/predict",status="200"} 8.0
pneumonia_requests_total{route="/predict",status="503"} 2.0
pneumonia_requests_total{route="/health",status="200"} 99.0
# TYPE pneumonia_request_seconds histogram
pneumonia_request_seconds_bucket{le="0.01",route="/predict"} 5.0
pneumonia_request_seconds_bucket{le="0.1",route="/predict"} 10.0
pneumonia_request_seconds_bucket{le="+Inf",route="/predict"} 10.0
pneumonia_request_seconds_bucket{le="+Inf",route="/health"} 99.0
# TYPE pneumonia_predictions_total counter
pneumonia_predictions_total{prediction="NORMAL"} 6.0
pneumonia_predictions_total{prediction="PNEUMONIA"} 2.0
# TYPE pneumonia_input_check_refusals_total counter
pneumonia_input_check_refusals_total 1.0
pneumonia_queue_length 3.0
pneumonia_workers_ready 2.0
# TYPE pneumonia_worker_restarts_total counter
pneumonia_worker_restarts_total{why="killed"} 1.0
pneumonia_bundle_info{name="cnn",version="1"} 1.0
"""


def test_figures_are_read_of_predictions_alone() -> None:
    traffic = read_traffic(TEXT)
    assert (traffic.asked, traffic.failed, traffic.refusals, traffic.queue, traffic.workers) == (10, 2, 1, 3, 2)
    assert traffic.predictions == {"NORMAL": 6, "PNEUMONIA": 2}
    assert traffic.restarts == {"killed": 1}
    assert traffic.bundle == "cnn:1"
    assert traffic.latency[0.5] == pytest.approx(0.01)
    assert traffic.latency[0.95] == pytest.approx(0.01 + 0.09 * 4.5 / 5)


def test_a_server_that_was_not_asked_has_no_latency() -> None:
    traffic = read_traffic("pneumonia_workers_ready 1.0\n")
    assert traffic.asked == 0
    assert all(map(math.isnan, traffic.latency.values()))
    assert "None yet." in monitored(SAY, traffic, Expected())


@pytest.mark.parametrize("text", ["", "<html>", "other_metric 1.0\n"])
def test_another_servers_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        read_traffic(text)


def test_beyond_the_last_bound_that_bound_is_said() -> None:
    assert quantile({0.1: 1, math.inf: 10}, 0.9) == 0.1


def test_the_page_shows_them_beside_held_out_films() -> None:
    figures = {"input_check": {"refused": {"value": 0.005}}}
    model = {"operating_point": {"threshold": 0.5}, "metrics": {"validation": figures}}
    expected = expected_of(model, Validation((0, 1, 1, 1), (0.1, 0.5, 0.9, 0.4), "cnn:1"))
    assert expected == Expected(called=0.5, refused=0.005)
    shown = monitored(SAY, read_traffic(TEXT), expected)
    assert 'id="monitored-asked">10<' in shown
    assert "25.0%" in shown
    assert "50.0%" in shown
    assert "0.5%" in shown


def test_a_model_that_says_nothing_of_its_films_is_compared_with_nothing() -> None:
    assert expected_of({"operating_point": {"threshold": 0.5}}, None) == Expected(None, None)
