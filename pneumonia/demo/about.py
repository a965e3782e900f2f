"""What `/model/info` says of the model, as HTML: its state, the synthetic banner, and the part "About this model"."""

import html
from collections.abc import Mapping
from typing import Any

from pneumonia import DISCLAIMER
from pneumonia.demo.problems import Problem
from pneumonia.evaluation.conformal import in_percent

_METRICS = {
    "auroc": "Area under the ROC curve",
    "accuracy": "Accuracy",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "ppv": "Positive predictive value",
    "npv": "Negative predictive value",
    "f1": "F1 score",
    "ece": "Calibration error (ECE)",
    "brier": "Brier score",
}

_RULES = {
    "youden": "for the largest sum of sensitivity and specificity",
    "accuracy": "for the largest accuracy",
}

_SPLITS = {"validation": "Validation", "test": "Test"}


def header(model: Mapping[str, Any] | Problem | None) -> str:
    """The page's title, which model answers, and a banner where it was trained on phantoms. None: not known yet."""
    if model is None:
        state = '<span class="state">Connecting to the model…</span>'
    elif isinstance(model, Problem):
        state = f'<span class="state lost"><span class="dot"></span>{html.escape(model.what)}</span>'
    else:
        state = f'<span class="state ready"><span class="dot"></span>Model {html.escape(_label(model))}</span>'
    banner = (
        '<p class="synthetic-banner"><strong>Synthetic model.</strong> It was trained on phantoms, drawn from numbers '
        "alone, and saw no patient's film. What it says means nothing for people.</p>"
        if is_synthetic(model)
        else ""
    )
    return (
        f'<header class="top"><div><h1>Chest X-ray: normal or pneumonia?</h1><p class="quiet">{DISCLAIMER}</p></div>'
        f"{state}</header>{banner}"
    )


def about(model: Mapping[str, Any] | Problem | None) -> str:
    """Name, operating point, figures with intervals and provenance."""
    if not isinstance(model, Mapping):
        return "<p>Nothing is known of the model until its server answers.</p>"
    return f'<div class="about">{_facts(model)}{_figures(_mapping(model.get("metrics")))}</div>'


def is_synthetic(model: Mapping[str, Any] | Problem | None) -> bool:
    """Whether no patient's film was in the model's training data."""
    return isinstance(model, Mapping) and bool(model.get("synthetic"))


def _facts(model: Mapping[str, Any]) -> str:
    provenance, size = _mapping(model.get("provenance")), model.get("input_size")
    data, classes = _mapping(provenance.get("data")), model.get("classes")
    films = _count(data.get("files"))
    facts = {
        "Name and version": _label(model),
        "Registry alias": model.get("alias"),
        "Made": str(model.get("created", "")).replace("T", " ").replace("+00:00", " UTC"),
        "Classes": ", ".join(map(str, classes)) if isinstance(classes, list) else "",
        "Reads films at": f"{size} x {size} pixels" if size else "",
        "Parameters": _count(model.get("parameters")),
        "Operating point": _operating_point(_mapping(model.get("operating_point"))),
        "Prediction sets": _coverage(_mapping(model.get("operating_point"))),
        "Training data": "synthetic phantoms, no patient's film" if is_synthetic(model) else films and f"{films} files",
        "Data digest": str(data.get("digest") or "")[:12],
        "Code": str(_mapping(provenance.get("git")).get("commit") or "")[:12],
        "Seed": provenance.get("seed"),
    }
    rows = "".join(
        f"<div><dt>{name}</dt><dd>{html.escape(str(value))}</dd></div>"
        for name, value in facts.items()
        if value not in (None, "")
    )
    return f"<dl>{rows}</dl>"


def _operating_point(point: Mapping[str, Any]) -> str:
    threshold = point.get("threshold")
    if not isinstance(threshold, int | float):
        return ""
    rule = str(point.get("rule") or "")
    reason = f", chosen on validation films {_RULES.get(rule, f'by the rule {rule}')}" if rule else ""
    return f"called pneumonia from a probability of {threshold:.1%}{reason}"


def _coverage(point: Mapping[str, Any]) -> str:
    coverage = point.get("coverage")
    return f"hold a film's class in {in_percent(coverage)} of the films" if isinstance(coverage, int | float) else ""


def _figures(metrics: Mapping[str, Any]) -> str:
    splits = {name: _mapping(metrics[name]) for name in [*_SPLITS, *metrics] if name in metrics}
    splits = {name: figures for name, figures in splits.items() if any(map(_interval, figures.values()))}
    if not splits:
        return '<p class="quiet">The model carries no figures.</p>'
    heads = "".join(f'<th scope="col">{_split(name, figures)}</th>' for name, figures in splits.items())
    rows = "".join(
        f'<tr><th scope="row">{words}</th>'
        + "".join(f"<td>{_interval(figures.get(metric)) or '-'}</td>" for figures in splits.values())
        + "</tr>"
        for metric, words in _METRICS.items()
    )
    return (
        '<div class="table"><table><caption>Measured on films that no training saw, with 95% intervals</caption>'
        f"<thead><tr><td></td>{heads}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _split(name: str, figures: Mapping[str, Any]) -> str:
    count = _count(figures.get("n"))
    films = f"<br><small>{count} films</small>" if count else ""
    return html.escape(_SPLITS.get(name, name.replace("_", " ").capitalize())) + films


def _interval(figure: object) -> str:
    """`0.985 (0.980 to 0.990)`, or nothing for what is no figure."""
    given = [_mapping(figure).get(key) for key in ("value", "low", "high")]
    known = [part for part in given if isinstance(part, int | float)]
    return "{:.3f} <small>({:.3f} to {:.3f})</small>".format(*known) if len(known) == 3 else ""


def _label(model: Mapping[str, Any]) -> str:
    return f"{model.get('name', '?')}:{model.get('version', '?')}"


def _count(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else ""


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
