"""Torchvision's classifiers as networks of this package: one gray channel in, the activation map out."""

from collections.abc import Iterator
from itertools import groupby

import torch
from torch import Tensor, nn
from torchvision import models

from pneumonia.errors import ConfigError
from pneumonia.models.layers import GradCamClassifier, PooledClassifier, Standardize
from pneumonia.models.outputs import NetworkOutput
from pneumonia.models.weights import load_weights


class TorchvisionBackbone(nn.Module):
    """The convolutional part of a torchvision classifier, then global average pooling and one linear layer.

    The first convolution is summed over its input channels: that is what a gray film copied into three channels would
    get from it, at a third of the cost, and it keeps what the pretrained filters respond to. Standardised films have
    the mean and variance that ImageNet's normalisation gives photographs.

    A ConvNeXt normalises its pooled features. That layer is kept, with its weights, and the activation map is Grad-CAM;
    it is exact for the others.

    Args:
        name: `resnet18`, `resnet50`, `densenet121`, `efficientnet_b0`, `efficientnet_v2_s`, `convnext_tiny` and their
            relatives.
        weights: None for none; a name that torchvision knows (`DEFAULT`, `IMAGENET1K_V1`), downloaded by it and
            checked; or a local file of a state dict of the whole torchvision classifier (.pt, .pth).
        classes: K, number of classes.
        dropout: on the pooled features, in training.

    Raises `ConfigError` for a name or weights that can't be used.
    """

    def __init__(
        self, name: str = "resnet18", weights: str | None = None, classes: int = 2, dropout: float = 0.2
    ) -> None:
        super().__init__()
        if name not in models.list_models(models):
            raise ConfigError(f"torchvision has no classifier {name!r}; resnet18 and densenet121 are two.")
        classifier = models.get_model(name, weights=None)
        self.standardize = Standardize()
        self.features = _features(classifier, name)
        if weights is not None:
            load_weights(classifier, name, weights)
        _take_gray(self.features)
        self._stages, channels = _stages(self.features)
        self.classifier = _head(classifier, channels, classes, dropout)

    def forward(self, images: Tensor) -> NetworkOutput:
        """Images (N, 1, H, W), gray levels 0..255 of any dtype; H and W at least 32."""
        output: NetworkOutput = self.classifier(self.features(self.standardize(images)))
        return output

    def layer_groups(self) -> list[nn.ModuleList]:
        """The stages, and the new linear layer; a stage is the layers whose maps have one size (He et al. 2016)."""
        *early, last = self._stages
        kept = [self.classifier.norm] if isinstance(self.classifier, GradCamClassifier) else []
        new = self.classifier.linear
        return [*map(nn.ModuleList, early), nn.ModuleList([*last, *kept]), nn.ModuleList([new])]


def _features(classifier: nn.Module, name: str) -> nn.Sequential:
    """Everything before the global pooling."""
    if isinstance(classifier, models.ResNet):
        return nn.Sequential(*list(classifier.children())[:-2])
    if isinstance(classifier, models.DenseNet):
        return nn.Sequential(classifier.features, nn.ReLU(inplace=True))
    features = getattr(classifier, "features", None)
    if isinstance(features, nn.Sequential) and hasattr(classifier, "classifier"):
        return features
    raise ConfigError(f"{name!r} does not end in pooled feature maps; choose a convolutional network, e.g. resnet18.")


def _head(classifier: nn.Module, channels: int, classes: int, dropout: float) -> PooledClassifier | GradCamClassifier:
    if not isinstance(classifier, models.ConvNeXt):
        return PooledClassifier(channels, classes, dropout)
    norm = classifier.classifier[0]
    head = GradCamClassifier(channels, classes, dropout, norm.eps)
    head.norm.load_state_dict(norm.state_dict())
    return head


@torch.no_grad()
def _stages(features: nn.Sequential) -> tuple[list[list[nn.Module]], int]:
    """The layers that have weights, from input to output, by the size of their maps; and the last number of channels.

    The network is left in training mode.
    """
    maps, sized = torch.zeros(1, 1, 64, 64), []
    features.eval()
    for layer in _layers(features):
        maps = layer(maps)
        if any(True for _ in layer.parameters()):
            sized.append((maps.shape[-1], layer))
    features.train()
    return [[layer for _, layer in same] for _, same in groupby(sized, key=lambda pair: pair[0])], maps.shape[1]


def _layers(module: nn.Module) -> Iterator[nn.Module]:
    """What runs one after another."""
    if type(module).forward is not nn.Sequential.forward:
        yield module
        return
    for child in module.children():
        yield from _layers(child)


def _take_gray(features: nn.Sequential) -> None:
    """Replace the first convolution by the same one summed over its input channels."""
    for parent in features.modules():
        for name, child in parent.named_children():
            if isinstance(child, nn.Conv2d):
                gray = nn.Conv2d(
                    1,
                    child.out_channels,
                    child.kernel_size,  # type: ignore[arg-type]
                    child.stride,  # type: ignore[arg-type]
                    child.padding,  # type: ignore[arg-type]
                    child.dilation,  # type: ignore[arg-type]
                    bias=child.bias is not None,
                )
                with torch.no_grad():
                    gray.weight.copy_(child.weight.sum(dim=1, keepdim=True))
                    if child.bias is not None and gray.bias is not None:
                        gray.bias.copy_(child.bias)
                setattr(parent, name, gray)
                return
