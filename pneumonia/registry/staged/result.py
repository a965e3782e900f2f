"""What came of a bundle's staged tests, as it is written back to the registry."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

PASSED, FAILED, SKIPPED = "pass", "fail", "skip"


class CheckFailedError(Exception):
    """Raised by a check that found something wrong; its message says what."""


class CheckSkippedError(Exception):
    """Raised by a check that has nothing to look at; its message says what it lacks."""


@dataclass(frozen=True)
class Check:
    """One thing that was looked at: its `outcome` is pass, fail or skip, and `words` say what was found."""

    name: str
    outcome: str
    words: str

    def __str__(self) -> str:
        """A line of a report."""
        return f"{self.outcome:<4}  {self.name:<12} {self.words}"


@dataclass(frozen=True)
class StagedResult:
    """All checks of one bundle version, by whom and when, with which versions of the software.

    `engine` and `milliseconds` an image (one at a time, one thread) are what was measured here, `baselines` by engine
    what the next test compares with.
    """

    bundle_version: str
    when: str
    who: str
    checks: Sequence[Check]
    engine: str = ""
    milliseconds: float | None = None
    baselines: dict[str, float] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether nothing failed."""
        return not self.failures

    @property
    def failures(self) -> list[Check]:
        """The checks that failed."""
        return [check for check in self.checks if check.outcome == FAILED]

    def as_json(self) -> dict[str, Any]:
        """For the registry's metadata, and for people who read it there."""
        return {"passed": self.passed, **asdict(self), "checks": [asdict(check) for check in self.checks]}
