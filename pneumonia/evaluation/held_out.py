"""What a bundle answers for the films of its held-out patients: kept with it, so that two bundles can be compared.

There is no name in it: a film is the beginning of its file's SHA-256, a patient a number that only groups films.
"""

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pneumonia.errors import BundleError, DataError
from pneumonia.evaluation.weighted import Floats, checked

# Hexadecimal digits of a film's SHA-256 that are kept: 64 bits, no two of a million films alike by chance.
DIGITS = 16
_ARRAYS = ("labels", "probabilities", "patients", "films")
_UNREADABLE = (OSError, EOFError, ValueError, TypeError, KeyError, AttributeError, RuntimeError, zipfile.BadZipFile)


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Of n films that no training saw, in the order of their digests.

    `labels` (n,) are 0 for NORMAL, 1 for PNEUMONIA; `probabilities` (n,) the calibrated ones of PNEUMONIA; `patients`
    (n,) numbers that are equal for films of one patient and mean nothing else; `films` (n,) the first 16 hexadecimal
    digits of each file's SHA-256, as bytes.
    """

    labels: NDArray[np.int64]
    probabilities: Floats
    patients: NDArray[np.int64]
    films: NDArray[np.bytes_]

    def __len__(self) -> int:
        """How many films."""
        return len(self.labels)

    def count(self, digests: Sequence[str]) -> int:
        """How many files with these SHA-256 are among the films."""
        return int(np.isin([digest[:DIGITS].encode() for digest in digests], self.films).sum())

    def save(self, path: Path) -> None:
        """Write as `.npz`; the same answers give the same bytes."""
        with path.open("wb") as file:
            np.savez_compressed(
                file,
                labels=self.labels.astype(np.uint8),
                probabilities=self.probabilities,
                patients=self.patients.astype(np.uint32),
                films=self.films,
            )


def collect_held_out(
    labels: ArrayLike, probabilities: ArrayLike, patients: Sequence[str], digests: Sequence[str]
) -> HeldOut:
    """Answers for n films, given the name of each one's patient and the SHA-256 of its file.

    Raises `DataError` for columns of different lengths, labels other than 0 and 1, or probabilities outside [0, 1].
    """
    truth, scores = checked(labels, probabilities)
    if not len(truth) == len(patients) == len(digests):
        raise DataError(
            f"{len(patients)} patients and {len(digests)} digests for {len(truth)} films; give one of each."
        )
    films = np.array([digest[:DIGITS] for digest in digests], dtype=f"S{DIGITS}")
    order = np.argsort(films, kind="stable")
    # Numbered as they come in the order of digests: the order of names would say something of them.
    numbers: dict[str, int] = {}
    groups = [numbers.setdefault(patients[index], len(numbers)) for index in order]
    return HeldOut(truth[order], scores[order], np.array(groups, dtype=np.int64), films[order])


def load_held_out(path: Path) -> HeldOut:
    """Read what `HeldOut.save` wrote; nothing in the file is run. Raises `BundleError` for another file."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            labels, probabilities, patients, films = (arrays[name] for name in _ARRAYS)
        truth, scores = checked(labels, probabilities)
        if not truth.shape == patients.shape == films.shape:
            raise ValueError("its columns have different lengths")
        if films.dtype != np.dtype(f"S{DIGITS}") or (films[1:] < films[:-1]).any():
            raise ValueError("its films are not ascending digests")
    except (*_UNREADABLE, DataError) as error:
        raise BundleError(f"{path} holds no answers for held-out films ({error}); export the bundle again.") from error
    return HeldOut(truth, scores, patients.astype(np.int64), films)


def in_common(one: HeldOut, other: HeldOut) -> tuple[HeldOut, HeldOut]:
    """Both, of the films that are in both; identical files are taken once.

    Raises `DataError` when a film is not labelled alike.
    """
    _, first, second = np.intersect1d(one.films, other.films, return_indices=True)
    chosen, others = _select(one, first), _select(other, second)
    differ = int((chosen.labels != others.labels).sum())
    if differ:
        raise DataError(
            f"{differ} of {len(chosen)} films are labelled otherwise in the one than in the other; find out which "
            "labels are right, and evaluate both anew."
        )
    return chosen, others


def _select(held_out: HeldOut, rows: NDArray[np.int64]) -> HeldOut:
    return HeldOut(held_out.labels[rows], held_out.probabilities[rows], held_out.patients[rows], held_out.films[rows])
