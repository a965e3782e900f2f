"""Where a run comes from: the code's commit, the versions of what it ran on, and whether one could make it again."""

import os
import platform
import re
import subprocess
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from pneumonia import __version__
from pneumonia.errors import ConfigError

# Where the package lies: the top of the checkout, when it is in one.
CHECKOUT = Path(__file__).parents[1]
# The commit of code that lies in no checkout, such as an image's; `-dirty` behind it where there were changes.
REVISION_VARIABLE = "PNEUMONIA_REVISION"

_RECORDED = ("torch", "torchvision", "lightning", "torchmetrics", "numpy", "pillow", "pydicom", "onnx", "onnxruntime")
_REVISION = re.compile(r"(?P<commit>[0-9a-f]{7,64})(?P<dirty>-dirty)?")
# DVC writes it whenever a stage ends: what a stage makes of clean code must not count as made of changed code.
_CHANGES = ("status", "--porcelain", "--untracked-files=no", "--", ":(top)", ":(top,exclude)dvc.lock")


def software_versions() -> dict[str, str]:
    """Versions of Python, this package and the libraries that results depend on, of those that are installed."""
    versions = {"python": platform.python_version(), "pneumonia": __version__}
    for name in _RECORDED:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def git_state() -> dict[str, str | bool | None]:
    """`commit` of the checkout this package is in, and whether it was `dirty`: had changes to tracked files.

    Outside a checkout they are what `PNEUMONIA_REVISION` says, `<commit>` or `<commit>-dirty`; without it both are
    None. Raises `ConfigError` for a variable that holds anything else.
    """
    folder = Path(__file__).parent
    commit = _git(folder, "rev-parse", "HEAD")
    if commit is None or _git(folder, "ls-files", "--error-unmatch", "__init__.py") is None:
        return stated_revision(os.environ.get(REVISION_VARIABLE, ""))
    return {"commit": commit, "dirty": _git(folder, *_CHANGES) != ""}


def stated_revision(revision: str) -> dict[str, str | bool | None]:
    """`commit` and `dirty` of a revision `<commit>` or `<commit>-dirty`; both None for an empty one.

    >>> stated_revision("0123abc-dirty")
    {'commit': '0123abc', 'dirty': True}
    """
    if not revision:
        return {"commit": None, "dirty": None}
    match = _REVISION.fullmatch(revision)
    if match is None:
        raise ConfigError(
            f"{REVISION_VARIABLE} is {revision!r}: give a Git commit in hexadecimal digits, with -dirty behind it when "
            "the code was changed, or unset it."
        )
    return {"commit": match["commit"], "dirty": match["dirty"] is not None}


def reproducibility(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """`reproducible`, and the `reasons` why not, of what a bundle records of its making.

    It is when code and data are known and unchanged: `git` of the run and `export.git` name a commit and were not
    dirty, `data_version` says that the films are those of data.dvc (`pneumonia.data.version`), the network and its
    first weights come with the package, and the operating point was not fitted anew.
    """
    export = provenance.get("export", {})
    network = provenance.get("model", {}).get("network", {})
    reasons = [
        *_of_code(provenance.get("git", {}), "trained"),
        *_of_code(export.get("git", {}), "exported"),
        *_of_data(provenance.get("data_version")),
        *_of_network(network if isinstance(network, Mapping) else {}),
        *(
            ["its operating point was fitted anew, on films that are named nowhere"]
            if "recalibration" in provenance
            else []
        ),
    ]
    return {"reproducible": not reasons, "reasons": reasons}


def describe_reproducibility(provenance: Mapping[str, Any]) -> str:
    """A line for people: yes with commit and data, no with the reasons, or that nothing was recorded."""
    recorded = provenance.get("reproducibility")
    if not recorded:
        return "not recorded"
    if not recorded["reproducible"]:
        return f"no: {'; '.join(recorded['reasons'])}"
    return f"yes: commit {provenance['git']['commit'][:12]}, data.dvc {provenance['data_version']['tracked']}"


def describe_recalibration(recorded: Mapping[str, Any]) -> str:
    """On what an operating point was fitted anew, in words."""
    of_classes = ", ".join(f"{count} {name}" for name, count in recorded["classes"].items())
    return f"from {recorded['source']} on {recorded['films']} films of {recorded['patients']} patients ({of_classes})"


def _of_code(git: Mapping[str, Any], done: str) -> list[str]:
    if not git.get("commit"):
        return [f"{done} by code of no known commit"]
    return [f"{done} with uncommitted changes"] if git.get("dirty") else []


def _of_data(version: Mapping[str, Any] | None) -> list[str]:
    if version is None:
        return ["the run did not compare its data with data.dvc"]
    if version["same"] is None:
        return [f"whether the data are those of data.dvc is unknown: {version['note']}"]
    return [] if version["same"] else [f"the data are not those of data.dvc: {version['note']}"]


def _of_network(network: Mapping[str, Any]) -> list[str]:
    reasons = []
    name, weights = str(network.get("class_path", "")), str(network.get("init_args", {}).get("weights") or "")
    if name.partition(".")[0] != "pneumonia":
        reasons.append(f"the network {name or 'of no known class'} is not in the package")
    if Path(weights).suffix in (".pt", ".pth"):
        reasons.append("it began with weights from a file")
    return reasons


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(  # noqa: S603 (fixed arguments)
            ["git", "-C", str(folder), *arguments],  # noqa: S607 (git is where the user has it)
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
