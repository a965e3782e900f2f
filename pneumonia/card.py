"""The model card, under the headings of Mitchell et al. (2019), from what was measured and recorded."""

from collections.abc import Iterable, Mapping
from typing import Any

from pneumonia import DISCLAIMER
from pneumonia.bundle import CARD, Bundle
from pneumonia.evaluation.conformal import in_percent
from pneumonia.files import atomic_write
from pneumonia.provenance import describe_recalibration, describe_reproducibility

_NAMES = {
    "auroc": "AUROC",
    "accuracy": "Accuracy",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "ppv": "PPV",
    "npv": "NPV",
    "f1": "F1",
    "ece": "Calibration error (ECE)",
    "brier": "Brier score",
}

_OF_PARTS = ("auroc", "accuracy", "sensitivity", "specificity")
_OF_DECISIONS = ("accuracy", "sensitivity", "specificity", "ece")
_OF_VIEWS = ("auroc", "sensitivity", "specificity", "ece")


def write_card(bundle: Bundle) -> None:
    """Write `MODEL_CARD.md` into the bundle's directory, atomically."""
    with atomic_write(bundle.directory / CARD) as temporary:
        temporary.write_text(render_card(bundle), encoding="utf-8")


def render_card(bundle: Bundle) -> str:
    """Markdown of the card."""
    provenance, data = bundle.provenance, bundle.provenance.get("data", {})
    git = provenance.get("git", {})
    network = provenance.get("model", {}).get("network", {})
    return f"""# Model card: {bundle.name}

> {DISCLAIMER}

The headings are those of Mitchell et al. (2019), "Model Cards for Model Reporting". `DATA_CARD.md` beside this file
describes the data.

## Model details
- Version `{bundle.version}`, made {bundle.created}; {bundle.parameters:,} weights; input {bundle.input_size} x \
{bundle.input_size} pixels, gray.
- Network `{network.get("class_path", "unknown")}`, settings `{network.get("init_args", {})}`; trained for \
{provenance.get("steps", "?")} steps of {data.get("batch_size", "?")} films, seed {provenance.get("seed", "?")}.
- Answers: {", ".join(bundle.classes)}; a calibrated probability of pneumonia; a prediction set; a class-activation map;
  whether the image is like the films that it learned from.
- Code: commit `{git.get("commit")}`{" with uncommitted changes" if git.get("dirty") else ""}.
- Reproducible: {describe_reproducibility(provenance)}.
{_engines(bundle)}
## Intended use
Research and teaching on frontal chest X-rays. Out of scope: diagnosis, triage, adults, lateral films, other modalities.

## Factors
Age (children only), pathogen (bacteria, virus), resolution and sharpness of the file, exposure, scanner. Sex, ethnicity
and severity are not recorded in the data and could not be studied.

## Metrics
{_metrics(bundle)}

## Evaluation data
{_evaluation_data(bundle)}

## Training data
{_training_data(bundle, data)}

## Quantitative analyses
{_analyses(bundle)}

## Ethical considerations
Labels come from one hospital; a number is no diagnosis. Patients' data are not in the bundle: it holds weights,
averages over films, and figures.

## Caveats and recommendations
Train and test films differ in sharpness and exposure, and 170 patient numbers occur in both: whether they are the same
children is not documented. Measure on your own films before any use, and recalibrate.
"""


def _engines(bundle: Bundle) -> str:
    """What runs it, and what else than float32 changes on the validation films."""
    lines = []
    if bundle.engines:
        films = "validation films of its export" if bundle.recalibration else "validation films"
        lines.append(f"- Engine: {bundle.engines['reason']}. Against fp32, on {films}:")
    for name, engine in bundle.engines.get("measured", {}).items():
        if name in bundle.engines["order"] and name != "fp32":
            lines.append(
                f"  - {name}: AUROC {engine['auroc']:.4f}; of {engine['n']} films {engine['decisions_changed']} "
                f"are decided otherwise, {engine['sets_changed']} get another prediction set and "
                f"{engine['refusals_changed']} another verdict of the input check; largest change of a probability "
                f"{engine['largest_probability_change']:.3f}."
            )
    return "".join(f"{line}\n" for line in lines)


def figures_table(columns: Mapping[str, Mapping[str, Any]], metrics: Iterable[str] = _NAMES) -> str:
    """Markdown: a row a metric, a column for each named set of figures `{"value", "low", "high"}`."""
    lines = [f"| | {' | '.join(columns)} |", "| --- |" + " --- |" * len(columns)]
    for key in metrics:
        cells = [_cell(figures.get(key)) for figures in columns.values()]
        lines.append(f"| {_NAMES[key]} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _metrics(bundle: Bundle) -> str:
    point, recalibration = bundle.operating_point, bundle.recalibration
    if recalibration:
        return f"""Recalibrated {describe_recalibration(recalibration)}, by `pneumonia recalibrate`.

Probability is temperature-scaled (T = {point.temperature:.3f}, as before), with an offset of {point.offset:+.3f} of
the log-odds; at {point.threshold:.3f} or above a film is called pneumonia. Offset, threshold (rule `{point.rule}`) and
prediction sets (class-conditional conformal sets at a coverage of {in_percent(point.coverage)}) were fitted on these
films, at their share of pneumonia; network and input check are as they were. Intervals are 95%, by bootstrap over
patients."""
    return f"""Probability is temperature-scaled (T = {point.temperature:.3f}); at {point.threshold:.3f} or above a \
film is called
pneumonia. The threshold follows the rule `{point.rule}` on patients held out of train, whose films are seen as they are
and augmented. Prediction sets are class-conditional conformal sets, calibrated on these patients' films as they are, at
a coverage of {in_percent(point.coverage)}. Intervals are
95%, by bootstrap over patients."""


def recalibration_table(recalibration: Mapping[str, Any]) -> str:
    """Markdown of what `pneumonia recalibrate` recorded: the figures of its films before and after."""
    columns = [recalibration["before"], recalibration["after"]]
    lines = [f"| | {recalibration['source']} | recalibrated |", "| --- | --- | --- |"]
    rows = {_NAMES[key]: [_cell(column[key]) for column in columns] for key in _OF_DECISIONS}
    rows["Asked coverage of the sets"] = [in_percent(column["coverage"]) for column in columns]
    for name in columns[0]["covered"]:
        rows[f"The set holds the film's class, {name}"] = [_cell(column["covered"][name]) for column in columns]
    rows["The set decides between normal and pneumonia"] = [_cell(column["decided"]) for column in columns]
    lines += [f"| {name} | {' | '.join(cells)} |" for name, cells in rows.items()]
    return "\n".join(lines)


def _recalibration(recalibration: Mapping[str, Any] | None) -> str:
    if not recalibration:
        return ""
    source, chance = recalibration["source"], recalibration["p_better"]
    seen = f"; {recalibration['seen']} of them chose that operating point, too" if recalibration["seen"] else ""
    return f"""The figures of validation above are of films that chose the operating point, and flatter it. Here the
bundle from before decides the same films{seen}. Recalibrated, each patient's films are decided by what was fitted on
the others', in {recalibration["folds"]} folds. How much the fit itself may vary is not in the intervals.

{recalibration_table(recalibration)}

{recalibration["gained"]} films are called right by the recalibrated bundle alone, {recalibration["lost"]} by {source}
alone (McNemar, one-sided p = {chance:.2g}). The input check turns away {recalibration["refused"]} of \
{recalibration["films"]}."""


def _evaluation_data(bundle: Bundle) -> str:
    kinds = {
        "validation": "patients held out of train, on whom temperature, threshold and sets were fitted",
        "test": "the official test folder, which chose nothing",
    }
    if bundle.recalibration:
        kinds = {
            "validation": "those of the recalibration, on which offset, threshold and sets were fitted",
            "test": "a test folder of which no film was recalibrated on",
        }
    lines = []
    for split, figures in bundle.metrics.items():
        engine = f"; engine {figures['engine']}" if "engine" in figures else ""
        lines.append(
            f"- {split}: {figures.get('n', '?')} films, {kinds.get(split, 'as its name says')}; manifest "
            f"`{str(figures.get('data_digest', 'as train'))[:16]}`{engine}."
        )
    return "\n".join(lines) or "None yet."


def _training_data(bundle: Bundle, data: Mapping[str, Any]) -> str:
    source = (
        "**Synthetic phantoms. No patient's film was used: the model means nothing for people.**"
        if bundle.synthetic
        else "Pediatric chest X-rays (one to five years), Guangzhou Women and Children's Medical Center; Kermany, "
        "Zhang, Goldbaum (2018), doi:10.17632/rscbjbr9sj, CC BY 4.0."
    )
    counts = dict(zip(bundle.classes, data.get("class_counts", []), strict=False))
    named = ", ".join(f"{count:,} {name}" for name, count in counts.items()) or "unknown numbers of films"
    return (
        f"{source}\nManifest `{str(data.get('digest', 'unknown'))[:16]}`, {data.get('files', '?')} files; trained on "
        f"{named}. Validation: {data.get('validation_fraction', '?')} of the training images, by patient (split seed "
        f"{data.get('split_seed', '?')})."
    )


def _analyses(bundle: Bundle) -> str:
    metrics = bundle.metrics
    if not metrics:
        return "Not measured yet."
    columns = {f"{split} (n = {figures.get('n', '?')})": figures for split, figures in metrics.items()}
    sections = [figures_table(columns), *_section("Recalibration", _recalibration(bundle.recalibration))]
    for split, figures in metrics.items():
        sections += [
            *_section(f"Parts of {split}", _parts_table(figures.get("subgroups", {}))),
            *_section(f"Classes of {split}", _confusion_table(figures.get("classes", {}))),
            *_section(f"Prediction sets and input check on {split}", _answers(figures)),
            *_section(f"Robustness on {split}", robustness_table(figures.get("robustness", {}))),
            *_section(f"Heatmaps on {split}", _faithfulness(figures.get("faithfulness", {}))),
        ]
    return "\n\n".join(sections)


def _section(title: str, content: str) -> list[str]:
    return [f"### {title}", content] if content else []


def _parts_table(parts: Mapping[str, Any]) -> str:
    if not parts:
        return ""
    heads = " | ".join(_NAMES[key] for key in _OF_PARTS)
    lines = [f"| films | n | {heads} |", "| --- | --- |" + " --- |" * len(_OF_PARTS)]
    for part in parts.values():
        cells = " | ".join(_cell(part.get(key)) for key in _OF_PARTS)
        lines.append(f"| {part.get('description', '?')} | {part.get('n', '?')} | {cells} |")
    return "\n".join(lines)


def _confusion_table(classes: Mapping[str, Any]) -> str:
    if not classes:
        return ""
    names = classes["names"]
    lines = [f"| film is | {' | '.join(f'called {name}' for name in names)} | recall |"]
    lines.append("| --- |" + " --- |" * (len(names) + 1))
    for name, row in zip(names, classes["confusion_matrix"], strict=True):
        lines.append(f"| {name} | {' | '.join(map(str, row))} | {_cell(classes['recall'].get(name))} |")
    return f"Accuracy over {len(names)} classes: {_cell(classes.get('accuracy'))}.\n\n" + "\n".join(lines)


def _answers(figures: Mapping[str, Any]) -> str:
    sets, check = figures.get("prediction_sets"), figures.get("input_check")
    lines = [
        f"- Sets that are calibrated on one half of these patients hold the class of the other half's films, {name}: "
        f"{share:.3f}."
        for name, share in figures.get("cross_coverage", {}).items()
        if share is not None
    ]
    if sets:
        lines += [
            f"- The set holds the film's class, {name}: {_cell(share)}." for name, share in sets["covered"].items()
        ]
        lines.append(f"- The set decides between normal and pneumonia: {_cell(sets['decided'])} of the films.")
    if check:
        lines.append(f"- Films that the input check turns away: {_cell(check['refused'])}.")
    return "\n".join(lines)


def robustness_table(robustness: Mapping[str, Any]) -> str:
    """Markdown of what a bundle keeps of its robustness (`pneumonia.evaluation.robustness.summary`)."""
    if not robustness:
        return ""
    heads = " | ".join(_NAMES[key] for key in _OF_VIEWS)
    lines = [f"| films | {heads} |", "| --- |" + " --- |" * len(_OF_VIEWS)]
    for name, figures in {"as they are": robustness["plain"], **robustness["middle"]}.items():
        lines.append(f"| {name} | {' | '.join(_cell(figures.get(key)) for key in _OF_VIEWS)} |")
    return f"Each corruption at grade {robustness['middle_grade']} of 5.\n\n" + "\n".join(lines)


def _faithfulness(figures: Mapping[str, Any]) -> str:
    if figures.get("baseline") is None:  # also where films were blurred, as before, which says little
        return ""
    return (
        "Replacing the hottest pixels first by the mean NORMAL film (probability "
        f"{figures['baseline']:.3f}) lowers the probability faster, and showing them first raises it faster, than "
        f"random masks do, for {_cell(figures['both_beat'])} of {figures['n']} films called PNEUMONIA; the "
        f"log-odds, which do not saturate, for {_cell(figures.get('log_odds', {}).get('both_beat'))}."
    )


def _cell(figure: Mapping[str, float | None] | None) -> str:
    if not figure or figure.get("value") is None:
        return "-"
    low, high = figure.get("low"), figure.get("high")
    interval = "" if low is None or high is None else f" ({low:.3f}-{high:.3f})"
    return f"{figure['value']:.3f}{interval}"
