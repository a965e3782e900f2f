"""What staged tests look at: a bundle at work, films for it, and what it has to reach."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pneumonia.bundle import Bundle
from pneumonia.errors import ConfigError
from pneumonia.images import Radiograph
from pneumonia.inference.predictor import Predictor

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class StagedOptions:
    """What a bundle has to reach.

    `data` is a tree of films, and `films` how many of it are tried at most; `min_auroc`, `min_sensitivity` and
    `min_specificity` hold for its validation films and for these; `max_slowdown` is how many times as long as its own
    baseline an answer may take: machines and their load differ, and a hang or a lost optimisation is far beyond it.

    Raises `ConfigError` for figures outside 0..1, a slowdown of less than 1, or no film.
    """

    data: Path | None = None
    films: int = 200
    min_auroc: float = 0.9
    min_sensitivity: float = 0.8
    min_specificity: float = 0.6
    max_slowdown: float = 10.0

    def __post_init__(self) -> None:
        if not all(0 <= least <= 1 for least in self.minimums.values()):
            raise ConfigError(f"The least that a bundle has to reach is from 0 to 1, not {self.minimums}.")
        if self.max_slowdown < 1 or self.films < 1:
            raise ConfigError(
                f"Give a slowdown of 1 or more and a film or more, not {self.max_slowdown}, {self.films}."
            )

    @property
    def minimums(self) -> dict[str, float]:
        """The least value of each metric, by its name."""
        return {
            "auroc": self.min_auroc,
            "sensitivity": self.min_sensitivity,
            "specificity": self.min_specificity,
        }


def add_staged_options(parser: argparse.ArgumentParser) -> None:
    """What `staged_options` reads."""
    group, defaults = parser.add_argument_group("staged tests"), StagedOptions()
    group.add_argument("--data", type=Path, metavar="DIR", help="try it on films of this tree, too")
    group.add_argument("--films", type=int, default=defaults.films, help="so many of them (default: %(default)s)")
    for name, least in defaults.minimums.items():
        flag, words = f"--min-{name}", f"the least {name} on held-out films, and on those of --data (%(default)s)"
        group.add_argument(flag, type=float, default=least, metavar="SHARE", help=words)
    group.add_argument(
        "--max-slowdown",
        type=float,
        default=defaults.max_slowdown,
        metavar="FACTOR",
        help="how many times its own baseline an answer may take (default: %(default)s)",
    )


def staged_options(options: argparse.Namespace) -> StagedOptions:
    """Of a parsed command line. Raises `ConfigError` for figures that can't be."""
    return StagedOptions(**{field.name: getattr(options, field.name) for field in fields(StagedOptions)})


@dataclass(frozen=True, eq=False)
class Subject:
    """A bundle under test.

    `probes` are files of phantoms, `radiographs` what they decode to, `copies` the same films in other files;
    `best` the bundle that it might replace; `baselines` milliseconds an image by engine, as measured before.
    """

    bundle: Bundle
    predictor: Predictor
    engine: str
    probes: Sequence[Path]
    radiographs: Sequence[Radiograph]
    copies: Mapping[str, Sequence[Radiograph]]
    options: StagedOptions = field(default_factory=StagedOptions)
    best: Bundle | None = None
    baselines: Mapping[str, float] = field(default_factory=dict)

    @property
    def images(self) -> "NDArray[np.uint8]":
        """The probes as the engine takes them, (n, S, S)."""
        return np.stack([radiograph.pixels for radiograph in self.radiographs])
