"""Networks: an exact activation map, an answer that exposure does not change, and torchvision's weights kept."""

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torchvision import models

from pneumonia.errors import ConfigError
from pneumonia.models import SmallResNet, TorchvisionBackbone
from pneumonia.models.layers import NormalizeLocally, PooledClassifier, Standardize

BACKBONES = ["resnet18", "densenet121", "efficientnet_b0", "convnext_tiny"]


@pytest.fixture(scope="module")
def films() -> Tensor:
    """(3, 1, 64, 64) gray levels, uint8."""
    levels = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 255
    return nn.functional.interpolate(levels, size=64, mode="bilinear").to(torch.uint8)


@pytest.fixture(scope="module", params=["small", "small-local", "resnet18", "densenet121"])
def network(request: pytest.FixtureRequest) -> nn.Module:
    torch.manual_seed(0)
    if request.param.startswith("small"):
        neighbourhood = 25 if request.param == "small-local" else None
        made: nn.Module = SmallResNet(widths=(8, 16), depths=(1, 2), neighbourhood=neighbourhood)
    else:
        made = TorchvisionBackbone(request.param)
    nn.init.normal_(made.classifier.linear.bias)  # type: ignore[union-attr,arg-type]
    return made.eval()


@torch.inference_mode()
def test_the_map_s_mean_over_all_places_plus_the_bias_is_the_logits(network: nn.Module, films: Tensor) -> None:
    output = network(films)
    bias = network.classifier.linear.bias  # type: ignore[union-attr]
    torch.testing.assert_close(output.activation_map.mean(dim=(2, 3)) + bias, output.logits, atol=1e-4, rtol=1e-4)


@torch.inference_mode()
def test_the_outputs_have_the_shapes_that_are_promised(network: nn.Module, films: Tensor) -> None:
    output = network(films)
    assert output.logits.shape == (3, 2)
    assert output.activation_map.shape[:2] == (3, 2)
    assert output.embedding.shape == (3, network.classifier.linear.in_features)  # type: ignore[union-attr]
    assert {part.dtype for part in output} == {torch.float32}


@torch.inference_mode()
def test_exposure_and_offset_do_not_change_the_answer(network: nn.Module, films: Tensor) -> None:
    darker = 0.4 * films.float() + 60
    torch.testing.assert_close(network(darker).logits, network(films).logits, atol=2e-3, rtol=1e-3)


@torch.inference_mode()
def test_a_film_s_answer_does_not_depend_on_the_others_of_its_batch(network: nn.Module, films: Tensor) -> None:
    torch.testing.assert_close(network(films).logits[1:2], network(films[1:2]).logits, atol=1e-4, rtol=1e-4)


@torch.inference_mode()
def test_a_blank_film_has_a_finite_answer(network: nn.Module) -> None:
    assert network(torch.full((1, 1, 64, 64), 255, dtype=torch.uint8)).logits.isfinite().all()


@torch.inference_mode()
def test_logits_are_float32_also_under_autocast(network: nn.Module, films: Tensor) -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert network(films).logits.dtype == torch.float32


def test_a_network_learns_in_all_its_weights(films: Tensor) -> None:
    torch.manual_seed(0)
    network = SmallResNet(widths=(8, 16), depths=(1, 2))
    network(films).logits.square().sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


@given(st.floats(0.05, 20), st.floats(-100, 100))
def test_standardised_films_have_mean_0_and_deviation_1_whatever_the_exposure(gain: float, offset: float) -> None:
    film = torch.rand(2, 1, 16, 16, generator=torch.Generator().manual_seed(1)) * 100
    standard = Standardize()(film * gain + offset)
    if (film * gain).std() > 1.1:
        torch.testing.assert_close(standard.mean(dim=(1, 2, 3)), torch.zeros(2), atol=1e-3, rtol=0)
        torch.testing.assert_close(standard.square().mean(dim=(1, 2, 3)), torch.ones(2), atol=1e-3, rtol=0)


def test_a_constant_film_is_standardised_to_zeros() -> None:
    assert not Standardize()(torch.full((1, 1, 8, 8), 37, dtype=torch.uint8)).any()


@pytest.mark.parametrize("window", [3, 9, 25])
def test_each_pixel_is_normalised_by_its_neighbourhood_cut_off_at_the_film_s_edge(window: int) -> None:
    film = torch.rand(1, 1, 20, 14, generator=torch.Generator().manual_seed(1)) * 255
    standard, half = Standardize()(film)[0, 0], window // 2

    def mean(image: Tensor) -> Tensor:
        return torch.stack(
            [
                image[max(0, y - half) : y + half + 1, max(0, x - half) : x + half + 1].mean()
                for y in range(20)
                for x in range(14)
            ]
        ).view(20, 14)

    centred = standard - mean(standard)
    expected = centred / (mean(centred.square()) + 0.05).sqrt()
    torch.testing.assert_close(NormalizeLocally(window)(film)[0, 0], expected, atol=1e-4, rtol=1e-4)


def test_the_means_of_a_neighbourhood_keep_their_digits_in_mixed_precision() -> None:
    film = torch.randint(0, 256, (1, 1, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    expected = NormalizeLocally(9)(film)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(NormalizeLocally(9)(film), expected)


def test_what_varies_slowly_over_a_film_goes_with_the_neighbourhood_s_mean() -> None:
    texture = 40 * torch.rand(1, 1, 64, 64, generator=torch.Generator().manual_seed(1))
    scatter = torch.linspace(0, 150, 64)
    layers = (Standardize(), NormalizeLocally(9))
    whole, local = (layer(texture + scatter)[..., 8:-8, 8:-8] - layer(texture)[..., 8:-8, 8:-8] for layer in layers)
    assert local.square().mean() < 0.1 * whole.square().mean()


@pytest.mark.parametrize("window", [-1, 0, 1, 8])
def test_a_neighbourhood_without_a_middle_is_an_error(window: int) -> None:
    with pytest.raises(ConfigError, match="odd number from 3 on"):
        NormalizeLocally(window)


def test_dropout_acts_in_training_only() -> None:
    classifier, features = PooledClassifier(64, 2, dropout=0.5), torch.rand(1, 64, 4, 4)
    assert not torch.equal(classifier(features).logits, classifier(features).logits)
    assert torch.equal(classifier.eval()(features).logits, classifier(features).logits)


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_there_are_as_many_logits_as_classes(films: Tensor, classes: int) -> None:
    assert SmallResNet(classes, (4,), (1,)).eval()(films).logits.shape == (3, classes)


@pytest.mark.parametrize("side", [32, 33, 100])
def test_films_of_any_size_are_taken(side: int) -> None:
    output = SmallResNet(widths=(4, 8), depths=(1, 1)).eval()(torch.zeros(1, 1, side, side))
    assert output.activation_map.shape == (1, 2, (side + 3) // 4, (side + 3) // 4)  # halved twice, rounded up


def test_widths_and_depths_that_name_other_stages_are_an_error() -> None:
    with pytest.raises(ConfigError, match="widths and depths name 2 and 1 stages"):
        SmallResNet(widths=(8, 16), depths=(1,))


def features_of(classifier: nn.Module, name: str, images: Tensor) -> Tensor:
    """What torchvision's own classifier computes of RGB images before it pools."""
    if name == "resnet18":
        return nn.Sequential(*list(classifier.children())[:-2])(images)
    features: Tensor = classifier.features(images)  # type: ignore[operator]
    return features.relu() if name == "densenet121" else features


@pytest.mark.parametrize(("name", "suffix"), [*((name, ".pt") for name in BACKBONES), ("resnet18", ".pth")])
@torch.inference_mode()
def test_a_gray_film_gets_the_features_that_its_rgb_copy_gets_from_the_local_weights(
    name: str, suffix: str, tmp_path: Path, films: Tensor
) -> None:
    torch.manual_seed(7)
    classifier = models.get_model(name, weights=None).eval()
    torch.save(classifier.state_dict(), tmp_path / f"weights{suffix}")
    torch.manual_seed(8)
    network = TorchvisionBackbone(name, str(tmp_path / f"weights{suffix}")).eval()
    standard = network.standardize(films)
    expected = features_of(classifier, name, standard.expand(-1, 3, -1, -1))
    torch.testing.assert_close(network.features(standard), expected, atol=1e-4, rtol=1e-3)


def test_the_local_weights_may_be_of_a_classifier_of_other_classes(tmp_path: Path) -> None:
    torch.save(models.resnet18(num_classes=7).state_dict(), tmp_path / "weights.pt")
    assert TorchvisionBackbone("resnet18", str(tmp_path / "weights.pt"), classes=3).classifier.linear.out_features == 3


def test_a_backbone_is_made_in_training_mode(films: Tensor) -> None:
    assert all(module.training for module in TorchvisionBackbone("resnet18").modules())


def test_making_a_backbone_does_not_change_its_normalisation(tmp_path: Path) -> None:
    torch.save(models.resnet18().state_dict(), tmp_path / "weights.pt")
    network = TorchvisionBackbone("resnet18", str(tmp_path / "weights.pt"))
    counts = [value for key, value in network.state_dict().items() if key.endswith("num_batches_tracked")]
    assert not any(counts)


@pytest.mark.parametrize("name", ["nonsense", "", "fasterrcnn_resnet50_fpn", "vit_b_16"])
def test_a_backbone_that_is_no_convolutional_classifier_is_an_error(name: str) -> None:
    with pytest.raises(ConfigError, match=r"resnet18"):
        TorchvisionBackbone(name)


def test_weights_that_torchvision_does_not_know_are_an_error_that_lists_those_it_does() -> None:
    with pytest.raises(ConfigError, match=r"resnet18 has no weights 'BEST': give DEFAULT, IMAGENET1K_V1, or a \.pt"):
        TorchvisionBackbone("resnet18", "BEST")


@pytest.mark.parametrize("content", [None, b"", b"no weights", b"PK\3\4"])
def test_a_file_that_holds_no_weights_is_an_error_that_names_it(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "weights.pt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"weights\.pt"):
        TorchvisionBackbone("resnet18", str(path))


@pytest.mark.parametrize(
    "content", [torch.zeros(3), {}, {"conv1.weight": torch.zeros(1)}, {"conv1.weight": "text"}, {1: 2}]
)
def test_a_file_that_holds_something_else_is_an_error_that_names_it(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "weights.pt")
    with pytest.raises(ConfigError, match=r"weights\.pt (holds|lack)"):
        TorchvisionBackbone("resnet18", str(tmp_path / "weights.pt"))


def test_weights_of_another_network_are_an_error_that_names_a_tensor(tmp_path: Path) -> None:
    torch.save(models.densenet121().state_dict(), tmp_path / "weights.pt")
    with pytest.raises(ConfigError, match=r"lack \d+ of \d+ tensors, e.g. '[\w.]+'"):
        TorchvisionBackbone("resnet18", str(tmp_path / "weights.pt"))


def test_a_pickle_that_runs_a_command_is_refused_and_not_run(tmp_path: Path) -> None:
    import os

    class Bomb:
        def __reduce__(self) -> object:
            return os.mkdir, (str(tmp_path / "exploded"),)

    torch.save(Bomb(), tmp_path / "weights.pt")
    with pytest.raises(ConfigError):
        TorchvisionBackbone("resnet18", str(tmp_path / "weights.pt"))
    assert not (tmp_path / "exploded").exists()
