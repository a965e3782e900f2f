"""What every registry does, and the rule by which a bundle becomes `best`."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from pneumonia.bundle import Bundle
from pneumonia.errors import RegistryError

CANDIDATE = "candidate"
BEST = "best"


@dataclass(frozen=True)
class Entry:
    """One version of a bundle in a registry: `name:v3`, its aliases, when and by whom it was pushed."""

    name: str
    version: str
    bundle_version: str
    aliases: list[str] = field(default_factory=list)
    created: str = ""
    pushed_by: str = ""

    @property
    def reference(self) -> str:
        """`name:version`."""
        return f"{self.name}:{self.version}"


class Registry(Protocol):
    """Where bundles are versioned."""

    def push(self, directory: Path, aliases: list[str]) -> Entry:
        """Add a bundle as the next version of its name; the aliases move to it."""
        ...

    def list(self) -> list[Entry]:
        """All versions, by name and age."""
        ...

    def pull(self, reference: str) -> Path:
        """A directory with the bundle of `name:version`, `name:alias` or `alias`. Raises `RegistryError`."""
        ...

    def promote(self, reference: str) -> Entry:
        """Make it `best`, if `check_promotion` allows it. Raises `RegistryError`."""
        ...


def check_promotion(candidate: Bundle, best: Bundle | None) -> None:
    """Raise `RegistryError` when a bundle may not become `best`.

    One trained on phantoms never may. Another must not have a lower validation AUROC than the present best on the
    same data; on other data the figures do not compare, and the newer bundle wins.
    """
    if candidate.synthetic:
        raise RegistryError(
            f"{candidate.label} was trained on synthetic phantoms and is not promoted: it means nothing for people. "
            "Train on real films: see `pneumonia data fetch --help`."
        )
    if best is None or best.synthetic or _data_digest(best) != _data_digest(candidate):
        return
    ours, theirs = _validation_auroc(candidate), _validation_auroc(best)
    if ours < theirs:
        raise RegistryError(
            f"{candidate.label} is not promoted: its validation AUROC {ours:.4f} is below {theirs:.4f} of the present "
            f"best, {best.label}, on the same data."
        )


def _data_digest(bundle: Bundle) -> Any:
    return bundle.provenance.get("data", {}).get("digest")


def _validation_auroc(bundle: Bundle) -> float:
    try:
        return float(bundle.metrics["validation"]["auroc"]["value"])
    except (KeyError, TypeError, ValueError) as error:
        raise RegistryError(f"{bundle.label} carries no validation AUROC; export it again.") from error
