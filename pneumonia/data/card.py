"""The data card, under the headings of Gebru et al. (2021), "Datasheets for Datasets", from a tree's manifest."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from pneumonia import DISCLAIMER
from pneumonia.data.manifest import LABELS, SPLITS, Manifest, Row, statistics
from pneumonia.data.splits import Splits

DATA_CARD = "DATA_CARD.md"


def render_data_card(manifest: Manifest, splits: Splits) -> str:
    """Markdown of the card of a tree and of its split by patient."""
    content = statistics(manifest)
    return f"""# Data card: {"synthetic phantoms" if manifest.synthetic else "pediatric chest X-rays"}

> {DISCLAIMER}

The headings are those of Gebru et al. (2021), "Datasheets for Datasets". Numbers are counted on the tree with the
manifest `{manifest.digest[:16]}`, {content["files"]} files.

## Motivation
{_motivation(manifest.synthetic)}

## Composition
One instance is one frontal chest X-ray as an image file, labelled NORMAL or PNEUMONIA; its name tells the patient's
number and, for pneumonia, the pathogen (bacteria or virus). Files that are identical to another:
{content["identical_files"]}.

{_folders(cast("Mapping[str, Mapping[str, Any]]", content["splits"]))}

As this project uses them (patients are held out whole, the official val folder joins the training films):

{_assigned(manifest, splits)}

{_overlap(manifest)} Age, sex, severity and scanner are not recorded.

## Collection process
{_collection(manifest.synthetic)}

## Preprocessing, cleaning and labelling
{_labelling(manifest.synthetic)} Training films that are identical to a test file are left out. Films are decoded to
8-bit gray and resampled to a square; nothing else is changed on disk.

## Uses
Research and teaching. A network can tell the classes apart by sharpness and exposure, which differ between them for
reasons that are not the disease: hold that against every result, and measure on films of your own before any use.

## Distribution
{_distribution(manifest.synthetic)}

## Maintenance
`data.dvc` names the version by hash; `pneumonia data index` writes the manifest anew, and `pneumonia data card` this
card.
"""


def _motivation(synthetic: bool) -> str:
    if synthetic:
        return "Made by `pneumonia data phantom`, so that every code path runs without patients' films."
    return (
        "Published with Kermany et al. (2018), Cell 172:1122-1131, to show that a network pretrained on photographs "
        "can read medical images."
    )


def _collection(synthetic: bool) -> str:
    if synthetic:
        return "Drawn from random numbers by a seed. No patient is in them: they mean nothing for people."
    return (
        "Anterior-posterior films of children of one to five years at the Guangzhou Women and Children's Medical "
        "Center, taken in routine care. Published without names; the numbers in the file names are the publisher's."
    )


def _labelling(synthetic: bool) -> str:
    if synthetic:
        return "The label is what was drawn."
    return (
        "According to the publication, unreadable films were removed, two physicians graded each film and a third "
        "checked the evaluation set; there is no follow-up, and the pathogen's source is not documented."
    )


def _distribution(synthetic: bool) -> str:
    if synthetic:
        return "Made anew on each machine: the same seed gives the same films."
    return (
        "Kermany, Zhang, Goldbaum (2018), Mendeley Data, doi:10.17632/rscbjbr9sj, CC BY 4.0. No image is part of this "
        "project or of its bundles."
    )


def _folders(by_split: Mapping[str, Mapping[str, Any]]) -> str:
    lines = ["| folder | files | patients | NORMAL | PNEUMONIA | bacteria | virus | width | height |"]
    lines.append("| --- |" + " --- |" * 8)
    for name, row in by_split.items():
        counts = [row[key] for key in ("files", "patients", *LABELS, "bacteria", "virus")]
        extents = [f"{low} to {high}" if low != high else str(low) for low, high in (row["width"], row["height"])]
        lines.append(f"| {name} | {' | '.join(map(str, [*counts, *extents]))} |")
    return "\n".join(lines)


def _assigned(manifest: Manifest, splits: Splits) -> str:
    lines = ["| part | files | patients | NORMAL | PNEUMONIA |", "| --- | --- | --- | --- | --- |"]
    for name in ("train", "validation", "test"):
        rows = [manifest.rows[index] for index in splits.named(name)]
        counts = [sum(row.label == label for row in rows) for label in LABELS]
        lines.append(f"| {name} | {len(rows)} | {len(_patients(rows))} | {counts[0]} | {counts[1]} |")
    return "\n".join(lines)


def _overlap(manifest: Manifest) -> str:
    tested, others = (
        _patients([row for row in manifest.rows if (row.split == SPLITS[-1]) is test]) for test in (True, False)
    )
    return (
        f"{len(tested & others)} patient numbers occur in the test folder and in the others; whether they are the same "
        "children is not documented, and figures are reported with and without them."
    )


def _patients(rows: Sequence[Row]) -> set[str]:
    return {row.patient for row in rows}
