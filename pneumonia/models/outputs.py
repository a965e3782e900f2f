"""What every network returns."""

from typing import NamedTuple

from torch import Tensor


class NetworkOutput(NamedTuple):
    """Of a batch of N images and K classes.

    `logits` (N, K); `activation_map` (N, K, h, w), what each place contributes to each logit; `embedding` (N, D), the
    pooled features. Of a network that ends in a `PooledClassifier` the map is exact: its spatial mean plus the
    classifier's bias is the logits (Zhou et al. 2016, class-activation mapping). Of a `GradCamClassifier` it is
    Grad-CAM, which approximates (Selvaraju et al. 2017). `has_exact_map` tells which.
    """

    logits: Tensor
    activation_map: Tensor
    embedding: Tensor
