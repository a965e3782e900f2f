"""Every staged test of the bundle that the command line names."""

import pytest

from pneumonia.registry.staged.result import FAILED, SKIPPED, StagedResult
from pneumonia.registry.staged.run import CHECKS


@pytest.mark.parametrize("name", CHECKS)
def test_the_bundle_passes(staged: StagedResult, name: str) -> None:
    check = next(check for check in staged.checks if check.name == name)
    if check.outcome == SKIPPED:
        pytest.skip(check.words)
    assert check.outcome != FAILED, check.words
