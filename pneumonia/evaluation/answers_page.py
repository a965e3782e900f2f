"""The sections of the evaluation page on prediction sets, the input check, and more than two classes."""

from collections.abc import Mapping
from typing import Any

from pneumonia.evaluation.conformal import in_percent
from pneumonia.evaluation.page_parts import interval_of, table, text


def answers_section(report: Mapping[str, Any]) -> str:
    """The sections as HTML; empty for a report without them."""
    parts = (
        ("prediction_sets", _sets),
        ("input_check", _input_check),
        ("classes", _classes),
        ("faithfulness", _faithfulness),
    )
    return "".join(render(report[name]) for name, render in parts if name in report)


def _sets(figures: Mapping[str, Any]) -> str:
    asked = in_percent(figures["coverage"])
    rows = [
        *(
            (f"{text(name)} films whose set holds {text(name)}", _share(share))
            for name, share in figures["covered"].items()
        ),
        ("Films that are decided: the set holds only what they are called", _share(figures["decided"])),
        ("Films for which both are possible, or only what they are not called", _share(figures["undecided"])),
        ("Films that are like neither: the set is empty", _share(figures["empty"])),
        ("Accuracy among the decided films", _share(figures["accuracy_decided"])),
    ]
    caption = f"Conformal prediction sets that should hold a film's class in {asked} of its films"
    return f"<section><h2>Prediction sets</h2>{table(caption, ('', 'Share'), rows)}</section>"


def _input_check(figures: Mapping[str, Any]) -> str:
    return (
        f"<section><h2>Input check</h2><p>It refused {figures['count']:,} of these films: "
        f"{_share(figures['refused'])}. They count in every figure all the same.</p></section>"
    )


def _classes(figures: Mapping[str, Any]) -> str:
    names = [text(name) for name in figures["names"]]
    rows = [
        (name, *(f"{count:,}" for count in counts), _share(recall))
        for name, counts, recall in zip(names, figures["confusion_matrix"], figures["recall"].values(), strict=True)
    ]
    head = ("Is", *(f"Called {name}" for name in names), "Share called so")
    caption = "Films by what they are (rows) and what they were called (columns)"
    return (
        f"<section><h2>Every class</h2><p>Accuracy over all classes: {_share(figures['accuracy'])}.</p>"
        f"{table(caption, head, rows)}</section>"
    )


def _faithfulness(figures: Mapping[str, Any]) -> str:
    if not figures["n"]:
        return "<section><h2>Heatmaps</h2><p>No film was called PNEUMONIA.</p></section>"
    rows = [
        (
            f"{name.capitalize()} ({wanted} is better)",
            f"{figures[name]['heatmap']:.3f}",
            f"{figures[name]['random']:.3f}",
            _share(figures[f"{name}_beats"]),
        )
        for name, wanted in (("deletion", "smaller"), ("insertion", "larger"))
    ]
    caption = (
        "Area under the curve of the probability while the film gives way to the mean NORMAL film (probability "
        f"{figures['baseline']:.3f}), or comes back, hottest first: {figures['n']:,} films called PNEUMONIA"
    )
    head = ("", "Heatmap", "Random masks", "Films for which the heatmap beats them")
    return (
        f"<section><h2>Heatmaps</h2>{table(caption, head, rows)}"
        f"<p>Both for {_share(figures['both_beat'])} of these films; by the log-odds, which do not saturate, for "
        f"{_share(figures['log_odds']['both_beat'])}.</p></section>"
    )


def _share(figure: Mapping[str, float | None]) -> str:
    return str(interval_of(figure))
