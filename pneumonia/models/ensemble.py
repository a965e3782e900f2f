"""Several networks that answer as one, in one graph."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from pneumonia.errors import ConfigError
from pneumonia.models.outputs import NetworkOutput


class Ensemble(nn.Module):
    """The mean of its members' logits: networks that began differently err differently (Lakshminarayanan et al. 2017).

    The mean of exact activation maps is exact for the mean of the logits. In training each member has a loss of its
    own (`ChestXRayClassifier`), on the same batches.

    Args:
        member: makes a network for a number of classes; called once a member.
        size: number of members.
        classes: K, number of classes.

    Raises `ConfigError` for fewer than one member.
    """

    def __init__(self, member: Callable[[int], nn.Module], size: int = 2, classes: int = 2) -> None:
        super().__init__()
        if size < 1:
            raise ConfigError(f"An ensemble of {size} networks can't answer; give `size` 1 or more.")
        self.members = nn.ModuleList(member(classes) for _ in range(size))

    def forward(self, images: Tensor) -> NetworkOutput:
        """Images (N, 1, H, W), gray levels 0..255 of any dtype; the embedding is the members', side by side."""
        outputs: list[NetworkOutput] = [member(images) for member in self.members]
        return NetworkOutput(
            torch.stack([output.logits for output in outputs]).mean(dim=0),
            torch.stack([output.activation_map for output in outputs]).mean(dim=0),
            torch.cat([output.embedding for output in outputs], dim=1),
        )
