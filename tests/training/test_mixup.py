"""Mixup: pairs of films and of labels are mixed by one share, in a real run and in the loss of a step."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pneumonia.models.outputs import NetworkOutput
from pneumonia.training.cli import main
from pneumonia.training.module import ChestXRayClassifier

TrainingWords = Callable[..., list[str]]


class GrayLevels(nn.Module):
    """A logit that is linear in the film: of a mixture it is the mixture of the logits."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(0.1))

    def forward(self, images: Tensor) -> NetworkOutput:
        self.seen = images
        gray = self.weight * images.mean(dim=(1, 2, 3))
        logits = torch.stack([-gray, gray], dim=1)
        return NetworkOutput(logits, images, logits)


@pytest.fixture
def batch() -> dict[str, Tensor]:
    """Four films of one gray each, the class by their brightness."""
    gray = torch.tensor([1.0, 2.0, 30.0, 40.0])
    return {"image": gray[:, None, None, None].expand(4, 1, 8, 8).clone(), "label": torch.tensor([0, 0, 1, 1])}


def step(batch: dict[str, Tensor], seed: int = 0, **options: float) -> tuple[Tensor, Tensor]:
    """The loss of one training step, and the films that the network saw."""
    network = GrayLevels()
    classifier = ChestXRayClassifier(network, balance_classes=False, **options)  # type: ignore[arg-type]
    torch.manual_seed(seed)
    return classifier.training_step(batch, 0), network.seen  # type: ignore[arg-type]


def weights_of(folder: Path) -> dict[str, Tensor]:
    content = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    return {key: value for key, value in content["state_dict"].items() if key.startswith("network.")}


@pytest.fixture(scope="module")
def train(training_words: TrainingWords, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., dict[str, Tensor]]:
    """The weights of `pneumonia fit --config configs/debug.yaml`, cut to an epoch."""

    def run(*options: str) -> dict[str, Tensor]:
        folder = tmp_path_factory.mktemp("runs") / "mixup"
        main(training_words("fit", folder, "--trainer.max_epochs=1", *options))
        return weights_of(folder)

    return run


@pytest.mark.slow
def test_a_run_with_mixup_ends_with_other_weights_and_the_same_ones_again(
    train: Callable[..., dict[str, Tensor]],
) -> None:
    plain, mixed, again = train(), train("--model.mixup=0.2"), train("--model.mixup=0.2")
    assert all(value.isfinite().all() for value in mixed.values())
    assert any(not torch.equal(value, plain[key]) for key, value in mixed.items())
    assert all(torch.equal(value, again[key]) for key, value in mixed.items())


@pytest.mark.slow
def test_a_run_without_augmentation_can_mix_too(train: Callable[..., dict[str, Tensor]]) -> None:
    assert train("--model.mixup=0.2", "--model.augmentation=null")


def test_without_mixup_the_loss_is_the_plain_one_of_the_films_as_they_are(batch: dict[str, Tensor]) -> None:
    loss, seen = step(batch, mixup=0.0)
    gray = 0.1 * batch["image"].mean(dim=(1, 2, 3))
    torch.testing.assert_close(loss, F.cross_entropy(torch.stack([-gray, gray], dim=1), batch["label"]))
    assert torch.equal(seen, batch["image"])


def test_no_mixup_is_the_default(batch: dict[str, Tensor]) -> None:
    assert torch.equal(step(batch)[1], batch["image"])


def test_every_film_is_mixed_with_one_other_by_the_share_of_the_batch() -> None:
    # Each film has a pixel of its own, so that row i of what the network sees is what film i is made of.
    batch = {"image": torch.eye(8)[:, None, None, :], "label": torch.arange(8) % 2}
    made_of = step(batch, mixup=1.0)[1][:, 0, 0]
    own = made_of.diagonal()
    share = own.min()
    assert 0 < share < 1
    torch.testing.assert_close(made_of.sum(dim=0), torch.ones(8))
    torch.testing.assert_close(made_of.sum(dim=1), torch.ones(8))
    torch.testing.assert_close(own[own < 1], share.expand(int((own < 1).sum())))
    assert ((made_of > 0).sum(dim=1) <= 2).all()


@pytest.mark.parametrize("seed", range(5))
def test_labels_count_by_the_share_of_their_film(seed: int) -> None:
    # One dark film and one bright one, whose gray tells the share of each.
    batch = {"image": torch.tensor([0.0, 1.0])[:, None, None, None].expand(2, 1, 8, 8), "label": torch.tensor([0, 1])}
    loss, seen = step(batch, seed, mixup=1.0)
    bright = seen.mean(dim=(1, 2, 3))
    logits = 0.1 * torch.stack([-bright, bright], dim=1)
    expected = F.cross_entropy(logits, torch.stack([1 - bright, bright], dim=1))
    torch.testing.assert_close(loss, expected)


def test_the_loss_teaches_the_network(batch: dict[str, Tensor]) -> None:
    network = GrayLevels()
    ChestXRayClassifier(network, mixup=0.5).training_step(batch, 0).backward()  # type: ignore[arg-type]
    assert network.weight.grad is not None
    assert network.weight.grad != 0
