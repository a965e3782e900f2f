"""The plain way that benchmarks compare with: a four-layer CNN of 13 million weights at 224 px, and torchvision."""

from collections.abc import Callable
from typing import Any

from torch import nn
from torchvision import transforms

_MEAN, _DEVIATION = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def plain_network() -> nn.Module:
    """(N, 3, 224, 224) to logits (N, 2)."""
    layers: list[nn.Module] = []
    for inputs, outputs in ((3, 32), (32, 64), (64, 128), (128, 256)):
        layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(256 * 14 * 14, 256), nn.ReLU(), nn.Linear(256, 2))


def plain_transform(*augmentations: Callable[..., Any]) -> Callable[..., Any]:
    """An RGB image of any size to a standardised tensor (3, 224, 224)."""
    steps = [transforms.Resize((224, 224)), *augmentations, transforms.ToTensor()]
    return transforms.Compose([*steps, transforms.Normalize(_MEAN, _DEVIATION)])  # type: ignore[no-any-return]
