"""What a change of data.dvc means, in Markdown: for a comment on its pull request.

    python .github/scripts/data_comment.py --before OLD.dvc --after data.dvc --stats stats.json --report report.json

Counts and figures only: no name of a file, and nothing that names a patient.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import yaml

SHOWN = ("auroc", "accuracy", "sensitivity", "specificity", "f1", "ece")


def version(text: str) -> dict[str, Any]:
    """The one output of a `.dvc` file: md5, size in bytes, nfiles. Empty for an empty text, as of a new file."""
    content = yaml.safe_load(text) if text.strip() else {"outs": [{}]}
    out: dict[str, Any] = content["outs"][0]
    return out


def comment(before: dict[str, Any], after: dict[str, Any], stats: dict[str, Any], report: dict[str, Any]) -> str:
    """The comment: versions before and after, what is in the tree, and what a short fit reached."""
    lines = [
        "### The data changed",
        "",
        "| | before | after |",
        "| --- | --- | --- |",
        f"| version | {_hash(before)} | {_hash(after)} |",
        f"| files | {before.get('nfiles', '-')} | {after.get('nfiles', '-')} |",
        f"| MB | {_megabytes(before)} | {_megabytes(after)} |",
        "",
        "| folder | films | patients | NORMAL | PNEUMONIA |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, split in stats["splits"].items():
        lines.append(f"| {name} | {split['files']} | {split['patients']} | {split['NORMAL']} | {split['PNEUMONIA']} |")
    lines += [
        "",
        f"A short fit (it shows that the data train, not what they are good for), on {report['n']} films of "
        f"{report['patients']} patients held out of train:",
        "",
        "| | value | 95% interval |",
        "| --- | --- | --- |",
    ]
    for name in SHOWN:
        figure = report[name]
        lines.append(f"| {name} | {figure['value']:.3f} | {figure['low']:.3f} to {figure['high']:.3f} |")
    if stats["synthetic"]:
        lines += ["", "**These are synthetic phantoms: the figures mean nothing for people.**"]
    return "\n".join([*lines, ""])


def _hash(out: dict[str, Any]) -> str:
    return f"`{out['md5'][:12]}`" if "md5" in out else "-"


def _megabytes(out: dict[str, Any]) -> str:
    return f"{out['size'] / 1e6:.1f}" if "size" in out else "-"


def main(arguments: list[str]) -> None:
    """Print the comment."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("before", "after", "stats", "report"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    options = parser.parse_args(arguments)
    before, after = (version(path.read_text(encoding="utf-8")) for path in (options.before, options.after))
    stats, report = (json.loads(path.read_text(encoding="utf-8")) for path in (options.stats, options.report))
    print(comment(before, after, stats, report), end="")


if __name__ == "__main__":
    main(sys.argv[1:])
