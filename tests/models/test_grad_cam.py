"""Grad-CAM: the map is what autograd makes of the paper's formula, and the exact map where there is one."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from pneumonia.models import SmallResNet, TorchvisionBackbone
from pneumonia.models.groups import has_exact_map
from pneumonia.models.layers import GradCamClassifier, PooledClassifier


def textbook(head: Callable[[Tensor], Tensor], features: Tensor) -> Tensor:
    """Selvaraju et al. 2017, equations 1 and 2, by autograd; (N, D, h, w) to (N, K, h, w)."""
    features = features.detach().requires_grad_()
    logits, maps = head(features), []
    for k in range(logits.shape[1]):
        (gradient,) = torch.autograd.grad(logits[:, k].sum(), features, retain_graph=True)
        weights = gradient.mean(dim=(2, 3), keepdim=True)
        maps.append((weights * features).sum(dim=1).relu())
    return torch.stack(maps, dim=1).detach()


def classifier(features: int, classes: int, seed: int = 0) -> GradCamClassifier:
    torch.manual_seed(seed)
    made = GradCamClassifier(features, classes, dropout=0.5).eval()
    nn.init.uniform_(made.norm.weight, 0.5, 2.0)
    nn.init.normal_(made.norm.bias)
    return made


@given(st.integers(1, 3), st.integers(8, 40), st.integers(1, 5), st.integers(1, 6), st.floats(0.1, 30))
def test_the_map_is_the_paper_s_times_the_places(n: int, d: int, k: int, side: int, scale: float) -> None:
    made = classifier(d, k)
    features = torch.randn(n, d, side, side + 1, generator=torch.Generator().manual_seed(d)) * scale
    expected = textbook(lambda maps: made(maps).logits, features) * side * (side + 1)
    with torch.inference_mode():
        found = made(features).activation_map.relu()
    tolerance = 1e-4 * max(1.0, float(expected.max()))
    torch.testing.assert_close(found, expected, atol=tolerance, rtol=1e-4)


def test_the_gradient_of_a_double_is_autograd_s_to_the_last_digits() -> None:
    made = classifier(24, 3).double()
    pooled = torch.randn(4, 24, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda e: made.linear(made.norm(e)).sum(dim=0), pooled)
    torch.testing.assert_close(made.gradient(pooled), jacobian.transpose(0, 1), atol=1e-12, rtol=1e-10)


def test_of_a_linear_layer_alone_the_paper_s_map_is_the_exact_one() -> None:
    made = PooledClassifier(8, 3).eval()
    features = torch.randn(2, 8, 4, 5)
    expected = textbook(lambda maps: made(maps).logits, features) * 20
    torch.testing.assert_close(made(features).activation_map.relu(), expected, atol=1e-5, rtol=1e-4)


def test_dropout_does_not_act_on_the_map() -> None:
    made, features = classifier(8, 2), torch.randn(2, 8, 3, 3)
    still = made(features).activation_map
    torch.testing.assert_close(made.train()(features).activation_map, still)


def test_a_map_s_mean_says_nothing_of_the_logit() -> None:
    made = classifier(8, 2)
    output = made(torch.randn(2, 8, 3, 3) + 1)
    assert output.activation_map.mean(dim=(2, 3)).abs().max() < 1e-4
    assert output.logits.abs().max() > 0.1


def test_maps_that_are_all_alike_have_a_finite_map() -> None:
    assert classifier(8, 2)(torch.ones(1, 8, 3, 3)).activation_map.isfinite().all()


def test_a_network_learns_through_the_normalisation() -> None:
    made = classifier(8, 2)
    made(torch.randn(2, 8, 3, 3)).logits.square().sum().backward()
    assert all(parameter.grad is not None for parameter in made.parameters())


@torch.inference_mode()
def test_convnext_ends_as_torchvision_s_does() -> None:
    from torchvision import models

    torch.manual_seed(0)
    theirs = models.convnext_tiny(num_classes=2).eval()
    network = TorchvisionBackbone("convnext_tiny").eval()
    norm, _, linear = theirs.classifier
    assert isinstance(network.classifier, GradCamClassifier)
    nn.init.uniform_(norm.weight, 0.5, 2.0)
    network.classifier.norm.load_state_dict(norm.state_dict())
    network.classifier.linear.load_state_dict(linear.state_dict())
    features = torch.randn(2, 768, 2, 2)
    torch.testing.assert_close(network.classifier(features).logits, theirs.classifier(theirs.avgpool(features)))


@pytest.mark.parametrize(
    ("network", "exact"),
    [
        (lambda: SmallResNet(widths=(4,), depths=(1,)), True),
        (lambda: TorchvisionBackbone("resnet18"), True),
        (lambda: TorchvisionBackbone("convnext_tiny"), False),
        (lambda: nn.Linear(1, 1), False),
    ],
    ids=["small", "resnet18", "convnext_tiny", "unknown"],
)
def test_a_network_says_whether_its_map_is_exact(network: Callable[[], nn.Module], exact: bool) -> None:
    assert has_exact_map(network()) is exact
