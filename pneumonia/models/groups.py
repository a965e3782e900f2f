"""What networks may say of themselves: the groups their layers form, and whether their activation map is exact."""

from typing import Protocol, runtime_checkable

from torch import nn


@runtime_checkable
class LayerGroups(Protocol):
    """A network that names the groups of its layers, for fine-tuning."""

    def layer_groups(self) -> list[nn.ModuleList]:
        """Two groups or more, from input to output; all but the last are pretrained, the last is new.

        Together they hold all parameters, each once.
        """


def layer_groups(network: nn.Module) -> list[nn.ModuleList]:
    """The groups that the network names; one of the whole network when it names none."""
    return network.layer_groups() if isinstance(network, LayerGroups) else [nn.ModuleList([network])]


def has_exact_map(network: nn.Module) -> bool:
    """Whether the spatial mean of the activation map plus a constant is the logits; the layers that make it say so."""
    heads = [module.exact_map for module in network.modules() if hasattr(module, "exact_map")]
    return bool(heads) and all(heads)
