"""The section of the evaluation page on robustness: tables and plots of what `measure_robustness` gives."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pneumonia.evaluation.intervals import Interval
from pneumonia.evaluation.page_parts import interval_of, table, text, unbroken
from pneumonia.evaluation.page_template import FIGURE, MEANINGS
from pneumonia.evaluation.plots import grades_plot
from pneumonia.evaluation.robustness import FIGURES


def robustness_section(report: Mapping[str, Any]) -> str:
    """The section as HTML; empty for a report that has no `robustness`."""
    robustness = report.get("robustness")
    if robustness is None:
        return ""
    return (
        f"<section><h2>Robustness</h2>{_worst(robustness)}{_middle_table(robustness)}{_plots(robustness)}"
        f"{_grades_table(robustness)}<h3>Full size against shrunken</h3>{_full_size(robustness['full_size'])}</section>"
    )


def _worst(robustness: Mapping[str, Any]) -> str:
    what = (
        "Every film was classified again after it was made worse in ways in which scanners, exports and screenshots "
        "do it, each in five grades, mild to severe. Threshold and temperature stay as they are."
    )
    worst, grade = robustness["worst"], robustness["middle_grade"]
    if worst is None:
        return f'<p class="soft">{what}</p><p>AUROC is undefined: all films are of one class.</p>'
    return (
        f'<p class="soft">{what}</p><p>Worst at the middle grade ({grade}): '
        f"<strong>{text(worst['corruption'])}</strong> ({_amount(worst, worst['unit'])}), with AUROC "
        f"{worst['auroc']:.3f}: {_drop(worst['drop'])} against {robustness['plain']['auroc']['value']:.3f} of the "
        "films as they are.</p>"
    )


def _middle_table(robustness: Mapping[str, Any]) -> str:
    grade = robustness["middle_grade"]
    head = ("View", "AUROC", "Change", *(MEANINGS[name][0] for name in FIGURES[1:]), "Turned away")
    auroc, *others = _figures(robustness["plain"])
    rows = [("Films as they are", auroc, "-", *others, f"{robustness['plain']['turned_away']:,}")]
    for name, corruption in robustness["corruptions"].items():
        cell = corruption["grades"][grade - 1]
        view = f"{text(name)}: {_amount(cell, corruption['unit'])}"
        auroc, *others = _figures(cell)
        rows.append((view, auroc, _drop(cell["drop"]), *others, f"{cell['turned_away']:,}"))
    caption = (
        f"Figures at the middle grade ({grade}), with their intervals, and the change of AUROC. Turned away: films "
        "that the input check would not let pass; they count here all the same"
    )
    return table(caption, head, rows)


def _grades_table(robustness: Mapping[str, Any]) -> str:
    corruptions = robustness["corruptions"]
    grades = [cell["grade"] for cell in next(iter(corruptions.values()))["grades"]]
    rows = [
        (
            f"{text(name)}: {text(corruption['description'])} ({text(corruption['unit'])})",
            *(f"{_number(cell['auroc']['value'])} (at {cell['amount']:g})" for cell in corruption["grades"]),
        )
        for name, corruption in corruptions.items()
    ]
    return table("AUROC at every grade", ("View", *(f"Grade {grade}" for grade in grades)), rows)


def _plots(robustness: Mapping[str, Any]) -> str:
    drawn = (
        ("robustness-auroc", "AUROC by grade", ("auroc",)),
        ("robustness-decisions", "Sensitivity and specificity by grade", ("sensitivity", "specificity")),
        ("robustness-calibration", "Calibration error by grade", ("ece",)),
    )
    caption = "Dashed: the films as they are. Bands: confidence limits. The numbers of every grade are in report.json."
    return "".join(
        '<div class="scroll" tabindex="0" role="region" aria-label="'
        + title
        + '"><div style="min-width: 40rem">'
        + FIGURE.substitute(title=title, svg=_plot(robustness, name, title, figures), caption=caption)
        + "</div></div>"
        for name, title, figures in drawn
    )


def _plot(robustness: Mapping[str, Any], name: str, title: str, figures: Sequence[str]) -> str:
    panels = {
        corruption: {
            MEANINGS[figure][0]: [interval_of(cell[figure]) for cell in content["grades"]] for figure in figures
        }
        for corruption, content in robustness["corruptions"].items()
    }
    plain = {MEANINGS[figure][0]: interval_of(robustness["plain"][figure]).value for figure in figures}
    without = ", ".join(f"{figure} {value:.3f}" for figure, value in plain.items())
    description = f"{title}, one panel for each of {len(panels)} corruptions, against the films as they are: {without}."
    return grades_plot(name, description, panels, plain)


def _full_size(full_size: Mapping[str, Any]) -> str:
    side, shrunken = full_size["least_side"], full_size["shrunken_side"]
    if not full_size["n"]:
        return (
            f"<p>No film of this split measures {side} pixels or more on its short side, so that full size and "
            f"{shrunken} x {shrunken} pixels can't be compared.</p>"
        )
    n, changed = full_size["n"], full_size["changed_decisions"]
    said = (
        f"<p>{n:,} film{'' if n == 1 else 's'} with a short side of {side} pixels or more, as they are and squashed to "
        f"{shrunken} x {shrunken} pixels (JPEG, quality {full_size['jpeg_quality']}): the probability differs by "
        f"{full_size['mean_difference']:.4f} on average and {full_size['largest_difference']:.4f} at most, and "
        f"{changed:,} decision{'' if changed == 1 else 's'} change{'s' if changed == 1 else ''}.</p>"
    )
    rows = [("Full size", *_figures(full_size["full"])), ("Shrunken", *_figures(full_size["shrunken"]))]
    return said + table("Figures of the large films", ("View", *(MEANINGS[name][0] for name in FIGURES)), rows)


def _figures(figures: Mapping[str, Any]) -> list[str]:
    return [unbroken(interval_of(figures[name])) for name in FIGURES]


def _amount(cell: Mapping[str, Any], unit: str) -> str:
    return f"{cell['amount']:g} {text(unit)}"


def _number(value: float | None) -> str:
    return str(Interval(np.nan if value is None else value, np.nan, np.nan)).partition(" ")[0]


def _drop(drop: float | None) -> str:
    """What the corruption does to AUROC, with its sign: a drop of 0.01 is -0.010."""
    return "undefined" if drop is None else f"{0.0 - drop:+.3f}"
