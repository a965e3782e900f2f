"""What every network returns."""

from typing import NamedTuple

from torch import Tensor


class NetworkOutput(NamedTuple):
    """Of a batch of N images and K classes.

    `logits` (N, K); `activation_map` (N, K, h, w), whose spatial mean plus the classifier's bias is the logits
    (Zhou et al. 2016, class-activation mapping); `embedding` (N, D), the pooled features.
    """

    logits: Tensor
    activation_map: Tensor
    embedding: Tensor
