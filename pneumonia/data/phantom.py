"""A data tree of synthetic chest films in the official layout."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path

import numpy as np
from PIL import Image

from pneumonia.data.manifest import LABELS, SPLITS, SYNTHETIC_MARKER
from pneumonia.data.phantom_film import Pathogen, render_phantom
from pneumonia.errors import ConfigError, DataError
from pneumonia.files import atomic_directory, write_json
from pneumonia.parallel import map_films

# Raised whenever a change here changes the pixels or the names of a seed.
GENERATOR_VERSION = 1

_JPEG_QUALITY = 90
_SMALLEST = 32
_FILMS_OF_A_PATIENT = (1, 1, 1, 1, 1, 2, 2, 3)


@dataclass(frozen=True)
class PhantomCounts:
    """How many films each split gets, and which share of each is PNEUMONIA; half of that is bacterial, half viral.

    Raises `ConfigError` for a negative count, for no film at all and for a prevalence outside 0..1.
    """

    train: int = 1200
    val: int = 16
    test: int = 300
    prevalence: float = 0.6

    def __post_init__(self) -> None:
        if min(self.train, self.val, self.test) < 0 or self.train + self.val + self.test == 0:
            raise ConfigError(f"Counts of phantoms must be 0 or more and not all 0, not {self}.")
        if not 0 <= self.prevalence <= 1:
            raise ConfigError(f"The prevalence of phantoms is a share from 0 to 1, not {self.prevalence}.")

    def by_pathogen(self, split: str) -> dict[Pathogen, int]:
        """Films of a split without disease, with bacterial and with viral pneumonia.

        >>> PhantomCounts(test=300).by_pathogen("test")
        {'': 120, 'bacteria': 90, 'virus': 90}
        """
        films = int(getattr(self, split))
        sick = round(films * self.prevalence)
        return {"": films - sick, "bacteria": sick - sick // 2, "virus": sick // 2}


def write_phantoms(
    root: Path,
    counts: PhantomCounts,
    size: int = 256,
    seed: int = 0,
    progress: bool = False,
    workers: int | None = None,
) -> Path:
    """Write a tree `{train,val,test}/{NORMAL,PNEUMONIA}/*.jpeg` of phantoms and the marker that says so; return `root`.

    The tree appears whole or not at all. A seed gives the same bytes whatever the number of `workers` (threads; all
    cores without). Patients have one to three films, never in two splits; films of one patient share only the name.
    Raises `DataError` when `root` is there already, `ConfigError` for a size below 32 or a negative seed.
    """
    root = Path(root)
    if size < _SMALLEST or seed < 0:
        raise ConfigError(
            f"Phantoms need a size of {_SMALLEST} or more and a seed of 0 or more, not {size} and {seed}."
        )
    if root.exists():
        raise DataError(f"{root} exists already; remove it, or give the phantoms a folder of their own.")
    with atomic_directory(root) as temporary:
        for split in SPLITS:
            for label in LABELS:
                (temporary / split / label).mkdir(parents=True)
        films = list(_plan(counts, seed))

        def write(index: int) -> None:
            path, pathogen = films[index]
            pixels = render_phantom(np.random.default_rng([seed, index]), pathogen, size)
            Image.fromarray(pixels).save(temporary / path, "JPEG", quality=_JPEG_QUALITY)

        map_films(write, range(len(films)), "phantoms" if progress else None, workers=workers)
        marker = {"generator_version": GENERATOR_VERSION, "seed": seed, "size": size, "counts": asdict(counts)}
        write_json(temporary / SYNTHETIC_MARKER, marker)
    return root


def _plan(counts: PhantomCounts, seed: int) -> Iterator[tuple[str, Pathogen]]:
    """Path and pathogen of every film. Numbers of patients run on from split to split, so that none is in two."""
    rng = np.random.default_rng(seed)
    healthy, sick, serial = count(1), count(1), count(1)
    for split in SPLITS:
        for pathogen, films in counts.by_pathogen(split).items():
            while films > 0:
                these = min(films, int(rng.choice(_FILMS_OF_A_PATIENT)))
                films -= these
                if pathogen:
                    patient = f"person{next(sick)}_{pathogen}"
                    yield from ((f"{split}/PNEUMONIA/{patient}_{next(serial)}.jpeg", pathogen) for _ in range(these))
                else:
                    patient = f"{rng.choice(['', 'NORMAL2-'])}IM-{next(healthy):04d}"
                    yield from ((f"{split}/NORMAL/{patient}-{film + 1:04d}.jpeg", pathogen) for film in range(these))
