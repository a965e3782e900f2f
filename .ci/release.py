"""Print the changelog's section of a tag; fail when tag, package and changelog do not speak of the same version.

python .ci/release.py v1.2.3
"""

import re
import sys
from pathlib import Path

PROJECT = Path(__file__).parents[1]


def package_version(source: str) -> str:
    """`__version__` in the text of `pneumonia/__init__.py`."""
    found = re.search(r'^__version__ = "([^"]+)"$', source, re.MULTILINE)
    if not found:
        raise ValueError("pneumonia/__init__.py sets no __version__.")
    return found[1]


def notes(changelog: str, version: str) -> str:
    """The text under `## [version]` or `## version`, with or without a date, up to the next such heading."""
    heading = re.compile(rf"^## \[?{re.escape(version)}\]?(?: .*)?$", re.MULTILINE)
    start = heading.search(changelog)
    if not start:
        raise ValueError(f"CHANGELOG.md has no section '## {version}': rename 'Unreleased' before you tag.")
    rest = changelog[start.end() :]
    end = re.search(r"^## ", rest, re.MULTILINE)
    return rest[: end.start() if end else None].strip() + "\n"


def main(tag: str) -> None:
    """Check a tag and print its notes."""
    version = package_version((PROJECT / "pneumonia" / "__init__.py").read_text(encoding="utf-8"))
    if tag != f"v{version}":
        raise ValueError(f"The tag is {tag}, the package says {version}: one of them is wrong.")
    print(notes((PROJECT / "CHANGELOG.md").read_text(encoding="utf-8"), version), end="")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except ValueError as error:
        sys.exit(str(error))
