"""The page of an evaluation that a person reads: one HTML file with its plots, for screen, paper and no network.

Every text that comes from outside, file names above all, is escaped, and the page forbids itself scripts and anything
from elsewhere.
"""

import html
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from pneumonia import DISCLAIMER, __version__
from pneumonia.evaluation.inputs import EvaluationInput
from pneumonia.evaluation.intervals import Interval
from pneumonia.evaluation.page_template import BANNER, FIGURE, MEANINGS, NOTES, PAGE, TABLE
from pneumonia.evaluation.plots import calibration_plot, histogram_plot, precision_recall_plot, roc_plot

_CARDS = ("auroc", "sensitivity", "specificity", "ece")
_SUBGROUP_METRICS = ("auroc", "sensitivity", "specificity", "ece")


def render_page(report: Mapping[str, Any], inputs: EvaluationInput) -> str:
    """The page of what `build_report` made of `inputs`, as HTML text; the same for the same arguments."""
    model = f"{report['model'].get('name', 'model')} {report['model'].get('version', '')}".strip()
    return PAGE.substitute(
        title=_text(f"Evaluation of {model} on {report['split']}"),
        model=_text(model),
        disclaimer=_text(DISCLAIMER),
        banner=BANNER if report["synthetic"] else "",
        scope=_scope(report),
        cards="".join(_card(name, report) for name in _CARDS),
        summary=_summary(report),
        confusion=_confusion_table(report),
        metrics=_metrics_table(report),
        plots=_plots(report, inputs),
        subgroups=_subgroups_table(report),
        errors=_errors_table(report),
        provenance=_provenance(report),
        notes=NOTES.substitute(level=f"{report['level']:.0%}", resamples=f"{report['resamples']:,}"),
        version=_text(__version__),
    )


def _text(value: object) -> str:
    return html.escape(str(value), quote=True)


def _name(value: object) -> str:
    """A name from outside: isolated, so that marks that turn the direction of writing don't reach past it."""
    return f"<bdi><code>{_text(value)}</code></bdi>"


def _interval(figure: Mapping[str, float | None]) -> Interval:
    value, low, high = (np.nan if figure[key] is None else float(figure[key] or 0) for key in ("value", "low", "high"))
    return Interval(value, low, high)


def _limits(interval: Interval) -> str:
    return "undefined" if np.isnan(interval.low) else f"{interval.low:.3f}-{interval.high:.3f}"


def _unbroken(interval: Interval) -> str:
    """The interval's text, which may wrap before its limits but not within them."""
    value, _, limits = str(interval).partition(" ")
    return f'{value} <span class="unbroken">{limits}</span>' if limits else value


def _films(count: int) -> str:
    return f"{count:,} film{'' if count == 1 else 's'}"


def _scope(report: Mapping[str, Any]) -> str:
    return (
        f"Split <strong>{_text(report['split'])}</strong>: {_films(report['n'])} of {report['patients']:,} "
        f"patient{'' if report['patients'] == 1 else 's'}, "
        f"{report['positives']:,} PNEUMONIA and {report['n'] - report['positives']:,} NORMAL."
    )


def _card(name: str, report: Mapping[str, Any]) -> str:
    interval, (title, meaning) = _interval(report[name]), MEANINGS[name]
    value = "-" if np.isnan(interval.value) else f"{interval.value:.3f}"
    return (
        f'<div class="card"><h3>{title}</h3><p class="value">{value}</p>'
        f'<p class="limits">{report["level"]:.0%} interval {_limits(interval)}</p>'
        f'<p class="meaning">{meaning}</p></div>'
    )


def _summary(report: Mapping[str, Any]) -> str:
    cells = report["confusion_matrix"]
    return (
        f"At the threshold {report['threshold']:.3f} the model called PNEUMONIA <strong>{cells['tp']:,} of "
        f"{cells['tp'] + cells['fn']:,}</strong> films that are PNEUMONIA, and NORMAL <strong>{cells['tn']:,} of "
        f"{cells['tn'] + cells['fp']:,}</strong> films that are NORMAL. It missed {cells['fn']:,} and raised "
        f"{cells['fp']:,} false alarm{'' if cells['fp'] == 1 else 's'}."
    )


def _table(caption: str, head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table of HTML cells whose first column names its rows."""
    header = "".join(f'<th scope="col">{cell}</th>' for cell in head)
    body = "".join(
        "<tr>"
        + "".join(f'<th scope="row">{cell}</th>' if first else f"<td>{cell}</td>" for first, cell in cells)
        + "</tr>"
        for cells in ([(index == 0, cell) for index, cell in enumerate(row)] for row in rows)
    )
    return TABLE.substitute(caption=caption, head=header, body=body)


def _metrics_table(report: Mapping[str, Any]) -> str:
    rows = [(title, str(_interval(report[name])), meaning) for name, (title, meaning) in MEANINGS.items()]
    caption = f"Every figure with its {report['level']:.0%} confidence interval"
    return _table(caption, ("Figure", f"Value ({report['level']:.0%} interval)", "What it says"), rows)


def _confusion_table(report: Mapping[str, Any]) -> str:
    cells = report["confusion_matrix"]

    def row(name: str, counts: tuple[int, int]) -> tuple[str, ...]:
        total = sum(counts)
        return (name, *(f"{count:,}" + (f" ({count / total:.1%})" if total else "") for count in counts), f"{total:,}")

    rows = [row("NORMAL", (cells["tn"], cells["fp"])), row("PNEUMONIA", (cells["fn"], cells["tp"]))]
    caption = "Confusion matrix: films by what they are (rows) and what they were called (columns)"
    return _table(caption, ("Is", "Called NORMAL", "Called PNEUMONIA", "Films"), rows)


def _plots(report: Mapping[str, Any], inputs: EvaluationInput) -> str:
    labels, probabilities, threshold = inputs.labels, inputs.probabilities, report["threshold"]
    sensitivity, specificity, ppv = (_interval(report[name]) for name in ("sensitivity", "specificity", "ppv"))
    point = "The dot is the operating point, its cross the confidence limits."
    drawn = (
        (
            "Receiver operating characteristic",
            roc_plot(labels, probabilities, sensitivity, specificity),
            f"Area {_interval(report['auroc'])}. {point} Dashed: chance.",
        ),
        (
            "Precision and recall",
            precision_recall_plot(labels, probabilities, sensitivity, ppv),
            f"Average precision {_interval(report['average_precision'])}. {point} Dashed: the share of PNEUMONIA.",
        ),
        (
            "Calibration",
            calibration_plot(labels, probabilities),
            "On the dashed line a film given 80% is PNEUMONIA four times in five. Bars: 95% limits of each share, as "
            "if every film were a patient of its own (Wilson). Below: films in each bin.",
        ),
        (
            "Probabilities by class",
            histogram_plot(labels, probabilities, threshold),
            f"At {threshold:.3f} and above a film is called PNEUMONIA.",
        ),
    )
    return "".join(FIGURE.substitute(title=title, svg=svg, caption=caption) for title, svg, caption in drawn)


def _subgroups_table(report: Mapping[str, Any]) -> str:
    head = ("Films", "n", "PNEUMONIA", *(MEANINGS[name][0] for name in _SUBGROUP_METRICS))
    groups = [{"description": "All films", **report}, *report["subgroups"].values()]
    rows = [
        (
            _text(group["description"]),
            f"{group['n']:,}",
            f"{group['positives']:,}",
            *(_unbroken(_interval(group[name])) for name in _SUBGROUP_METRICS),
        )
        for group in groups
    ]
    return _table("Figures of parts of the split, at the same threshold", head, rows)


def _errors_table(report: Mapping[str, Any]) -> str:
    errors = report["worst_errors"]
    if not errors:
        return "<p>No film was called wrong.</p>"
    rows = [(_name(error["path"]), _text(error["label"]), f"{error['probability']:.4f}") for error in errors]
    wrong = report["confusion_matrix"]["fp"] + report["confusion_matrix"]["fn"]
    caption = f"The {len(rows)} most confident of {wrong:,} errors" if len(rows) < wrong else f"All {wrong:,} errors"
    return _table(caption, ("File", "Is", "Probability of PNEUMONIA"), rows)


def _provenance(report: Mapping[str, Any]) -> str:
    entries = {
        **{f"Model {key}": value for key, value in report["model"].items()},
        "Split": report["split"],
        "Data": "synthetic phantoms" if report["synthetic"] else "radiographs",
        "Data digest": report["data_digest"],
        "Temperature": f"{report['temperature']:.4f}",
        "Threshold": f"{report['threshold']:.6f}",
        "Bootstrap": f"{report['resamples']:,} resamples of patients, seed {report['seed']}",
    }
    return "".join(f"<dt>{_text(key)}</dt><dd>{_name(value)}</dd>" for key, value in entries.items())
