"""Where a run comes from: the code's commit and the versions of what it ran on."""

import platform
import subprocess
from importlib import metadata
from pathlib import Path

from pneumonia import __version__

_RECORDED = ("torch", "torchvision", "lightning", "torchmetrics", "numpy", "pillow", "pydicom", "onnx", "onnxruntime")


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
    """`commit` of the checkout this package is in, and whether it was `dirty`; both None outside one."""
    folder = Path(__file__).parent
    commit = _git(folder, "rev-parse", "HEAD")
    if commit is None or _git(folder, "ls-files", "--error-unmatch", "__init__.py") is None:
        return {"commit": None, "dirty": None}
    return {"commit": commit, "dirty": bool(_git(folder, "status", "--porcelain", "--untracked-files=no"))}


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
