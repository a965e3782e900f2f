"""Put the figures of the reference bundle, of the study and of the engines into the documents, between their markers.

`python -m benchmarks.documents` writes; with `--check` it fails where a document says something else.
"""

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

from benchmarks import engines, film_shape, left_out, own_films, stand_ins
from benchmarks.serving_table import serving_block
from benchmarks.study import table
from pneumonia.bundle import REFERENCE, Bundle, load_bundle
from pneumonia.card import figures_table, robustness_table
from pneumonia.files import atomic_write

PROJECT = Path(__file__).parents[1]


def blocks() -> dict[tuple[str, str], str]:
    """What stands between the markers of each document: `{(document, marker): Markdown}`."""
    bundle = load_bundle(REFERENCE)
    return {
        ("docs/left-out.md", "left-out"): left_out.table(_kept("left-out")),
        ("README.md", "figures"): _figures(bundle),
        ("docs/robustness.md", "robustness"): _robustness(bundle),
        ("docs/robustness.md", "film-shape"): film_shape.table(_kept("film-shape")),
        ("docs/serving.md", "serving"): serving_block(_kept("serving")),
        ("docs/page.md", "page"): _page(_kept("page")),
        ("docs/evaluation.md", "own-films"): own_films.table(_kept("own-films")),
        ("docs/evaluation.md", "stand-ins"): stand_ins.table(_kept("stand-ins")),
        ("docs/study.md", "study"): table(_kept("study")),
        ("docs/engines.md", "engines"): _engines(_kept("engines")),
    }


def insert(document: str, marker: str, content: str) -> str:
    """The document with the content between `<!-- marker: begin -->` and `<!-- marker: end -->`."""
    begin, end = f"<!-- {marker}: begin -->", f"<!-- {marker}: end -->"
    if document.count(begin) != 1 or document.count(end) != 1:
        raise ValueError(f"the document needs one {begin} and one {end}")
    return re.sub(f"{begin}.*{end}", lambda _: f"{begin}\n{content.strip()}\n{end}", document, flags=re.DOTALL)


def _kept(name: str) -> dict[str, Any]:
    """What a benchmark has written beside its document."""
    content: dict[str, Any] = json.loads((PROJECT / "docs" / f"{name}.json").read_text(encoding="utf-8"))
    return content


def _figures(bundle: Bundle) -> str:
    test, parts = bundle.metrics["test"], bundle.metrics["test"]["subgroups"]
    alone = parts["patients_not_in_train"]
    shown = ("auroc", "accuracy", "sensitivity", "specificity", "f1", "ece", "brier")
    auroc, millions = alone["auroc"], bundle.parameters / 1e6
    return f"""The reference bundle `{bundle.label}` ({millions:.1f} million weights, {bundle.input_size} px)
was trained from scratch on two CPU cores by `make reference`. It was measured on about half of the official test folder
({test["n"]} films, by patient; the rest is kept aside), with 95% intervals by bootstrap over patients. Its threshold
was chosen on patients held out of train by the rule `{bundle.operating_point.rule}`. Without the patient numbers that
occur in train as well ({alone["n"]} films): AUROC {auroc["value"]:.3f} ({auroc["low"]:.3f}-{auroc["high"]:.3f}).

{figures_table({"reference bundle": test}, shown)}

For orientation: Kermany et al. (2018), with a pretrained Inception-v3, report AUROC 0.968 and accuracy 0.928 on the
whole official test."""


def _robustness(bundle: Bundle) -> str:
    measured = bundle.metrics["test"]["robustness"]
    worst, plain, films = measured["worst"], measured["plain"]["auroc"]["value"], bundle.metrics["test"]["n"]
    return f"""`{bundle.label}` on {films} films of the official test folder (`make reference`). The worst view is
{worst["corruption"]}: AUROC {worst["auroc"]:.4f}, {worst["drop"]:.4f} below the {plain:.4f} of the films as they are.

{robustness_table(measured)}"""


def _page(report: dict[str, Any]) -> str:
    people, many = report["people"], report["many_films"]
    rows = [
        ("page load, until the model answers", f"{report['load_seconds']:.2f} s", "under 2 s"),
        (
            "from the choice of a film to answer and heatmap, median (longest)",
            f"{report['answer_seconds']:.2f} s ({report['answer_longest_seconds']:.2f} s)",
            "under 1 s",
        ),
        (
            f"{people} people at once: without an answer; median wait",
            f"{report['people_failed']}; {report['people_seconds']:.2f} s",
            "0",
        ),
        (
            "CPU time of page and API for each of them, from the visit to the answer",
            f"{report['people_servers_cpu_seconds']:.2f} s",
            "",
        ),
        (f"{many} films in one go", f"{report['many_seconds']:.1f} s", ""),
    ]
    lines = "\n".join(f"| {what} | {seen} | {goal} |" for what, seen, goal in rows)
    return f"`{report['bundle']}`:\n\n| what | seen | goal |\n| --- | --- | --- |\n{lines}"


def _engines(report: dict[str, Any]) -> str:
    machine = report["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    return f"""`{report["bundle"]}` on {report["n"]} films of {report["split"]}; {machine["threads"]} thread of
a processor with {", ".join(machine["features"])}; {versions}.

{engines.table(report)}"""


def main() -> None:
    """Write, or compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where a document is out of date")
    options = parser.parse_args()
    stale = []
    for (name, marker), content in blocks().items():
        path = PROJECT / name
        before = path.read_text(encoding="utf-8")
        after = insert(before, marker, content)
        if before == after:
            continue
        stale.append(name)
        if not options.check:
            with atomic_write(path) as temporary:
                temporary.write_text(after, encoding="utf-8")
    if options.check and stale:
        sys.exit(f"Out of date: {', '.join(stale)}. Run `python -m benchmarks.documents`.")


if __name__ == "__main__":
    main()
