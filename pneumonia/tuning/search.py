"""What is asked of a search."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pneumonia.tuning.search_space import SearchSpace

DATABASE = "study.db"


@dataclass(frozen=True)
class Search:
    """A search for settings.

    Args:
        folder: of the study and its runs.
        options: of `pneumonia fit`, which every trial has.
        config: what `fit` makes of them.
        space: what is tried.
        trials: how many in all, those of earlier sittings included.
        workers: how many at a time.
        timeout: seconds after which no trial begins; those at work end.
        seed: of the draws.
    """

    folder: Path
    options: list[str]
    config: dict[str, Any] = field(repr=False)
    space: SearchSpace
    trials: int = 20
    workers: int = 1
    timeout: float | None = None
    seed: int = 0

    def run_folder(self, number: int) -> Path:
        """Of the trial with this number."""
        return self.folder / "trials" / f"{number:04}"
