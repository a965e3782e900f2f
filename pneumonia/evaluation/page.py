"""The page of an evaluation that a person reads: one HTML file with its plots, for screen, paper and no network.

Every text that comes from outside, file names above all, is escaped, and the page forbids itself scripts and anything
from elsewhere.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from pneumonia import DISCLAIMER, __version__
from pneumonia.evaluation.inputs import EvaluationInput
from pneumonia.evaluation.page_parts import interval_of, limits, outside_name, table, text, unbroken
from pneumonia.evaluation.page_template import BANNER, FIGURE, MEANINGS, NOTES, PAGE
from pneumonia.evaluation.plots import calibration_plot, histogram_plot, precision_recall_plot, roc_plot

_CARDS = ("auroc", "sensitivity", "specificity", "ece")
_SUBGROUP_METRICS = ("auroc", "sensitivity", "specificity", "ece")


def render_page(report: Mapping[str, Any], inputs: EvaluationInput, more: str = "") -> str:
    """The page of what `build_report` made of `inputs`, as HTML text; the same for the same arguments.

    `more` is HTML of further sections, which follow the parts of the split.
    """
    model = f"{report['model'].get('name', 'model')} {report['model'].get('version', '')}".strip()
    return PAGE.substitute(
        title=text(f"Evaluation of {model} on {report['split']}"),
        model=text(model),
        disclaimer=text(DISCLAIMER),
        banner=BANNER if report["synthetic"] else "",
        scope=_scope(report),
        cards="".join(_card(name, report) for name in _CARDS),
        summary=_summary(report),
        confusion=_confusion_table(report),
        metrics=_metrics_table(report),
        plots=_plots(report, inputs),
        subgroups=_subgroups_table(report) + more,
        errors=_errors_table(report),
        provenance=_provenance(report),
        notes=NOTES.substitute(level=f"{report['level']:.0%}", resamples=f"{report['resamples']:,}"),
        version=text(__version__),
    )


def _films(count: int) -> str:
    return f"{count:,} film{'' if count == 1 else 's'}"


def _scope(report: Mapping[str, Any]) -> str:
    return (
        f"Split <strong>{text(report['split'])}</strong>: {_films(report['n'])} of {report['patients']:,} "
        f"patient{'' if report['patients'] == 1 else 's'}, "
        f"{report['positives']:,} PNEUMONIA and {report['n'] - report['positives']:,} NORMAL."
    )


def _card(name: str, report: Mapping[str, Any]) -> str:
    interval, (title, meaning) = interval_of(report[name]), MEANINGS[name]
    value = "-" if np.isnan(interval.value) else f"{interval.value:.3f}"
    return (
        f'<div class="card"><h3>{title}</h3><p class="value">{value}</p>'
        f'<p class="limits">{report["level"]:.0%} interval {limits(interval)}</p>'
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


def _metrics_table(report: Mapping[str, Any]) -> str:
    rows = [(title, str(interval_of(report[name])), meaning) for name, (title, meaning) in MEANINGS.items()]
    caption = f"Every figure with its {report['level']:.0%} confidence interval"
    return table(caption, ("Figure", f"Value ({report['level']:.0%} interval)", "What it says"), rows)


def _confusion_table(report: Mapping[str, Any]) -> str:
    cells = report["confusion_matrix"]

    def row(name: str, counts: tuple[int, int]) -> tuple[str, ...]:
        total = sum(counts)
        return (name, *(f"{count:,}" + (f" ({count / total:.1%})" if total else "") for count in counts), f"{total:,}")

    rows = [row("NORMAL", (cells["tn"], cells["fp"])), row("PNEUMONIA", (cells["fn"], cells["tp"]))]
    caption = "Confusion matrix: films by what they are (rows) and what they were called (columns)"
    return table(caption, ("Is", "Called NORMAL", "Called PNEUMONIA", "Films"), rows)


def _plots(report: Mapping[str, Any], inputs: EvaluationInput) -> str:
    labels, probabilities, threshold = inputs.labels, inputs.probabilities, report["threshold"]
    sensitivity, specificity, ppv = (interval_of(report[name]) for name in ("sensitivity", "specificity", "ppv"))
    point = "The dot is the operating point, its cross the confidence limits."
    drawn = (
        (
            "Receiver operating characteristic",
            roc_plot(labels, probabilities, sensitivity, specificity),
            f"Area {interval_of(report['auroc'])}. {point} Dashed: chance.",
        ),
        (
            "Precision and recall",
            precision_recall_plot(labels, probabilities, sensitivity, ppv),
            f"Average precision {interval_of(report['average_precision'])}. {point} Dashed: the share of PNEUMONIA.",
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
            text(group["description"]),
            f"{group['n']:,}",
            f"{group['positives']:,}",
            *(unbroken(interval_of(group[name])) for name in _SUBGROUP_METRICS),
        )
        for group in groups
    ]
    return table("Figures of parts of the split, at the same threshold", head, rows)


def _errors_table(report: Mapping[str, Any]) -> str:
    errors = report["worst_errors"]
    if not errors:
        return "<p>No film was called wrong.</p>"
    rows = [(outside_name(error["path"]), text(error["label"]), f"{error['probability']:.4f}") for error in errors]
    wrong = report["confusion_matrix"]["fp"] + report["confusion_matrix"]["fn"]
    caption = f"The {len(rows)} most confident of {wrong:,} errors" if len(rows) < wrong else f"All {wrong:,} errors"
    return table(caption, ("File", "Is", "Probability of PNEUMONIA"), rows)


def _provenance(report: Mapping[str, Any]) -> str:
    entries = {
        **{f"Model {key}": value for key, value in report["model"].items()},
        "Split": report["split"],
        "Data": "synthetic phantoms" if report["synthetic"] else "radiographs",
        "Data digest": report["data_digest"],
        "Temperature": f"{report['temperature']:.4f}",
        **({"Offset of the log-odds": f"{report['offset']:.4f}"} if report["offset"] else {}),
        "Threshold": f"{report['threshold']:.6f}",
        "Bootstrap": f"{report['resamples']:,} resamples of patients, seed {report['seed']}",
    }
    return "".join(f"<dt>{text(key)}</dt><dd>{outside_name(value)}</dd>" for key, value in entries.items())
