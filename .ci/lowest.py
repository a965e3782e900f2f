"""Print the lowest versions that pyproject.toml admits, as constraints: what CI's `lowest` job installs.

    python .ci/lowest.py [EXTRA ...] > lowest.txt && pip install -c lowest.txt '.[EXTRA,...]'

Only what is named directly is held at its lowest; what that pulls in is pip's choice. Without extras, only the base.
Fails for a dependency without a lower bound, and for extras that disagree about one.
"""

import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

PROJECT = Path(__file__).parents[1]


def lowest(requirements: Iterable[str]) -> dict[str, str]:
    """`name -> version` of requirements such as `torch>=2.8,<3`; of one that is named twice, the higher bound."""
    found: dict[str, str] = {}
    for text in requirements:
        requirement = Requirement(text)
        name = canonicalize_name(requirement.name)
        bounds = [part.version for part in requirement.specifier if part.operator in (">=", "==", "~=")]
        if len(bounds) != 1:
            raise ValueError(f"{text!r} in pyproject.toml needs one lower bound, such as {requirement.name}>=1.2.")
        found[name] = max(found.get(name, "0"), bounds[0], key=Version)
    return dict(sorted(found.items()))


def requirements(pyproject: dict[str, Any], extras: Iterable[str]) -> list[str]:
    """What the base and some extras name. Raises `KeyError` for an extra that is not there."""
    project = pyproject["project"]
    return [*project["dependencies"], *(text for extra in extras for text in project["optional-dependencies"][extra])]


def main(extras: list[str]) -> None:
    """Print `name==version`, one a line."""
    pyproject = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
    for name, version in lowest(requirements(pyproject, extras)).items():
        print(f"{name}=={version}")


if __name__ == "__main__":
    main(sys.argv[1:])
