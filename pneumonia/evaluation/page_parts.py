"""What the sections of the evaluation page are made of: escaped text, figures with intervals, tables."""

import html
from collections.abc import Iterable, Mapping

import numpy as np

from pneumonia.evaluation.intervals import Interval
from pneumonia.evaluation.page_template import TABLE


def text(value: object) -> str:
    """Escaped, for HTML and its attributes."""
    return html.escape(str(value), quote=True)


def outside_name(value: object) -> str:
    """A name from outside: isolated, so that marks that turn the direction of writing don't reach past it."""
    return f"<bdi><code>{text(value)}</code></bdi>"


def interval_of(figure: Mapping[str, float | None]) -> Interval:
    """A figure of a report as an interval."""
    value, low, high = (np.nan if figure[key] is None else float(figure[key] or 0) for key in ("value", "low", "high"))
    return Interval(value, low, high)


def limits(interval: Interval) -> str:
    """Its limits in words."""
    return "undefined" if np.isnan(interval.low) else f"{interval.low:.3f}-{interval.high:.3f}"


def unbroken(interval: Interval) -> str:
    """The interval's text, which may wrap before its limits but not within them."""
    value, _, reach = str(interval).partition(" ")
    return f'{value} <span class="unbroken">{reach}</span>' if reach else value


def table(caption: str, head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table of HTML cells whose first column names its rows."""
    header = "".join(f'<th scope="col">{cell}</th>' for cell in head)
    body = "".join(
        "<tr>"
        + "".join(f'<th scope="row">{cell}</th>' if first else f"<td>{cell}</td>" for first, cell in cells)
        + "</tr>"
        for cells in ([(index == 0, cell) for index, cell in enumerate(row)] for row in rows)
    )
    return TABLE.substitute(caption=caption, head=header, body=body)
