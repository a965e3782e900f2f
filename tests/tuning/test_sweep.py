"""`wandb agent` can run `configs/sweep.yaml`: its own code makes the command and starts it, on films drawn here."""

import os
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from pneumonia.errors import ConfigError
from pneumonia.training.cli import main
from pneumonia.training.history import read_metrics
from pneumonia.tuning.search_space import read_search_space

wandb = pytest.importorskip("wandb")

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.fixture
def sweep() -> dict[str, Any]:
    """The sweep's config, as W&B's client reads it."""
    from wandb.sdk.launch.sweeps.utils import load_sweep_config

    content = load_sweep_config(str(CONFIGS / "sweep.yaml"))
    assert content is not None
    return content


def test_the_command_is_a_fit_of_the_config_that_the_space_is_for(sweep: dict[str, Any]) -> None:
    words = sweep["command"]
    assert words[2:5] == ["-m", "pneumonia", "fit"]
    assert words[-1] == "${args}"
    for word in words:
        if word.startswith("--config="):
            assert (CONFIGS.parent / word.partition("=")[2]).is_file()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="the agent of Windows has another command")
def test_the_agent_runs_a_trial_in_a_folder_of_its_own(
    sweep: dict[str, Any], tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from wandb.wandb_agent import Agent

    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "wandb.yaml").write_text((CONFIGS / "wandb.yaml").read_text())
    small = yaml.safe_load((CONFIGS / "debug.yaml").read_text())
    small["data"]["root"] = str(tree)
    small["trainer"].update(max_epochs=1, limit_train_batches=1)
    (tmp_path / "configs" / "cnn.yaml").write_text(yaml.safe_dump(small))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    for name, value in {"WANDB_DIR": str(tmp_path), "WANDB_SWEEP_ID": "sweep1"}.items():
        monkeypatch.setenv(name, value)
    for name in ("WANDB_RUN_ID", "WANDB_SWEEP_PARAM_PATH"):  # the agent sets them
        monkeypatch.setenv(name, "")
    drawn = read_search_space(CONFIGS / "sweep.yaml").corners()[0]
    assert set(drawn) == set(sweep["parameters"])

    agent = Agent(api=None, queue=None)
    agent._sweep_command = list(sweep["command"])
    arguments = {key: {"value": value} for key, value in drawn.items()}
    agent._command_run({"type": "run", "run_id": "abc123", "program": sweep["program"], "args": arguments})
    assert agent._run_processes["abc123"].wait() == 0

    run = tmp_path / "artifacts" / "sweep" / "abc123"
    made = yaml.safe_load((run / "config.yaml").read_text())
    assert made["model"]["learning_rate"] == drawn["model.learning_rate"]
    assert made["model"]["network"]["init_args"]["dropout"] == drawn["model.network.init_args.dropout"]
    assert made["data"]["batch_size"] == drawn["data.batch_size"]
    assert any("val/auroc" in row for row in read_metrics(run / "metrics.csv"))
    assert list(tmp_path.rglob("run-abc123.wandb"))


def test_a_folder_that_names_a_variable_which_is_not_set_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_RUN_ID", raising=False)
    for words in (["--trainer.default_root_dir=runs/$WANDB_RUN_ID"], ["--trainer.default_root_dir", "${WANDB_RUN_ID}"]):
        with pytest.raises(ConfigError, match=r"names \$\{?WANDB_RUN_ID, an environment variable that is not set"):
            main(["fit", f"--config={CONFIGS / 'debug.yaml'}", *words])
