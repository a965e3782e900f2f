"""What `/model/info` says of the model, as HTML: name, operating point, figures with intervals and provenance."""

import html
from collections.abc import Mapping
from typing import Any

from pneumonia.demo.failures import failures
from pneumonia.demo.figures import count_of, mapping_of
from pneumonia.demo.header import is_synthetic, label_of
from pneumonia.demo.problems import Problem
from pneumonia.demo.strings import Strings
from pneumonia.evaluation.conformal import in_percent

_METRICS = ("auroc", "accuracy", "sensitivity", "specificity", "ppv", "npv", "f1", "ece", "brier")
_SPLITS = ("validation", "test")


def about(say: Strings, model: Mapping[str, Any] | Problem | None) -> str:
    """Name, operating point, figures with intervals and provenance."""
    if not isinstance(model, Mapping):
        return f"<p>{say.html('about.unknown')}</p>"
    known = failures(say, model)
    listed = f"<ul>{''.join(f'<li>{html.escape(text)}</li>' for text in known)}</ul>"
    return (
        f'<div class="about">{_facts(say, model)}{_figures(say, model)}'
        f'<div class="failures"><h3>{say.html("failures.title")}</h3>'
        f"{listed if known else say.html('failures.none')}</div></div>"
    )


def _facts(say: Strings, model: Mapping[str, Any]) -> str:
    provenance, size = mapping_of(model.get("provenance")), model.get("input_size")
    data, classes = mapping_of(provenance.get("data")), model.get("classes")
    films, point = count_of(say, data.get("files")), mapping_of(model.get("operating_point"))
    training = say("about.phantoms") if is_synthetic(model) else films and say("about.files", count=films)
    facts = {
        "name": label_of(model),
        "alias": model.get("alias"),
        "made": str(model.get("created", "")).replace("T", " ").replace("+00:00", " UTC"),
        "classes": ", ".join(map(str, classes)) if isinstance(classes, list) else "",
        "reads_at": say("about.pixels", size=size) if size else "",
        "parameters": count_of(say, model.get("parameters")),
        "operating_point": _operating_point(say, point),
        "prediction_sets": _coverage(say, point),
        "recalibrated": _recalibration(say, mapping_of(provenance.get("recalibration"))),
        "training_data": training,
        "digest": str(data.get("digest") or "")[:12],
        "code": str(mapping_of(provenance.get("git")).get("commit") or "")[:12],
        "seed": provenance.get("seed"),
    }
    rows = "".join(
        f"<div><dt>{say.html(f'about.{key}')}</dt><dd>{html.escape(str(value))}</dd></div>"
        for key, value in facts.items()
        if value not in (None, "")
    )
    return f"<dl>{rows}</dl>"


def _operating_point(say: Strings, point: Mapping[str, Any]) -> str:
    threshold, rule = point.get("threshold"), str(point.get("rule") or "")
    if not isinstance(threshold, int | float):
        return ""
    shown = say.figure(f"{threshold:.1%}")
    if not rule:
        return say("about.called_from", threshold=shown)
    return say(
        "about.called_from_by", threshold=shown, reason=say.find(f"rules.{rule}") or say("about.rule", rule=rule)
    )


def _recalibration(say: Strings, recorded: Mapping[str, Any]) -> str:
    films, source = count_of(say, recorded.get("films")), recorded.get("source")
    return say("about.recalibrated_on", count=films, source=source) if films and source else ""


def _coverage(say: Strings, point: Mapping[str, Any]) -> str:
    coverage = point.get("coverage")
    if not isinstance(coverage, int | float):
        return ""
    return say("about.coverage", coverage=say.figure(in_percent(coverage)))


def _figures(say: Strings, model: Mapping[str, Any]) -> str:
    metrics, recalibrated = mapping_of(model.get("metrics")), mapping_of(model.get("provenance")).get("recalibration")
    splits = {name: mapping_of(metrics[name]) for name in [*_SPLITS, *metrics] if name in metrics}
    splits = {
        name: figures for name, figures in splits.items() if any(_interval(say, value) for value in figures.values())
    }
    if not splits:
        return f'<p class="quiet">{say.html("about.no_figures")}</p>'
    heads = "".join(f'<th scope="col">{_split(say, name, figures)}</th>' for name, figures in splits.items())
    rows = "".join(
        f'<tr><th scope="row">{say.html(f"metrics.{metric}")}</th>'
        + "".join(f"<td>{_interval(say, figures.get(metric)) or '-'}</td>" for figures in splits.values())
        + "</tr>"
        for metric in _METRICS
    )
    caption = say.html("about.measured_recalibrated" if recalibrated else "about.measured")
    return (
        f'<div class="table"><table><caption>{caption}</caption>'
        f"<thead><tr><td></td>{heads}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _split(say: Strings, name: str, figures: Mapping[str, Any]) -> str:
    count = count_of(say, figures.get("n"))
    films = f"<br><small>{say.html('about.films', count=count)}</small>" if count else ""
    return html.escape(say.find(f"splits.{name}") or name.replace("_", " ").capitalize()) + films


def _interval(say: Strings, figure: object) -> str:
    """`0.985 (0.980 to 0.990)`, or nothing for what is no figure."""
    given = [mapping_of(figure).get(key) for key in ("value", "low", "high")]
    known = [say.figure(f"{part:.3f}") for part in given if isinstance(part, int | float)]
    if len(known) != 3:
        return ""
    return f"{known[0]} <small>({say.html('about.interval', low=known[1], high=known[2])})</small>"
