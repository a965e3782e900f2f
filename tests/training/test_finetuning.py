"""Fine-tuning by the command: a stage in which the pretrained layers stay as they are, then rates by depth."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor, nn
from torchvision import models

from pneumonia.errors import ConfigError
from pneumonia.models import SmallResNet, TorchvisionBackbone
from pneumonia.models.groups import layer_groups
from pneumonia.training.cli import PneumoniaCLI, main
from pneumonia.training.finetuning import FrozenStage, parameter_groups
from pneumonia.training.module import ChestXRayClassifier

STEPS, EPOCHS, FROZEN, DECAY = 3, 4, 2, 0.5
# The configs' networks, but for one that takes milliseconds a step.
SETTINGS = [
    "--model.network.init_args.name=mobilenet_v3_small",
    f"--model.layer_decay={DECAY}",
    "--data.image_size=32",
    "--data.batch_size=8",
    f"--trainer.limit_train_batches={STEPS}",
    "--trainer.limit_val_batches=1",
    "--trainer.log_every_n_steps=1",
]

TrainingWords = Callable[..., list[str]]
FineTune = Callable[..., PneumoniaCLI]


@pytest.fixture(scope="module")
def fine_tune(training_words: TrainingWords, tmp_path_factory: pytest.TempPathFactory) -> FineTune:
    """`pneumonia fit --config configs/transfer.yaml` from weights that are made here."""
    folder = tmp_path_factory.mktemp("fine-tuning")
    torch.manual_seed(7)
    torch.save(models.mobilenet_v3_small().state_dict(), folder / "weights.pth")

    def run(run: Path, epochs: int, frozen: int, *options: str) -> PneumoniaCLI:
        callbacks = [
            {"class_path": "pneumonia.training.finetuning.FrozenStage", "init_args": {"epochs": frozen}},
            {"class_path": "lightning.pytorch.callbacks.EMAWeightAveraging", "init_args": {"decay": 0.8}},
        ]
        config = folder / f"frozen{frozen}.yaml"
        config.write_text(yaml.safe_dump({"trainer": {"callbacks": callbacks}}))
        weights = f"--model.network.init_args.weights={folder / 'weights.pth'}"
        stages = [f"--config={config}", f"--trainer.max_epochs={epochs}"]
        return main(training_words("fit", run, *stages, *SETTINGS, weights, *options, config="transfer"))

    return run


class Diary:
    """The network, and of how many parameters the optimiser has a state, when each epoch began and when it ended."""

    def __init__(self) -> None:
        self.weights: list[dict[str, Tensor]] = []
        self.optimized: list[int] = []

    def write(self, trainer: Any, module: Any) -> None:
        self.weights.append({key: value.clone() for key, value in module.network.state_dict().items()})
        self.optimized.append(len(trainer.optimizers[0].state))


@pytest.fixture(scope="module")
def fine_tuned(fine_tune: FineTune, tmp_path_factory: pytest.TempPathFactory) -> tuple[PneumoniaCLI, Diary]:
    """A run of two epochs with the pretrained layers frozen, and two with all."""
    diary, begin = Diary(), FrozenStage.on_train_epoch_start

    def noted(callback: FrozenStage, trainer: Any, module: Any) -> None:
        diary.write(trainer, module)
        begin(callback, trainer, module)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FrozenStage, "on_train_epoch_start", noted)
        # What is left in memory in the end are the averaged weights.
        patch.setattr(ChestXRayClassifier, "on_train_epoch_end", lambda module: diary.write(module.trainer, module))
        made = fine_tune(tmp_path_factory.mktemp("fine-tuned") / "run", EPOCHS, FROZEN)
    return made, diary


def is_new(key: str) -> bool:
    return key.startswith("classifier.")


@pytest.mark.slow
def test_in_the_frozen_stage_the_pretrained_layers_and_their_statistics_stay_as_they_are(
    fine_tuned: tuple[PneumoniaCLI, Diary],
) -> None:
    begun, ended = fine_tuned[1].weights[0], fine_tuned[1].weights[2 * FROZEN - 1]
    assert all(torch.equal(begun[key], ended[key]) for key in begun if not is_new(key))


@pytest.mark.slow
def test_in_the_frozen_stage_the_new_layer_learns(fine_tuned: tuple[PneumoniaCLI, Diary]) -> None:
    begun, ended = fine_tuned[1].weights[0], fine_tuned[1].weights[2 * FROZEN - 1]
    assert not any(torch.equal(begun[key], ended[key]) for key in begun if is_new(key))
    assert fine_tuned[1].optimized[2 * FROZEN - 1] == 2


@pytest.mark.slow
def test_after_the_frozen_stage_the_whole_network_learns(fine_tuned: tuple[PneumoniaCLI, Diary]) -> None:
    made, diary = fine_tuned
    begun, ended = diary.weights[2 * FROZEN], diary.weights[-1]
    assert [key for key in begun if torch.equal(begun[key], ended[key])] == []
    assert diary.optimized[-1] == len(list(made.model.network.parameters()))


@pytest.mark.slow
def test_the_earlier_a_stage_the_less_it_moves(fine_tuned: tuple[PneumoniaCLI, Diary]) -> None:
    made, diary = fine_tuned
    begun, ended = diary.weights[2 * FROZEN], diary.weights[-1]
    names = {id(parameter): name for name, parameter in made.model.network.named_parameters()}
    moved = []
    for group in layer_groups(made.model.network):
        keys = [names[id(parameter)] for parameter in group.parameters() if parameter.ndim > 1]
        moved.append(float(torch.cat([(ended[key] - begun[key]).abs().flatten() for key in keys]).mean()))
    assert len(moved) == 6
    assert all(early < late for early, late in itertools.pairwise(moved))


@pytest.mark.slow
def test_each_group_of_layers_has_the_rate_of_its_depth_at_the_peak(fine_tuned: tuple[PneumoniaCLI, Diary]) -> None:
    made, _ = fine_tuned
    peaks = [group["max_lr"] for group in made.trainer.optimizers[0].param_groups]
    expected = [made.model.learning_rate * DECAY**depth for depth in range(6)]
    assert peaks == pytest.approx([rate for rate in expected for _ in ("decaying", "others")])


@pytest.mark.slow
def test_a_run_of_the_frozen_stage_alone_averages_the_pretrained_layers_to_what_they_were(
    fine_tune: FineTune, tmp_path: Path
) -> None:
    made = fine_tune(tmp_path / "run", 1, 1)
    last = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    file = made.config.fit.model.network.init_args.weights
    pretrained = TorchvisionBackbone("mobilenet_v3_small", file).state_dict()
    expected = {f"network.{key}": value for key, value in pretrained.items() if not is_new(key)}
    assert all(torch.equal(last["current_model_state"][key], value) for key, value in expected.items())
    for key, value in expected.items():  # a mean of equal numbers is rounded
        torch.testing.assert_close(last["state_dict"][key], value, rtol=1e-6, atol=1e-9)


def same(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


class StoppedError(Exception):
    pass


@pytest.mark.slow
@pytest.mark.parametrize("epoch", [FROZEN - 1, FROZEN], ids=["in the frozen stage", "in the first epoch after it"])
def test_a_run_that_stopped_is_resumed_across_the_end_of_the_frozen_stage_bit_for_bit(
    fine_tune: FineTune,
    fine_tuned: tuple[PneumoniaCLI, Diary],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    epoch: int,
) -> None:
    uninterrupted, step = Path(fine_tuned[0].trainer.default_root_dir), ChestXRayClassifier.training_step

    def stop(module: ChestXRayClassifier, *arguments: Any) -> Tensor:
        if module.global_step == epoch * STEPS + 1:
            raise StoppedError
        return step(module, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(ChestXRayClassifier, "training_step", stop)
        with pytest.raises(StoppedError):
            fine_tune(tmp_path / "run", EPOCHS, FROZEN)
    assert torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)["epoch"] == epoch - 1
    fine_tune(tmp_path / "run", EPOCHS, FROZEN, "--ckpt_path=last")
    ours, theirs = (
        torch.load(run / "checkpoints" / "last.ckpt", weights_only=True) for run in (tmp_path / "run", uninterrupted)
    )
    for key in ("state_dict", "current_model_state", "averaging_state", "optimizer_states", "lr_schedulers"):
        assert same(ours[key], theirs[key]), key
    assert (tmp_path / "run" / "metrics.csv").read_bytes() == (uninterrupted / "metrics.csv").read_bytes()


@pytest.mark.slow
def test_a_fine_tuned_network_is_exported(
    fine_tuned: tuple[PneumoniaCLI, Diary], tree: Path, cache_dir: Path, tmp_path: Path
) -> None:
    from pneumonia.bundle import load_bundle
    from pneumonia.export import main as export

    run = Path(fine_tuned[0].trainer.default_root_dir)
    words = ["--checkpoint", run / "checkpoints" / "best.ckpt", "--data", tree, "--cache-dir", cache_dir]
    export([*map(str, words), "--views=0", "--output", str(tmp_path / "bundle")])
    assert load_bundle(tmp_path / "bundle").input_size == 32


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--trainer.callbacks+=pneumonia.training.finetuning.FrozenStage"], "SmallResNet does not say which of its"),
        (
            ["--trainer.callbacks+=pneumonia.training.finetuning.FrozenStage", "--trainer.callbacks.epochs=-1"],
            "can't last -1 epochs; give 0 or more",
        ),
        (["--model.layer_decay=0"], "layer_decay is 0; give a factor above 0 and at most 1"),
        (["--model.layer_decay=1.5"], r"layer_decay is 1\.5; give a factor"),
    ],
)
def test_a_setting_that_can_not_work_is_an_error_that_says_so(
    training_words: TrainingWords, tmp_path: Path, options: list[str], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        main(training_words("fit", tmp_path, *options))


def ids(parameters: Any) -> list[int]:
    return [id(parameter) for parameter in parameters]


@pytest.mark.parametrize("make", [SmallResNet, lambda: TorchvisionBackbone("mobilenet_v3_small")])
def test_without_layer_decay_there_are_two_groups_in_the_network_s_order(make: Callable[[], nn.Module]) -> None:
    network = make()
    decaying, others = parameter_groups(network, 0.1, 0.05, 1.0)
    assert ids(decaying["params"]) == ids(p for p in network.parameters() if p.ndim > 1)
    assert ids(others["params"]) == ids(p for p in network.parameters() if p.ndim <= 1)
    assert [decaying["weight_decay"], others["weight_decay"]] == [0.05, 0.0]
    assert {decaying["lr"], others["lr"]} == {0.1}


def test_with_layer_decay_the_optimiser_has_each_parameter_once() -> None:
    network = TorchvisionBackbone("mobilenet_v3_small")
    found = [id_ for group in parameter_groups(network, 0.1, 0.05, 0.5) for id_ in ids(group["params"])]
    assert sorted(found) == sorted(ids(network.parameters()))


def test_a_network_that_names_no_groups_learns_at_one_rate() -> None:
    assert {group["lr"] for group in parameter_groups(SmallResNet(), 0.1, 0.05, 0.5)} == {0.1}
