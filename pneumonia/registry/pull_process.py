"""Pulls a bundle in a process that ends: W&B's client starts threads and a helper, and a server that forks wants none.

`python -m pneumonia.registry.pull_process PLACE REFERENCE` prints the folder, or why there is none.
"""

import subprocess
import sys
from pathlib import Path

from pneumonia.errors import PneumoniaError, RegistryError

_PREFIX = "bundle: "
_SECONDS = 600.0


def pull_apart(place: str, reference: str) -> Path:
    """The folder with the bundle of a reference in the registry at a place. Raises `RegistryError`."""
    words = [sys.executable, "-m", __name__, place, reference]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=_SECONDS, check=False)  # noqa: S603
    except subprocess.TimeoutExpired as error:
        raise RegistryError(f"The registry {place} did not hand over {reference} in {_SECONDS:.0f} s.") from error
    told = [line.removeprefix(_PREFIX) for line in done.stdout.splitlines() if line.startswith(_PREFIX)]
    if done.returncode == 0 and told:
        return Path(told[-1])
    said = done.stderr.strip().splitlines() or [f"the process ended with {done.returncode}"]
    raise RegistryError(said[-1])


def main(place: str, reference: str) -> int:
    """Pull; the exit code."""
    from pneumonia.registry.resolve import open_registry

    try:
        folder = open_registry(place).pull(reference)
    except PneumoniaError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    print(f"{_PREFIX}{folder.absolute()}")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
