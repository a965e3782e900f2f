"""`pytest tests/staged --bundle DIR`, or `--registry NAME:ALIAS [--root PLACE]`: the staged tests, one by one.

Without either it is the reference bundle of the package. With `--registry` the result is kept with the entry.
"""

from dataclasses import replace
from pathlib import Path

import pytest

from pneumonia.bundle import REFERENCE
from pneumonia.registry.resolve import open_registry
from pneumonia.registry.staged.result import StagedResult
from pneumonia.registry.staged.run import examine_bundle, examine_entry
from pneumonia.registry.staged.subject import StagedOptions

_OPTIONS = {
    "--bundle": "a bundle's directory",
    "--registry": "name:version, name:alias or alias in a registry",
    "--root": "where the registry is (default: artifacts/registry)",
    "--data": "a tree of films to try it on",
}


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("staged tests")
    for name, what in _OPTIONS.items():
        group.addoption(name, default=None, help=what)


@pytest.fixture(scope="session")
def staged(pytestconfig: pytest.Config) -> StagedResult:
    """What came of the tests; they run once."""
    # Without a value where the tests run among others: then this file is read too late to add options.
    bundle, reference, root, data = (pytestconfig.getoption(name.strip("-"), None) for name in _OPTIONS)
    if bundle and reference:
        pytest.exit("Give --bundle or --registry, not both.", returncode=4)
    options = StagedOptions(data=None if data is None else Path(data))
    if not (bundle or reference):
        options = replace(options, max_slowdown=1000)  # among other tests, on a machine that is busy with them
    if reference:
        return examine_entry(open_registry(root), reference, options)[1]
    return examine_bundle(Path(bundle or REFERENCE), options)
