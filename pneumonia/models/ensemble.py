"""Several networks that answer as one, in one graph."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from pneumonia.errors import ConfigError
from pneumonia.models.outputs import NetworkOutput


class Ensemble(nn.Module):
    """The mean of its members' logits: networks that differ err differently (Lakshminarayanan et al. 2017).

    The mean of exact activation maps is exact for the mean of the logits. In training each member has a loss of its
    own (`ChestXRayClassifier`), on the same batches.

    Args:
        members: each makes a network for a number of classes; also of the same form, they begin with other weights.
        classes: K, number of classes.

    Raises `ConfigError` for none.
    """

    def __init__(self, members: list[Callable[[int], nn.Module]], classes: int = 2) -> None:
        super().__init__()
        if not members:
            raise ConfigError("An ensemble of no networks can't answer; name one or more `members`.")
        self.members = nn.ModuleList(make(classes) for make in members)

    def forward(self, images: Tensor) -> NetworkOutput:
        """Images (N, 1, H, W), gray levels 0..255 of any dtype; the embedding is the members', side by side."""
        outputs: list[NetworkOutput] = [member(images) for member in self.members]
        return NetworkOutput(
            torch.stack([output.logits for output in outputs]).mean(dim=0),
            torch.stack([output.activation_map for output in outputs]).mean(dim=0),
            torch.cat([output.embedding for output in outputs], dim=1),
        )
