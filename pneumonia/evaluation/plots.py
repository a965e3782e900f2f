"""Plots of an evaluation as SVG text: functions of arrays, the same bytes for the same arrays.

The text is meant to be put into a page. Colours are CSS variables with a fallback (`--ink`, `--faint`, `--normal`,
`--pneumonia`), so that a page's light and dark themes hold for its plots; letters stay letters, in the page's font.
matplotlib is used through its objects: no pyplot, no window, and its settings are as they were afterwards.
"""

import html
import io
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from pneumonia.evaluation.curves import precision_recall_curve, reliability_bins, roc_curve
from pneumonia.evaluation.intervals import Interval, wilson_limits
from pneumonia.evaluation.weighted import checked

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito (2008), "Color Universal Design": blue and vermilion are told apart in every colour vision.
INK, FAINT, NORMAL, PNEUMONIA = "#1d2733", "#c3ccd6", "#0072b2", "#d55e00"
_VARIABLES = {INK: "--ink", FAINT: "--faint", NORMAL: "--normal", PNEUMONIA: "--pneumonia"}

_SETTINGS: Any = {
    "svg.fonttype": "none",
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "axes.facecolor": "none",
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.5,
    "xtick.color": INK,
    "ytick.color": INK,
    "figure.facecolor": "none",
    "lines.linewidth": 2,
}
_HISTOGRAM_BINS = 25


def roc_plot(
    labels: ArrayLike,
    probabilities: ArrayLike,
    sensitivity: Interval | None = None,
    specificity: Interval | None = None,
) -> str:
    """ROC curve, with the operating point and its confidence limits where these are given."""
    curve = roc_curve(labels, probabilities)

    def draw(figure: "Figure") -> None:
        axes = _unit_axes(figure, "1 - specificity", "Sensitivity")
        axes.plot([0, 1], [0, 1], color=INK, linewidth=0.8, linestyle=(0, (4, 4)))
        axes.plot(curve.false_positive_rate, curve.true_positive_rate, color=NORMAL)
        if sensitivity and specificity:
            flipped = Interval(1 - specificity.value, 1 - specificity.high, 1 - specificity.low)
            _mark(axes, flipped, sensitivity)

    return _svg("roc", "ROC curve: sensitivity against 1 - specificity.", draw)


def precision_recall_plot(
    labels: ArrayLike, probabilities: ArrayLike, sensitivity: Interval | None = None, ppv: Interval | None = None
) -> str:
    """Precision-recall curve, with the operating point and its confidence limits where these are given."""
    curve = precision_recall_curve(labels, probabilities)
    prevalence = float(np.mean(np.asarray(labels)))

    def draw(figure: "Figure") -> None:
        axes = _unit_axes(figure, "Sensitivity (recall)", "Positive predictive value (precision)")
        axes.axhline(prevalence, color=INK, linewidth=0.8, linestyle=(0, (4, 4)))
        recall, precision = np.append(0.0, curve.recall), np.append(curve.precision[:1], curve.precision)
        axes.plot(recall, precision, color=NORMAL, drawstyle="steps-pre")
        if sensitivity and ppv:
            _mark(axes, sensitivity, ppv)

    return _svg("precision-recall", "Precision-recall curve: positive predictive value against sensitivity.", draw)


def calibration_plot(labels: ArrayLike, probabilities: ArrayLike) -> str:
    """Share of PNEUMONIA against mean probability in the bins of `ece`, with 95% limits and the number of films."""
    bins = reliability_bins(labels, probabilities)
    filled = bins.films > 0

    def draw(figure: "Figure") -> None:
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3.4, 1])
        _limit(upper, "", "Share that is PNEUMONIA")
        upper.plot([0, 1], [0, 1], color=INK, linewidth=0.8, linestyle=(0, (4, 4)))
        share, said = bins.share_positive[filled], bins.mean_probability[filled]
        low, high = wilson_limits(share, bins.films[filled])
        upper.errorbar(said, share, yerr=[share - low, high - share], fmt="o", color=NORMAL, elinewidth=1.2)
        width = (bins.upper - bins.lower) * 0.9
        lower.bar((bins.lower + bins.upper) / 2, bins.films, width=width, color=NORMAL)
        for middle, films in zip((bins.lower + bins.upper) / 2, bins.films, strict=True):
            if films:
                lower.annotate(
                    f"{films}", (middle, films), (0, 2), textcoords="offset points", ha="center", fontsize=7.5
                )
        lower.set(xlabel="Probability of PNEUMONIA", ylabel="Films", xlim=(-0.02, 1.02))
        lower.margins(y=0.25)
        lower.yaxis.get_major_locator().set_params(nbins=3, integer=True)
        figure.align_ylabels()

    return _svg("calibration", "Calibration: share of films that are PNEUMONIA against the probability said.", draw)


def histogram_plot(labels: ArrayLike, probabilities: ArrayLike, threshold: float) -> str:
    """How many films of each class have which probability, with the threshold."""
    truth, scores = checked(labels, probabilities)

    def draw(figure: "Figure") -> None:
        panels = figure.subplots(2, 1, sharex=True)
        for axes, label, name, color in zip(panels, (0, 1), ("NORMAL", "PNEUMONIA"), (NORMAL, PNEUMONIA), strict=True):
            axes.hist(scores[truth == label], bins=_HISTOGRAM_BINS, range=(0, 1), color=color, rwidth=0.92)
            axes.axvline(threshold, color=INK, linewidth=1.2)
            axes.set_title(f"{name} films (n = {(truth == label).sum()})", loc="left", fontsize=10, color=color)
            axes.set(ylabel="Films", xlim=(-0.02, 1.02))
            axes.yaxis.get_major_locator().set_params(nbins=4, integer=True)
        side = "left" if threshold < 0.5 else "right"
        panels[0].annotate(
            f"threshold {threshold:.3f}",
            (threshold, 1),
            (5 if side == "left" else -5, -3),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            ha=side,
            va="top",
        )
        panels[1].set_xlabel("Probability of PNEUMONIA")
        figure.align_ylabels()

    return _svg(
        "histogram", "Histograms of the probability of PNEUMONIA, one for each class, with the threshold.", draw
    )


def grades_plot(
    name: str,
    description: str,
    panels: Mapping[str, Mapping[str, Sequence[Interval]]],
    plain: Mapping[str, float],
) -> str:
    """Figures by grade, 1 to as many as there are: one small panel a corruption, with bands of confidence limits.

    `panels` maps a title to the intervals of one or two figures by their names; `plain` gives the same figures without
    any corruption, dashed. What is undefined is left out. `name` begins the ids, `description` is for screen readers.
    """
    columns = 5
    # A cell stays free for the legend.
    rows = len(panels) // columns + 1
    looks = ((NORMAL, "o"),) if len(plain) == 1 else ((PNEUMONIA, "o"), (NORMAL, "s"))
    intervals = [at for lines in panels.values() for line in lines.values() for at in line]
    drawn = [*plain.values(), *(number for at in intervals for number in (at.value, at.low, at.high))]
    defined = [number for number in drawn if np.isfinite(number)] or [0.0, 1.0]
    bottom, top = np.floor(10 * min(defined)) / 10, np.ceil(10 * max(defined)) / 10
    bottom = min(bottom, top - 0.1)
    margin = 0.03 * (top - bottom)

    def draw(figure: "Figure") -> None:
        cells = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
        for axes, (title, lines) in zip(cells, panels.items(), strict=False):
            axes.set_title(title, loc="left", fontsize=10)
            for (figure_name, line), (color, marker) in zip(lines.items(), looks, strict=True):
                grades = np.arange(1, len(line) + 1)
                value, low, high = np.array([(at.value, at.low, at.high) for at in line]).T
                axes.fill_between(grades, low, high, color=color, alpha=0.18, linewidth=0)
                axes.plot(grades, value, color=color, marker=marker, markersize=4, linewidth=1.5, label=figure_name)
                axes.axhline(plain[figure_name], color=color, linewidth=0.9, linestyle=(0, (4, 3)))
            axes.set(xticks=grades, ylim=(bottom - margin, top + margin))
        for axes in cells[len(panels) :]:
            axes.set_axis_off()
        for axes in cells[max(0, len(panels) - columns) : len(panels)]:
            axes.set_xlabel("Grade")
            axes.tick_params(labelbottom=True)
        handles, labels = cells[0].get_legend_handles_labels()
        cells[-1].legend(handles, labels, loc="center", frameon=False)

    return _svg(name, description, draw, (10.0, 2.1 * rows))


def _unit_axes(figure: "Figure", xlabel: str, ylabel: str) -> "Axes":
    axes = figure.subplots()
    _limit(axes, xlabel, ylabel)
    return axes


def _limit(axes: "Axes", xlabel: str, ylabel: str) -> None:
    axes.set(xlabel=xlabel, ylabel=ylabel, xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))


def _mark(axes: "Axes", x: Interval, y: Interval) -> None:
    """A dot with a cross of confidence limits; nothing where the point is undefined."""
    if np.isnan([x.value, y.value]).any():
        return
    reach = [[[at.value - at.low], [at.high - at.value]] for at in (x, y)]
    across, up = (None if np.isnan(limits).any() else np.maximum(limits, 0) for limits in reach)
    axes.errorbar(
        [x.value], [y.value], xerr=across, yerr=up, fmt="o", color=PNEUMONIA, elinewidth=1.5, markersize=7, zorder=5
    )


def _svg(
    name: str, description: str, draw: Callable[["Figure"], None], inches: tuple[float, float] = (4.6, 4.0)
) -> str:
    """Draw a figure and return an `<svg>` element whose ids begin with `name`, described for screen readers."""
    import matplotlib as mpl
    from matplotlib import style
    from matplotlib.figure import Figure

    buffer = io.StringIO()
    # The defaults first: a plot does not depend on the settings file of whoever runs this.
    with style.context("default"), mpl.rc_context(_SETTINGS | {"svg.hashsalt": name}):
        figure = Figure(figsize=inches, layout="constrained")
        draw(figure)
        # With nothing to record there is no date or version in it either.
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(buffer, format="svg", metadata=nothing)
    text = buffer.getvalue()
    text = text[text.index("<svg") :].strip()
    # Several plots share a page, and matplotlib numbers the parts of each from 1.
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'(url\(|href=")#', rf"\g<1>#{name}-", text)
    for color, variable in _VARIABLES.items():
        text = text.replace(color, f"var({variable}, {color})")
    return text.replace("<svg", f'<svg role="img" aria-label="{html.escape(description)}"', 1)
