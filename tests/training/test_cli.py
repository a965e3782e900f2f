"""`pneumonia fit | validate | test | predict` for real: what a run leaves, what is refused, and that configs run."""

import csv
import os
import shutil
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from torchvision import models

from pneumonia.data.manifest import SYNTHETIC_MARKER, scan_tree
from pneumonia.errors import ConfigError, DataError
from pneumonia.training.cli import PneumoniaCLI, main

# Each is a run of its own.
pytestmark = pytest.mark.slow

CONFIGS = Path(__file__).parents[2] / "configs"
# A step or two an epoch.
BRIEF = ("--trainer.limit_train_batches=2", "--trainer.limit_val_batches=1", "--trainer.max_epochs=1")

TrainingWords = Callable[..., list[str]]


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def column(path: Path, name: str) -> list[float]:
    return [float(row[name]) for row in rows_of(path) if row.get(name)]


def checkpoint(folder: Path, name: str = "last") -> dict[str, Any]:
    content: dict[str, Any] = torch.load(folder / "checkpoints" / f"{name}.ckpt", weights_only=True)
    return content


def same_weights(one: Path, other: Path) -> bool:
    ours, theirs = checkpoint(one)["state_dict"], checkpoint(other)["state_dict"]
    return ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours)


def snapshot(folder: Path) -> dict[str, tuple[int, bytes]]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


@pytest.fixture(scope="module")
def brief(training_words: TrainingWords, tmp_path_factory: pytest.TempPathFactory) -> PneumoniaCLI:
    """What is left in memory of a run of two steps; its folder is the trainer's."""
    return main(training_words("fit", tmp_path_factory.mktemp("runs") / "brief", *BRIEF))


@pytest.fixture
def own_run(run: Path, tmp_path: Path) -> Path:
    """A copy of the run that a test may change."""
    return Path(shutil.copytree(run, tmp_path / "run"))


def test_a_run_leaves_its_checkpoints_history_curves_and_config_and_nothing_else(run: Path) -> None:
    left = {path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file()}
    files = {"config.yaml", "hparams.yaml", "metrics.csv", "curves.svg"}
    assert left == files | {"checkpoints/best.ckpt", "checkpoints/last.ckpt"}


def test_the_history_has_every_epoch_s_loss_and_metrics(run: Path) -> None:
    rows = rows_of(run / "metrics.csv")
    for name in ("auroc", "accuracy", "sensitivity", "specificity", "f1", "loss"):
        assert [row["epoch"] for row in rows if row[f"val/{name}"]] == ["0", "1"]
    assert [row["epoch"] for row in rows if row["train/loss"]] == ["0", "1"]
    assert len(column(run / "metrics.csv", "lr-AdamW/pg1")) == 6


def test_the_curves_are_a_drawing(run: Path) -> None:
    assert ET.parse(run / "curves.svg").getroot().tag.endswith("svg")


def test_the_config_of_a_run_repeats_it_bit_for_bit(run: Path, tmp_path: Path) -> None:
    main(["fit", f"--config={run / 'config.yaml'}", f"--trainer.default_root_dir={tmp_path / 'again'}"])
    assert same_weights(run, tmp_path / "again")
    assert (tmp_path / "again" / "metrics.csv").read_bytes() == (run / "metrics.csv").read_bytes()


def test_another_seed_gives_other_weights(brief: PneumoniaCLI, training_words: TrainingWords, tmp_path: Path) -> None:
    main(training_words("fit", tmp_path, *BRIEF, "--seed_everything=1"))
    assert not same_weights(Path(brief.trainer.default_root_dir), tmp_path)
    assert checkpoint(tmp_path)["provenance"]["seed"] == 1


def test_a_checkpoint_says_where_it_comes_from(run: Path, tree: Path) -> None:
    provenance = checkpoint(run, "best")["provenance"]
    assert provenance["data"]["digest"] == scan_tree(tree).digest
    assert provenance["model"]["network"]["class_path"] == "pneumonia.models.SmallResNet"
    assert provenance["versions"]["torch"] == torch.__version__.partition("+")[0]
    assert provenance["synthetic"] is False


def test_a_checkpoint_of_phantoms_says_so(tree: Path, training_words: TrainingWords, tmp_path: Path) -> None:
    shutil.copytree(tree, tmp_path / "tree")
    (tmp_path / "tree" / SYNTHETIC_MARKER).write_text("{}")
    main(training_words("fit", tmp_path / "run", *BRIEF, data=tmp_path / "tree"))
    assert checkpoint(tmp_path / "run")["provenance"]["synthetic"] is True


def test_a_second_run_in_the_folder_is_refused_and_changes_nothing(
    own_run: Path, training_words: TrainingWords
) -> None:
    before = snapshot(own_run)
    with pytest.raises(ConfigError, match=r"holds a run already. Resume it with `--ckpt_path last`"):
        main(training_words("fit", own_run))
    assert snapshot(own_run) == before


def test_resuming_a_run_that_ended_leaves_it_as_it_is(own_run: Path, training_words: TrainingWords) -> None:
    before = snapshot(own_run)
    main(training_words("fit", own_run, "--ckpt_path=last"))
    after = snapshot(own_run)
    kept = [name for name in before if name.endswith((".csv", ".ckpt", ".svg"))]
    assert {name: after[name][1] for name in kept} == {name: before[name][1] for name in kept}


def test_a_run_is_not_resumed_as_one_of_another_length(own_run: Path, training_words: TrainingWords) -> None:
    before = (own_run / "metrics.csv").read_bytes()
    with pytest.raises(ConfigError, match=r"is of a run of 6 steps, and this one would have 9\. Resume it with"):
        main(training_words("fit", own_run, "--trainer.max_epochs=3", "--ckpt_path=last"))
    assert (own_run / "metrics.csv").read_bytes() == before


def test_a_run_can_be_taken_up_from_its_best_epoch(own_run: Path, training_words: TrainingWords) -> None:
    made = main(training_words("fit", own_run, "--ckpt_path=best"))
    assert made.trainer.ckpt_path == str(own_run / "checkpoints" / "best.ckpt")


@pytest.fixture(scope="module")
def measured(run: Path, training_words: TrainingWords, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the run on which validate, test and predict were run."""
    folder = Path(shutil.copytree(run, tmp_path_factory.mktemp("runs") / "measured"))
    for command in ("validate", "test", "predict"):
        main(training_words(command, folder, "--ckpt_path=last"))
    return folder


def test_measuring_a_run_leaves_its_history_and_checkpoints(run: Path, measured: Path) -> None:
    kept = ["metrics.csv", "config.yaml", "curves.svg", "checkpoints/best.ckpt", "checkpoints/last.ckpt"]
    assert [(measured / name).read_bytes() for name in kept] == [(run / name).read_bytes() for name in kept]


def test_validate_finds_again_what_was_measured_while_training(measured: Path) -> None:
    [again], logged = rows_of(measured / "validate_metrics.csv"), rows_of(measured / "metrics.csv")
    for name in ("val/loss", "val/auroc", "val/accuracy"):
        assert float(again[name]) == pytest.approx([float(row[name]) for row in logged if row[name]][-1], rel=1e-5)


def test_predict_writes_a_probability_of_each_class_for_each_test_film(measured: Path, tree: Path) -> None:
    rows = rows_of(measured / "predictions.csv")
    films = [row for row in scan_tree(tree).rows if row.split == "test"]
    assert [(row["path"], row["label"]) for row in rows] == [(film.path, film.label) for film in films]
    assert all(float(row["NORMAL"]) + float(row["PNEUMONIA"]) == pytest.approx(1) for row in rows)


def test_test_measures_what_predict_predicts(measured: Path) -> None:
    from sklearn.metrics import accuracy_score, roc_auc_score

    rows = rows_of(measured / "predictions.csv")
    sick = np.array([row["label"] == "PNEUMONIA" for row in rows])
    probability = np.array([float(row["PNEUMONIA"]) for row in rows])
    [figures] = rows_of(measured / "test_metrics.csv")
    assert float(figures["test/auroc"]) == pytest.approx(roc_auc_score(sick, probability), abs=1e-6)
    assert float(figures["test/accuracy"]) == pytest.approx(accuracy_score(sick, probability > 0.5), abs=1e-6)


def test_training_stops_early_when_validation_no_longer_improves(training_words: TrainingWords, tmp_path: Path) -> None:
    stop = ["--early_stopping.min_delta=100", "--early_stopping.patience=1", "--trainer.max_epochs=9"]
    main(training_words("fit", tmp_path, *BRIEF, *stop))
    assert checkpoint(tmp_path)["epoch"] == 1


@pytest.mark.slow
def test_the_best_checkpoint_is_of_the_epoch_with_the_best_auroc(training_words: TrainingWords, tmp_path: Path) -> None:
    main(training_words("fit", tmp_path, "--trainer.max_epochs=5", "--model.learning_rate=0.02"))
    aurocs = column(tmp_path / "metrics.csv", "val/auroc")
    assert checkpoint(tmp_path, "best")["epoch"] == int(np.argmax(aurocs))


@pytest.mark.slow
def test_a_network_learns_what_there_is_to_learn(training_words: TrainingWords, tmp_path: Path) -> None:
    main(training_words("fit", tmp_path, "--trainer.max_epochs=12", "--model.learning_rate=0.02"))
    losses = column(tmp_path / "metrics.csv", "train/loss")
    assert min(losses[-3:]) < 0.8 * losses[0]


def test_classes_are_weighed_so_that_each_counts_the_same(brief: PneumoniaCLI) -> None:
    counts, weights = torch.tensor(brief.datamodule.class_counts()), brief.model.class_weights
    torch.testing.assert_close(weights * counts, counts.sum().expand(2) / 2)


def test_biases_and_normalisation_do_not_decay(brief: PneumoniaCLI) -> None:
    decaying, others = brief.trainer.optimizers[0].param_groups
    assert decaying["weight_decay"] > 0
    assert others["weight_decay"] == 0
    assert all(parameter.ndim > 1 for parameter in decaying["params"])
    assert all(parameter.ndim == 1 for parameter in others["params"])
    trained = sum(len(group["params"]) for group in (decaying, others))
    assert trained == len(list(brief.model.network.parameters()))


def test_a_run_of_one_step_has_a_schedule(training_words: TrainingWords, tmp_path: Path) -> None:
    made = main(training_words("fit", tmp_path, *BRIEF, "--data.batch_size=40"))
    assert made.trainer.global_step == 1


@pytest.mark.parametrize(
    "config",
    [
        pytest.param(path.stem, marks=[pytest.mark.slow] if path.stem == "transfer" else [])
        for path in sorted(CONFIGS.glob("*.yaml"))
        # debug is the run of many other tests; what names no model is laid over another config, and tested elsewhere.
        if path.stem != "debug" and "model" in yaml.safe_load(path.read_text())
    ],
)
def test_every_config_runs(training_words: TrainingWords, tmp_path: Path, config: str) -> None:
    small = ["--data.image_size=64", "--data.batch_size=8"]
    if "weights: DEFAULT" in (CONFIGS / f"{config}.yaml").read_text():
        small.append("--model.network.init_args.weights=null")
    main(training_words("fit", tmp_path, *BRIEF, *small, config=config))
    assert column(tmp_path / "metrics.csv", "train/loss")
    assert checkpoint(tmp_path, "best")["global_step"] == 2


@pytest.mark.slow
def test_a_run_from_local_weights_does_not_need_them_any_more(training_words: TrainingWords, tmp_path: Path) -> None:
    weights = tmp_path / "weights.pt"
    torch.save(models.resnet18().state_dict(), weights)
    network = ["--data.image_size=32", "--data.batch_size=8", f"--model.network.init_args.weights={weights}"]
    main(training_words("fit", tmp_path / "run", *BRIEF, *network, config="transfer"))
    weights.unlink()
    main(training_words("test", tmp_path / "run", "--data.image_size=32", "--ckpt_path=best"))
    assert rows_of(tmp_path / "run" / "test_metrics.csv")


def test_a_setting_that_does_not_exist_is_named(
    training_words: TrainingWords, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = yaml.safe_load((CONFIGS / "debug.yaml").read_text())
    content["model"]["learning_speed"] = 1
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(SystemExit) as ended:
        main(["fit", f"--config={tmp_path / 'config.yaml'}"])
    assert ended.value.code == 2
    assert "learning_speed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "named"),
    [
        ("--model.learning_rate=fast", "learning_rate"),
        ("--model.network=subprocess.Popen", "model.network"),
        ("--config=nowhere.yaml", "nowhere.yaml"),
    ],
)
def test_a_value_that_can_not_be_is_named(
    training_words: TrainingWords, tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str, named: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(training_words("fit", tmp_path, option))
    assert ended.value.code == 2
    assert named in capsys.readouterr().err.partition("error: ")[2]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (["--model.network.init_args.depths=[1]"], ConfigError, "widths and depths name 2 and 1 stages"),
        (["--data.root=nowhere"], DataError, "No X-ray files under nowhere"),
        (["--ckpt_path=best"], ConfigError, "There is no checkpoint .*best.ckpt"),
    ],
)
def test_a_setting_that_can_not_work_is_an_error_that_says_so(
    training_words: TrainingWords, tmp_path: Path, options: list[str], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        main(training_words("fit", tmp_path, *options))


@pytest.mark.parametrize(("command", "content"), [("fit", b"no checkpoint"), ("test", b"")])
def test_a_file_that_is_no_checkpoint_is_an_error_that_names_it(
    training_words: TrainingWords, tmp_path: Path, command: str, content: bytes
) -> None:
    (tmp_path / "garbage.ckpt").write_bytes(content)
    with pytest.raises(ConfigError, match=r"garbage\.ckpt is no checkpoint of `pneumonia fit`"):
        main(training_words(command, tmp_path / "run", f"--ckpt_path={tmp_path / 'garbage.ckpt'}"))


def test_a_checkpoint_that_runs_a_command_is_refused_and_not_run(
    run: Path, training_words: TrainingWords, tmp_path: Path
) -> None:
    class Bomb:
        def __reduce__(self) -> object:
            return os.mkdir, (str(tmp_path / "exploded"),)

    bomb = tmp_path / "bomb.ckpt"
    torch.save({**checkpoint(run), "bomb": Bomb()}, bomb)
    with pytest.raises(ConfigError, match="is no checkpoint"):
        main(training_words("test", tmp_path / "run", f"--ckpt_path={bomb}", "--weights_only=false"))
    assert not (tmp_path / "exploded").exists()


@pytest.mark.slow
def test_a_tracker_that_is_asked_for_gets_the_run_beside_the_csv(
    training_words: TrainingWords, tmp_path: Path, command: Callable[..., Any]
) -> None:
    tracker = ["--trainer.logger=WandbLogger", f"--trainer.logger.save_dir={tmp_path}"]
    done = command(*training_words("fit", tmp_path / "run", *BRIEF, *tracker), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.glob("wandb/offline-run-*/run-*.wandb"))
    assert column(tmp_path / "run" / "metrics.csv", "train/loss")
    assert (tmp_path / "run" / "checkpoints" / "last.ckpt").is_file()


@pytest.mark.slow
def test_the_command_itself_exits_with_0_and_with_1_when_it_refuses(
    training_words: TrainingWords, tmp_path: Path, command: Callable[..., Any]
) -> None:
    words = training_words("fit", tmp_path / "run", *BRIEF)
    done = command(*words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    refused = command(*words, cwd=tmp_path)
    assert refused.returncode == 1
    assert refused.stderr.splitlines()[-1].startswith("pneumonia: error: ")
    assert "Traceback" not in refused.stderr
