"""An operating point as words, figures and a picture of people: HTML and SVG from what `exploring` counts."""

import html
import math

from pneumonia.demo.exploring import People, Point, Predictive
from pneumonia.demo.figures import count_of, percent_of, share_of
from pneumonia.demo.strings import Strings

# Places a row in the picture of people, and pixels of a place.
_ACROSS = 40
_PITCH = 10
_DOT = 8
_KINDS = ("found", "missed", "false_alarms", "cleared")


def explored(say: Strings, point: Point, answer: Predictive, people: People, own: float) -> str:
    """All that a threshold means; `own` is the bundle's."""
    total = sum((people.found, people.missed, people.false_alarms, people.cleared))
    key = "explore.own" if math.isclose(point.threshold, own, abs_tol=5e-4) else "explore.other"
    figures = "".join(
        f'<div><dt>{say.html(f"explore.{name}")}</dt><dd id="explored-{name}">{shown}</dd>'
        f'<dd class="quiet">{say.html(f"explore.{name}_words")}</dd></div>'
        for name, shown in (
            ("sensitivity", share_of(say, point.sensitivity)),
            ("specificity", share_of(say, point.specificity)),
            ("ppv", percent_of(say, answer.ppv)),
            ("npv", percent_of(say, answer.npv)),
        )
    )
    return (
        f'<section class="explored"><p>{say.html(key, own=say.figure(f"{own:.1%}"))}</p><dl>{figures}</dl>'
        f"<h3>{say.html('explore.people', count=count_of(say, total))}</h3>"
        f"{_table(say, people)}{picture_of(say, people)}"
        f'<p class="quiet">{_counted_on(say, point)}</p></section>'
    )


def picture_of(say: Strings, people: People) -> str:
    """A dot for each person, in four colours that a legend names; it reads as one picture with a text."""
    counts = [getattr(people, name) for name in _KINDS]
    rows = math.ceil(sum(counts) / _ACROSS)
    parts, first = [], 0
    for name, count in zip(_KINDS, counts, strict=True):
        dots = "".join(
            f"M{_PITCH * (place % _ACROSS)} {_PITCH * (place // _ACROSS)}h{_DOT}v{_DOT}h-{_DOT}z"
            for place in range(first, first + count)
        )
        parts.append(f'<path class="{name}" d="{dots}"/>' if dots else "")
        first += count
    legend = "".join(f'<li><span class="key {name}"></span>{say.html(f"explore.{name}")}</li>' for name in _KINDS)
    label = html.escape(say("explore.picture", **{name: count_of(say, getattr(people, name)) for name in _KINDS}))
    return (
        f'<svg class="people" role="img" aria-label="{label}" viewBox="0 0 {_PITCH * _ACROSS} {_PITCH * rows}">'
        f'{"".join(parts)}</svg><ul class="people-legend">{legend}</ul>'
    )


def _table(say: Strings, people: People) -> str:
    """The confusion matrix."""

    def row(kind: str, called: int, cleared: int) -> str:
        cells = "".join(f"<td>{count_of(say, count)}</td>" for count in (called, cleared, called + cleared))
        return f'<tr><th scope="row">{say.html(f"explore.{kind}")}</th>{cells}</tr>'

    heads = "".join(
        f'<th scope="col">{say.html(f"explore.{name}")}</th>' for name in ("called_pneumonia", "called_normal", "all")
    )
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{say.html("explore.matrix")}">'
        f"<table><caption>{say.html('explore.matrix')}</caption><thead><tr><td></td>{heads}</tr></thead><tbody>"
        f"{row('with_pneumonia', people.found, people.missed)}"
        f"{row('without', people.false_alarms, people.cleared)}</tbody></table></div>"
    )


def _counted_on(say: Strings, point: Point) -> str:
    sick, well = point.sensitivity.n, point.specificity.n
    return say.html("explore.counted_on", sick=count_of(say, sick), well=count_of(say, well))
