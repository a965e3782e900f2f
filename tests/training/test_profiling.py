"""Laid over a config, `configs/profile.yaml` tells where the time of its steps goes."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from pneumonia.training.cli import main

pytestmark = pytest.mark.slow
OVERLAY = Path(__file__).parents[2] / "configs" / "profile.yaml"


@pytest.fixture(scope="module")
def profiled(training_words: Callable[..., list[str]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "profiled"
    main(training_words("fit", folder, f"--config={OVERLAY}", "--data.batch_size=8"))
    return folder


def test_the_table_names_operators_and_the_hooks_that_ran_them(profiled: Path) -> None:
    table = (profiled / "fit-operators.txt").read_text()
    for name in ("aten::convolution_backward", "AdamW.step", "RadiographAugmentation", "run_training_batch"):
        assert name in table, name


def test_the_trace_opens_in_a_viewer_of_traces(profiled: Path) -> None:
    [trace] = profiled.glob("*.pt.trace.json")
    events = json.loads(trace.read_text())["traceEvents"]
    assert sum(event.get("dur", 0) for event in events if "convolution" in event.get("name", "")) > 0
