"""Layers that every network begins and ends with."""

import torch
from torch import Tensor, nn

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


class PooledClassifier(nn.Module):
    """Global average pooling and one linear layer, which makes the class-activation map exact (Zhou et al. 2016)."""

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
