"""`pneumonia tune` for real: trials are runs, bad ones are recorded, and what is interrupted goes on."""

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import psutil
import pytest
import yaml
from filelock import FileLock
from optuna.trial import TrialState, create_trial

from pneumonia.errors import ConfigError
from pneumonia.training.cli import main as fit
from pneumonia.training.history import read_metrics
from pneumonia.tuning.command import main
from pneumonia.tuning.search_space import parse_search_space
from pneumonia.tuning.storage import open_study
from pneumonia.tuning.trial import Job, run_trial

pytestmark = pytest.mark.slow

MISFORTUNE = "tests.tuning.misfortune.Misfortune"
# Of a trial with the second choice, training ends in an error, of one with the third its process is killed, and the
# last can't be a network.
BEFALLS: dict[str, Any] = {
    "trainer.callbacks": {
        "values": [
            None,
            *([{"class_path": MISFORTUNE, "init_args": {"kind": kind}}] for kind in ("error", "killed")),
        ]
    },
    "model.network.init_args.depths": {"values": [[1, 1], [1]]},
    "model.learning_rate": {"min": 0.001, "max": 0.05},
}
Words = Callable[..., list[str]]


@pytest.fixture(scope="module")
def words(training_words: Words) -> Words:
    """The command line of `pneumonia tune` on the tree."""

    def made(folder: Path, space: dict[str, Any], *options: str) -> list[str]:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder.with_suffix(".yaml")
        path.write_text(yaml.safe_dump(space))
        given = [word for word in training_words("fit", folder)[1:] if "root_dir" not in word]
        return [*given, f"--space={path}", f"--output={folder}", *options]

    return made


def report_of(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "report.json").read_text())
    return content


def aurocs(run: Path) -> list[float]:
    return [float(row["val/auroc"]) for row in read_metrics(run / "metrics.csv") if "val/auroc" in row]


@pytest.fixture(scope="module")
def searched(words: Words, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str], list[str]]:
    """The folder of a search in which several trials fail, its command line, and what it said."""
    folder = tmp_path_factory.mktemp("searches") / "befallen"
    space = {"method": "random", "parameters": BEFALLS}
    line = words(folder, space, "--trials=6", "--workers=2", f"--seed={SEED}")
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        assert main(line) == 0
    return folder, line, said.getvalue().splitlines()


# With it, among the first six draws are each misfortune, and trials that end well.
SEED = 53


def test_trials_end_well_or_fail_for_a_reason_that_is_recorded(searched: tuple[Path, list[str], list[str]]) -> None:
    folder, _, said = searched
    report = report_of(folder)
    assert [row["number"] for row in report["trials"]] == list(range(6))
    for row in report["trials"]:
        callbacks, depths = row["parameters"]["trainer.callbacks"], row["parameters"]["model.network.init_args.depths"]
        if depths == "[1]":
            expected = "widths and depths name 2 and 1 stages"
        elif callbacks is None:
            assert row["state"] == "complete"
            assert row["value"] == max(aurocs(folder / row["folder"]))
            continue
        else:
            expected = (
                "RuntimeError: the lamp" if "error" in callbacks else "killed by SIGKILL: is there memory for it?"
            )
        assert row["state"] == "failed"
        assert expected in row["reason"]
    counts = report["counts"]
    assert counts["complete"] >= 2
    reasons = " ".join(row["reason"] for row in report["trials"])
    assert all(reason in reasons for reason in ("stages", "RuntimeError", "SIGKILL"))
    assert sum(line.startswith("trial ") for line in said) == 6
    assert "Traceback" in "".join(path.read_text() for path in folder.glob("trials/*/log.txt"))


def test_the_first_trial_has_the_settings_of_the_config_itself(searched: tuple[Path, list[str], list[str]]) -> None:
    first = report_of(searched[0])["trials"][0]
    assert first["baseline"]
    assert first["parameters"]["model.learning_rate"] == 0.002


def test_the_report_shows_the_best_trials_and_why_others_failed(searched: tuple[Path, list[str], list[str]]) -> None:
    folder = searched[0]
    report, text = report_of(folder), (folder / "report.md").read_text()
    best = report["best"]
    assert best["value"] == max(row["value"] for row in report["trials"] if row["state"] == "complete")
    assert f"The best is trial {best['number']}: validation AUROC {best['value']:.4f}" in text
    assert "(the config itself)" in text
    assert "the lamp of the scanner is out \\| and cold" in text
    assert "it flatters the best one" in text


def test_fit_takes_the_best_config_and_reaches_what_the_trial_did(
    searched: tuple[Path, list[str], list[str]],
) -> None:
    folder = searched[0]
    best = report_of(folder)["best"]
    fit(["fit", f"--config={folder / 'best.yaml'}"])
    assert aurocs(folder / "best") == aurocs(folder / best["folder"])
    assert yaml.safe_load((folder / "best.yaml").read_text())["trainer"]["devices"] == "auto"


def test_the_same_command_again_does_nothing_and_one_that_asks_for_more_adds_trials(
    searched: tuple[Path, list[str], list[str]], words: Words, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, line, _ = searched
    before = report_of(folder)["trials"]
    assert main(line) == 0
    assert not [said for said in capsys.readouterr().out.splitlines() if said.startswith("trial ")]
    assert report_of(folder)["trials"] == before
    more = [word if not word.startswith("--trials") else "--trials=7" for word in line]
    main(more)
    after = report_of(folder)["trials"]
    assert after[:6] == before
    assert len(after) == 7


def test_another_search_in_the_folder_is_refused(searched: tuple[Path, list[str], list[str]]) -> None:
    folder, line, _ = searched
    with pytest.raises(ConfigError, match=r"holds the study of another search, which differs in .*\.weight_decay"):
        main([*line, "--model.weight_decay=0.5"])
    with (
        FileLock(folder / ".lock"),
        pytest.raises(ConfigError, match="Another `pneumonia tune` is at work"),
    ):
        main(line)


def test_a_search_whose_trials_all_fail_ends_soon_and_says_why(words: Words, tmp_path: Path) -> None:
    space = {"parameters": {"model.network.init_args.depths": {"values": [[1], [2]]}}}
    with pytest.raises(ConfigError, match=r"All 5 trials failed, the last one because: .*stages.*trials; a search"):
        main(words(tmp_path / "search", space, "--trials=20"))
    report = report_of(tmp_path / "search")
    assert (report["best"], report["counts"]["failed"]) == (None, 5)
    assert not (tmp_path / "search" / "best.yaml").exists()


def test_a_trial_that_others_surpass_is_given_up(words: Words, tmp_path: Path) -> None:
    parameters = {"model.learning_rate": {"min": 0.001, "max": 0.05}}
    space = parse_search_space(
        {"parameters": parameters, "early_terminate": {"type": "hyperband", "min_iter": 1, "eta": 2}}
    )
    study = open_study(tmp_path / "study.db", space)
    better = create_trial(
        params={"model.learning_rate": 0.01},
        distributions=dict(space.distributions),
        value=2.0,  # no AUROC reaches it
        intermediate_values={0: 2.0, 1: 2.0},
        system_attrs={"completed_rung_0": 2.0, "completed_rung_1": 2.0},
    )
    study.add_trial(better)
    trial = study.ask(fixed_distributions=dict(space.distributions))
    line = [word for word in words(tmp_path / "search", {}) if not word.startswith(("--space", "--output"))]
    options = [*line, f"--trainer.default_root_dir={tmp_path / 'run'}", "--trainer.max_epochs=5"]
    outcome = run_trial(Job(tmp_path / "run", tmp_path / "study.db", trial._trial_id, options, space))
    assert (outcome.state, outcome.value) == ("pruned", None)
    assert len(study.trials[1].intermediate_values) == 2


def test_no_trial_begins_when_time_is_up(words: Words, tmp_path: Path) -> None:
    line = words(tmp_path / "search", {"parameters": {"model.learning_rate": {"min": 0.1, "max": 0.2}}}, "--timeout=0")
    assert main(line) == 0
    assert report_of(tmp_path / "search")["trials"] == []
    assert "0 of 20 trials: none" in (tmp_path / "search" / "report.md").read_text()


def test_a_search_that_is_killed_ends_its_trials_and_goes_on_where_it_stopped(words: Words, tmp_path: Path) -> None:
    folder, epochs = tmp_path / "search", 6
    space = {"parameters": {"model.learning_rate": {"values": [0.002, 0.02]}}}
    line = words(folder, space, "--trials=2", f"--trainer.max_epochs={epochs}", "--early_stopping.patience=99")
    process = subprocess.Popen([sys.executable, "-m", "pneumonia", "tune", *line])
    try:
        last = folder / "trials" / "0000" / "checkpoints" / "last.ckpt"
        while process.poll() is None and not last.exists():
            time.sleep(0.005)
        started = psutil.Process(process.pid).children(recursive=True)
    finally:
        process.kill()
        process.wait()
    _, alive = psutil.wait_procs(started, timeout=300)
    assert not alive
    study = optuna.load_study(study_name=None, storage=f"sqlite:///{folder / 'study.db'}")
    assert study.trials[0].state == TrialState.RUNNING, "the trial was over too soon"
    main(line)
    report = report_of(folder)
    assert [(row["state"], row["epochs"]) for row in report["trials"]] == [("complete", epochs)] * 2
    assert "Restored all states from the checkpoint" in (folder / "trials" / "0000" / "log.txt").read_text()
    assert len(aurocs(folder / "trials" / "0000")) == epochs


def test_an_interrupted_search_leaves_its_report(words: Words, tmp_path: Path) -> None:
    folder = tmp_path / "search"
    space = {"parameters": {"model.learning_rate": {"values": [0.002, 0.02]}}}
    line = words(folder, space, "--trials=2", "--trainer.max_epochs=50", "--early_stopping.patience=99")
    command = [sys.executable, "-m", "pneumonia", "tune", *line]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not (folder / "trials" / "0000" / "metrics.csv").exists():
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    said, complaints = process.communicate(timeout=600)
    assert process.returncode == 130, complaints
    assert "goes on" in said
    assert [row["state"] for row in report_of(folder)["trials"]] == ["interrupted"]


@pytest.mark.parametrize(
    ("space", "options", "message"),
    [
        ({"model.learning_speed": {"values": [1]}}, [], r"does not suit the config\. .*learning_speed"),
        ({"data.batch_size": {"values": [8, "many"]}}, [], "does not suit the config.*batch_size"),
        ({"data.batch_size": {"values": [8]}}, ["--trainer.strategy=ddp"], "A trial is one process"),
        ({"data.batch_size": {"values": [8]}}, ["--trainer.speed=5"], "can't take these options: .*speed"),
    ],
)
def test_what_would_fail_in_each_trial_is_refused_at_once(
    words: Words, tmp_path: Path, space: dict[str, Any], options: list[str], message: str
) -> None:
    with pytest.raises(ConfigError, match=f"(?s){message}"):
        main(words(tmp_path / "search", {"parameters": space}, *options))
    assert not (tmp_path / "search" / "study.db").exists()


def test_a_config_has_to_be_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"Name what is tuned: --config configs/cnn\.yaml"):
        main([f"--space={tmp_path}", f"--output={tmp_path}"])


def test_a_file_that_is_no_study_is_named(words: Words, tmp_path: Path) -> None:
    line = words(tmp_path / "search", {"parameters": {"data.batch_size": {"values": [8]}}})
    (tmp_path / "search" / "study.db").write_bytes(os.urandom(5000))
    with pytest.raises(ConfigError, match=r"study\.db can't be opened as a study .*; name another --output"):
        main(line)
