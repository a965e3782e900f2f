"""Layers that every network begins and ends with."""

import torch
from torch import Tensor, nn

from pneumonia.errors import ConfigError
from pneumonia.models.outputs import NetworkOutput


class Standardize(nn.Module):
    """Each image to zero mean and unit variance: the answer does not depend on exposure or window.

    Takes (N, 1, H, W) of any dtype in gray levels 0..255; returns float32 of the same shape. A constant image becomes
    zeros: the standard deviation is kept at one gray level or more.
    """

    def forward(self, images: Tensor) -> Tensor:
        """Standardise over the pixels of each image."""
        images = images.float()
        mean = images.mean(dim=(1, 2, 3), keepdim=True)
        centred = images - mean
        variance = centred.square().mean(dim=(1, 2, 3), keepdim=True)
        return centred * torch.rsqrt(variance.clamp_min(1.0))


class NormalizeLocally(nn.Module):
    """Each pixel by the mean and the variance of its neighbourhood: local contrast normalisation (Jarrett et al. 2009).

    What varies slowly over a film, such as exposure, scatter and the thickness of the body, goes; what stays is the
    texture of each place beside its surroundings. A box stands for the paper's Gaussian window: its mean is that of
    rows, then of columns. The film is standardised first, so that `floor` is a part of its variance: where nothing is
    to be seen in the neighbourhood, noise is not made a picture of.

    Args:
        window: edge of the neighbourhood, an odd number of pixels; at the film's edge it is cut off.
        floor: added to the local variance.

    Raises `ConfigError` for a window that is not an odd number from 3 on.
    """

    def __init__(self, window: int, floor: float = 0.05) -> None:
        super().__init__()
        if window < 3 or window % 2 == 0:
            raise ConfigError(f"A neighbourhood of {window} pixels has no middle; give an odd number from 3 on.")
        self.window, self.floor = window, floor
        self.standardize = Standardize()

    def forward(self, images: Tensor) -> Tensor:
        """(N, 1, H, W) of any dtype in gray levels 0..255; returns float32 of the same shape, also under autocast."""
        with torch.autocast(images.device.type, enabled=False):
            standard = self.standardize(images)
            columns, rows = (self._means(side, images.device) for side in images.shape[-2:])
            centred = standard - columns @ standard @ rows.T
            variance = columns @ centred.square() @ rows.T
            normalised: Tensor = centred * torch.rsqrt(variance + self.floor)
        return normalised

    def _means(self, side: int, device: torch.device) -> Tensor:
        """(side, side): what a row or column is multiplied by for the mean around each of its pixels."""
        place = torch.arange(side, device=device)
        near = ((place[:, None] - place).abs() <= self.window // 2).float()
        return near / near.sum(dim=1, keepdim=True)


class PooledClassifier(nn.Module):
    """Global average pooling and one linear layer, which makes the class-activation map exact (Zhou et al. 2016)."""

    exact_map = True

    def __init__(self, features: int, classes: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(features, classes)

    def forward(self, features: Tensor) -> NetworkOutput:
        """Feature maps (N, D, h, w) to logits, map and embedding; computed in float32 also under autocast."""
        with torch.autocast(features.device.type, enabled=False):
            features = features.float()
            embedding = features.mean(dim=(2, 3))
            logits = self.linear(self.dropout(embedding))
            activation_map = torch.einsum("ndhw,kd->nkhw", features, self.linear.weight)
        return NetworkOutput(logits, activation_map, embedding)


class GradCamClassifier(nn.Module):
    """Global average pooling, layer normalisation and one linear layer; the map is Grad-CAM (Selvaraju et al. 2017).

    The normalisation divides by what all places together make, so that no map's mean is the logit. Grad-CAM weighs the
    feature maps by the gradient of a class's logit with respect to them. Here it is taken with respect to the pooled
    features, which is h * w times the paper's: of a linear layer alone it gives the exact map. The paper's rectifier
    is left out, since what speaks against a class is wanted as well. As the logits do not change when all features
    are scaled, a map's spatial mean is about zero: it says where the evidence is, not how much there is.

    Args:
        features: D, channels of the feature maps.
        classes: K.
        dropout: on the normalised features, in training.
        eps: of the normalisation.
    """

    exact_map = False

    def __init__(self, features: int, classes: int, dropout: float = 0.0, eps: float = 1e-6) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(features, eps)
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(features, classes)

    def forward(self, features: Tensor) -> NetworkOutput:
        """Feature maps (N, D, h, w) to logits, map and embedding; computed in float32 also under autocast."""
        with torch.autocast(features.device.type, enabled=False):
            features = features.float()
            embedding = features.mean(dim=(2, 3))
            logits = self.linear(self.dropout(self.norm(embedding)))
            activation_map = torch.einsum("ndhw,nkd->nkhw", features, self.gradient(embedding))
        return NetworkOutput(logits, activation_map, embedding)

    def gradient(self, embedding: Tensor) -> Tensor:
        """Of each logit with respect to the pooled features (N, D), without dropout: (N, K, D).

        The derivative of layer normalisation (Ba et al. 2016) is written out because ONNX has no gradients.
        """
        centred = embedding - embedding.mean(dim=1, keepdim=True)
        scale = torch.rsqrt(centred.square().mean(dim=1, keepdim=True) + self.norm.eps)
        normal, weight = (centred * scale).unsqueeze(1), self.linear.weight * self.norm.weight
        along = (weight * normal).mean(dim=2, keepdim=True)
        return (weight - weight.mean(dim=1, keepdim=True) - along * normal) * scale.unsqueeze(1)
