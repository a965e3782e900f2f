"""The model card, under the headings of Mitchell et al. 2019, from what was measured and recorded."""

from typing import Any

from pneumonia import DISCLAIMER
from pneumonia.bundle import CARD, Bundle
from pneumonia.files import atomic_write

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


def write_card(bundle: Bundle) -> None:
    """Write `MODEL_CARD.md` into the bundle's directory, atomically."""
    with atomic_write(bundle.directory / CARD) as temporary:
        temporary.write_text(render_card(bundle), encoding="utf-8")


def render_card(bundle: Bundle) -> str:
    """Markdown of the card."""
    provenance, data = bundle.provenance, bundle.provenance.get("data", {})
    git = provenance.get("git", {})
    point = bundle.operating_point
    source = (
        "**Synthetic phantoms. No patient's film was used: the model means nothing for people.**"
        if bundle.synthetic
        else "Pediatric chest X-rays (one to five years), Guangzhou Women and Children's Medical Center; Kermany, "
        "Zhang, Goldbaum (2018), doi:10.17632/rscbjbr9sj, CC BY 4.0."
    )
    network = provenance.get("model", {}).get("network", {})
    return f"""# Model card: {bundle.name}

> {DISCLAIMER}

## Model details
- Version `{bundle.version}`, made {bundle.created}; {bundle.parameters:,} weights; input {bundle.input_size} x \
{bundle.input_size} pixels, gray.
- Network `{network.get("class_path", "unknown")}`, settings `{network.get("init_args", {})}`.
- Answers: {", ".join(bundle.classes)}; a calibrated probability of pneumonia; an exact class-activation map.
- Code: commit `{git.get("commit")}`{" with uncommitted changes" if git.get("dirty") else ""}.

## Intended use
Research and teaching on frontal chest X-rays. Out of scope: diagnosis, triage, adults, lateral films, other modalities.

## Factors
Age (children only), pathogen (bacteria, virus), resolution and sharpness of the file, exposure, scanner. Sex, ethnicity
and severity are not recorded in the data and could not be studied.

## Metrics
Probability is temperature-scaled (T = {point.temperature:.3f}); at {point.threshold:.3f} or above a film is called
pneumonia. The threshold follows the rule `{point.rule}` on patients held out of train. Intervals are 95%, by bootstrap
over patients.

{_table(bundle.metrics)}

## Training and evaluation data
{source}
Manifest `{str(data.get("digest", "unknown"))[:16]}`, {data.get("files", "?")} files; training images by class: \
{dict(zip(bundle.classes, data.get("class_counts", []), strict=False))}. Validation: \
{data.get("validation_fraction", "?")} of the training images, by patient (split seed {data.get("split_seed", "?")}).

## Ethical considerations
Labels come from one hospital; a number is no diagnosis. Patients' data are not in the bundle: it holds weights and
figures only.

## Caveats and recommendations
Train and test films differ in sharpness and exposure, and 170 patient numbers occur in both: whether they are the same
children is not documented. Measure on your own films before any use, and recalibrate.
"""


def _table(metrics: dict[str, Any]) -> str:
    splits = list(metrics)
    if not splits:
        return "Not measured yet."
    lines = [
        "| | " + " | ".join(f"{split} (n = {metrics[split].get('n', '?')})" for split in splits) + " |",
        "| --- |" + " --- |" * len(splits),
    ]
    for key, name in _NAMES.items():
        cells = [_cell(metrics[split].get(key)) for split in splits]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(figure: dict[str, float | None] | None) -> str:
    if not figure or figure.get("value") is None:
        return "-"
    low, high = figure.get("low"), figure.get("high")
    interval = "" if low is None or high is None else f" ({low:.3f}-{high:.3f})"
    return f"{figure['value']:.3f}{interval}"
