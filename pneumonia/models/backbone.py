"""Torchvision's classifiers as networks of this package: one gray channel in, the exact activation map out."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchvision import models

from pneumonia.errors import ConfigError
from pneumonia.models.layers import PooledClassifier, Standardize
from pneumonia.models.outputs import NetworkOutput


class TorchvisionBackbone(nn.Module):
    """The convolutional part of a torchvision classifier, then global average pooling and one linear layer.

    The first convolution is summed over its input channels: that is what a gray film copied into three channels would
    get from it, at a third of the cost, and it keeps what the pretrained filters respond to. Standardised films have
    the mean and variance that ImageNet's normalisation gives photographs.

    Args:
        name: `resnet18`, `resnet50`, `densenet121`, `efficientnet_b0`, `convnext_tiny` and their relatives.
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
        if weights is not None:
            _load(classifier, _state_dict(name, weights), weights)
        self.standardize = Standardize()
        self.features = _features(classifier, name)
        _take_gray(self.features)
        with torch.no_grad():
            channels = self.features.eval()(torch.zeros(1, 1, 64, 64)).shape[1]
        self.features.train()
        self.classifier = PooledClassifier(channels, classes, dropout)

    def forward(self, images: Tensor) -> NetworkOutput:
        """Images (N, 1, H, W), gray levels 0..255 of any dtype; H and W at least 32."""
        output: NetworkOutput = self.classifier(self.features(self.standardize(images)))
        return output


def _features(classifier: nn.Module, name: str) -> nn.Sequential:
    """Everything before the global pooling."""
    if isinstance(classifier, models.ResNet):
        return nn.Sequential(*list(classifier.children())[:-2])
    if isinstance(classifier, models.DenseNet):
        return nn.Sequential(classifier.features, nn.ReLU(inplace=True))
    features = getattr(classifier, "features", None)
    if isinstance(features, nn.Sequential):
        return features
    raise ConfigError(f"{name!r} does not end in pooled feature maps; choose a convolutional network, e.g. resnet18.")


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


def _state_dict(name: str, weights: str) -> dict[str, Any]:
    path = Path(weights)
    if path.suffix in (".pt", ".pth"):
        try:
            loaded = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # the unpickler fails in many ways on a foreign file
            raise ConfigError(f"{path} can't be read as a state dict: missing, damaged, or another file.") from error
        if not isinstance(loaded, dict):
            raise ConfigError(f"{path} holds a {type(loaded).__name__}, not the state dict of a classifier.")
        return loaded
    try:
        known = models.get_model_weights(name)[weights]
    except KeyError as error:
        names = ", ".join(item.name for item in models.get_model_weights(name))
        raise ConfigError(
            f"{name} has no weights {weights!r}: give DEFAULT, {names}, or a .pt or .pth file."
        ) from error
    try:
        downloaded: dict[str, Any] = known.get_state_dict(progress=True, check_hash=True)
    except (OSError, RuntimeError) as error:
        raise ConfigError(
            f"The weights {weights} of {name} can't be downloaded ({error}). Get {known.url} on a machine that can, "
            "and give the file's path as `weights`."
        ) from error
    return downloaded


def _load(classifier: nn.Module, state: dict[str, Any], source: str) -> None:
    """Load what belongs to the convolutional part; the last layer is another one here, whatever its classes were."""
    own = classifier.state_dict()
    usable = {
        key: value
        for key, value in state.items()
        if key in own and isinstance(value, Tensor) and own[key].shape == value.shape
    }
    missing = [key for key in own if key not in usable and not key.startswith(("fc.", "classifier."))]
    if missing:
        raise ConfigError(f"The weights {source} lack {len(missing)} of {len(own)} tensors, e.g. {missing[0]!r}.")
    classifier.load_state_dict(usable, strict=False)
