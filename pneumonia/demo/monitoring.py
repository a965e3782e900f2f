"""A server's traffic as HTML: figures, and tables of answers, predictions and latency."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pneumonia.client import Validation
from pneumonia.demo.answer import words_of
from pneumonia.demo.exploring import Share, wilson
from pneumonia.demo.figures import count_of, percent_of, share_of
from pneumonia.demo.strings import Strings
from pneumonia.demo.traffic import Traffic

NORMAL = "NORMAL"


@dataclass(frozen=True)
class Expected:
    """What held-out films got of the same bundle: the shares in [0, 1] called pneumonia and turned away, if known."""

    called: float | None = None
    refused: float | None = None


def expected_of(model: Mapping[str, Any], validation: Validation | None) -> Expected:
    """From what the server says of its bundle."""
    threshold, called = model["operating_point"]["threshold"], None
    if validation is not None and validation.probabilities:
        positive = sum(probability >= threshold for probability in validation.probabilities)
        called = positive / len(validation.probabilities)
    try:
        refused = float(model["metrics"]["validation"]["input_check"]["refused"]["value"])
    except (KeyError, TypeError, ValueError):
        refused = None
    return Expected(called, refused)


def monitored(say: Strings, traffic: Traffic, expected: Expected) -> str:
    """What is to be seen of a server."""
    answered = sum(traffic.predictions.values())
    refused = traffic.refusals / answered if answered else math.nan
    facts = {
        "model": traffic.bundle or "-",
        "workers": count_of(say, traffic.workers),
        "queue": count_of(say, traffic.queue),
        "asked": count_of(say, traffic.asked),
        "failed": count_of(say, traffic.failed),
        "refused": f"{count_of(say, traffic.refusals)} ({percent_of(say, refused)})",
        "restarts": count_of(say, sum(traffic.restarts.values())),
    }
    listed = "".join(
        f'<div><dt>{say.html(f"monitor.{name}")}</dt><dd id="monitored-{name}">{value}</dd></div>'
        for name, value in facts.items()
    )
    called = [(words_of(say, name), _of(say, n, answered)) for name, n in _items(traffic.predictions)]
    answers = [(status, _of(say, n, traffic.asked)) for status, n in _items(traffic.answers)]
    latency = [
        (say("monitor.quantile", at=f"{100 * at:g}"), _seconds(say, value)) for at, value in traffic.latency.items()
    ]
    named = (("predictions", called), ("answers", answers), ("latency", latency))
    tables = [_table(say, name, rows) for name, rows in named]
    return f'<section class="monitored"><dl>{listed}</dl>{_drift(say, traffic, expected)}{"".join(tables)}</section>'


def _drift(say: Strings, traffic: Traffic, expected: Expected) -> str:
    """What films since the start got, beside what held-out films got: the first sign of other films, or patients."""
    answered = sum(traffic.predictions.values())
    called = answered - traffic.predictions.get(NORMAL, 0)
    rows = [
        _against(say, "called", wilson(called, answered), expected.called),
        _against(say, "refused", wilson(traffic.refusals, answered), expected.refused),
    ]
    heads = "".join(f'<th scope="col">{say.html(f"monitor.{name}")}</th>' for name in ("now", "held_out"))
    return (
        f'<div class="scroll"><table id="monitored-drift"><caption>{say.html("monitor.drift")}</caption>'
        f"<thead><tr><td></td>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
        f'<p class="quiet">{say.html("monitor.drift_words")}</p>'
    )


def _against(say: Strings, name: str, now: Share, held_out: float | None) -> str:
    other = "-" if held_out is None else percent_of(say, held_out)
    head = say.html(f"monitor.{name}")
    return f'<tr><th scope="row">{head}</th><td>{share_of(say, now)}</td><td>{other}</td></tr>'


def _table(say: Strings, name: str, rows: list[tuple[str, str]]) -> str:
    body = "".join(
        f'<tr><th scope="row">{say.mark_up(head)}</th><td>{say.mark_up(cell)}</td></tr>' for head, cell in rows
    )
    empty = f'<tr><td colspan="2">{say.html("monitor.nothing")}</td></tr>'
    return (
        f'<div class="scroll"><table id="monitored-{name}"><caption>{say.html(f"monitor.{name}")}</caption>'
        f"<tbody>{body or empty}</tbody></table></div>"
    )


def _items(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: -item[1])


def _of(say: Strings, count: int, total: int) -> str:
    return f"{count_of(say, count)} ({percent_of(say, count / total if total else math.nan)})"


def _seconds(say: Strings, value: float) -> str:
    return "-" if math.isnan(value) else say("monitor.milliseconds", count=say.figure(f"{1000 * value:,.0f}"))
