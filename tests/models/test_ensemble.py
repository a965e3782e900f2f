"""An ensemble: the mean of its members, exact where they are, in one graph, from several beginnings."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pneumonia.errors import ConfigError
from pneumonia.export import export_graph
from pneumonia.inference.engine import OnnxRuntimeEngine
from pneumonia.models import Ensemble, SmallResNet, TorchvisionBackbone
from pneumonia.models.groups import has_exact_map
from pneumonia.training.module import ChestXRayClassifier

SMALL = partial(SmallResNet, widths=(8, 16), depths=(1, 1))


@pytest.fixture(scope="module")
def films() -> Tensor:
    """(5, 1, 64, 64) gray levels, uint8."""
    levels = torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 255
    return nn.functional.interpolate(levels, size=64, mode="bilinear").to(torch.uint8)


def ensemble_of(size: int, classes: int = 2) -> Ensemble:
    torch.manual_seed(0)
    made = Ensemble([SMALL] * size, classes)
    for member in made.members:
        nn.init.normal_(member.classifier.linear.bias)  # type: ignore[union-attr,arg-type]
    return made.eval()


@pytest.fixture(scope="module")
def ensemble() -> Ensemble:
    return ensemble_of(3)


@torch.inference_mode()
def test_its_logits_are_the_mean_of_its_members(ensemble: Ensemble, films: Tensor) -> None:
    logits = [member(films).logits for member in ensemble.members]
    torch.testing.assert_close(ensemble(films).logits, sum(logits) / 3)


@torch.inference_mode()
def test_its_map_s_mean_over_all_places_plus_the_mean_bias_is_its_logits(ensemble: Ensemble, films: Tensor) -> None:
    output = ensemble(films)
    bias = torch.stack([member.classifier.linear.bias for member in ensemble.members]).mean(dim=0)  # type: ignore[union-attr]
    torch.testing.assert_close(output.activation_map.mean(dim=(2, 3)) + bias, output.logits, atol=1e-4, rtol=1e-4)


@torch.inference_mode()
def test_its_embedding_is_its_members_side_by_side(ensemble: Ensemble, films: Tensor) -> None:
    embeddings = [member(films).embedding for member in ensemble.members]
    assert torch.equal(ensemble(films).embedding, torch.cat(embeddings, dim=1))


@torch.inference_mode()
@pytest.mark.parametrize("classes", [2, 3])
def test_the_outputs_have_the_shapes_that_are_promised(films: Tensor, classes: int) -> None:
    output = ensemble_of(2, classes)(films)
    assert output.logits.shape == (5, classes)
    assert output.activation_map.shape[:2] == (5, classes)
    assert output.embedding.shape == (5, 2 * 16)


@torch.inference_mode()
def test_an_ensemble_of_one_answers_as_its_member(films: Tensor) -> None:
    alone = ensemble_of(1)
    for ours, theirs in zip(alone(films), alone.members[0](films), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_its_members_begin_differently(ensemble: Ensemble) -> None:
    weights = [nn.utils.parameters_to_vector(member.stem.parameters()) for member in ensemble.members]  # type: ignore[union-attr]
    assert not any(torch.equal(weights[i], weights[j]) for i, j in [(0, 1), (0, 2), (1, 2)])


def test_its_members_learn_nothing_from_each_other(films: Tensor) -> None:
    ensemble = ensemble_of(2)
    ensemble.members[0](films).logits.sum().backward()
    assert all(parameter.grad is None for parameter in ensemble.members[1].parameters())


def test_in_training_each_member_has_a_loss_of_its_own(films: Tensor) -> None:
    labels = torch.tensor([0, 1, 0, 1, 1])
    ensemble = ensemble_of(2)
    loss = ChestXRayClassifier(ensemble, balance_classes=False).training_step({"image": films, "label": labels}, 0)  # type: ignore[typeddict-item]
    own = [nn.functional.cross_entropy(member(films).logits, labels) for member in ensemble.members]
    torch.testing.assert_close(loss, sum(own) / 2)


def test_an_ensemble_of_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="ensemble of no networks"):
        Ensemble([])


@torch.inference_mode()
def test_its_members_may_be_of_several_forms(films: Tensor) -> None:
    ensemble = Ensemble([SMALL, partial(SMALL, neighbourhood=9), partial(SMALL, widths=(4, 12))]).eval()
    logits = [member(films).logits for member in ensemble.members]
    output = ensemble(films)
    torch.testing.assert_close(output.logits, sum(logits) / 3)
    assert output.embedding.shape == (5, 16 + 16 + 12)


def test_its_map_is_exact_where_its_members_are(ensemble: Ensemble) -> None:
    assert has_exact_map(ensemble)
    assert not has_exact_map(Ensemble([lambda classes: TorchvisionBackbone("convnext_tiny", classes=classes)]))


@pytest.mark.slow
def test_it_is_exported_as_it_is_in_one_graph(ensemble: Ensemble, films: Tensor, tmp_path: Path) -> None:
    with torch.inference_mode():
        expected = ensemble(films)
    export_graph(ensemble, 64, tmp_path / "model.onnx")
    engine = OnnxRuntimeEngine(tmp_path / "model.onnx", threads=1)
    for count in (1, 5):
        for found, wanted in zip(engine.run(films[:count, 0].numpy()), expected, strict=True):
            np.testing.assert_allclose(found, wanted[:count].numpy(), atol=1e-3, rtol=1e-3)
