"""Fine-tuning of pretrained networks: a frozen stage first, and learning rates that fall towards the input."""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import nn
from typing_extensions import override

from pneumonia.errors import ConfigError
from pneumonia.models.groups import layer_groups


class FrozenStage(Callback):
    """In the first epochs only the new layer learns; then the whole network does.

    The pretrained layers are in evaluation mode meanwhile: their batch-norm statistics stay as they are too, and no
    gradient is computed for them. All parameters are in the optimiser from the start, and it leaves alone, decay
    included, what has no gradient. What is frozen is a function of the epoch. So optimiser and schedule keep their
    form through the run, and a resumed run is the one that was not interrupted; Lightning's `BaseFinetuning` adds
    parameter groups in the middle, which a one-cycle schedule does not take.

    On several devices the strategy is `ddp_find_unused_parameters_true`.

    Args:
        epochs: that the stage lasts; 0 for none.

    Raises `ConfigError` for less than 0, and when the network does not say which of its layers are pretrained.
    """

    def __init__(self, epochs: int = 1) -> None:
        self.epochs = epochs

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if self.epochs < 0:
            raise ConfigError(f"The frozen stage can't last {self.epochs} epochs; give 0 or more.")
        if stage == "fit" and self.epochs and not _pretrained(pl_module):
            raise ConfigError(
                f"{type(pl_module.network).__name__} does not say which of its layers are pretrained, so none can be "
                "frozen. Give it a method `layer_groups`, or leave FrozenStage out of the callbacks."
            )

    @override
    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.current_epoch > self.epochs:
            return
        learns = trainer.current_epoch == self.epochs
        for group in _pretrained(pl_module):
            group.requires_grad_(learns).train(learns)


def parameter_groups(
    network: nn.Module, learning_rate: float, weight_decay: float, layer_decay: float
) -> list[dict[str, Any]]:
    """The optimiser's groups: for each group of layers, at a rate of its own, weights that decay and that do not.

    The last group of layers learns at `learning_rate`, each one before it at `layer_decay` times the rate of the next:
    discriminative fine-tuning (Howard & Ruder 2018, section 3.2, where the factor is 1 / 2.6). With a factor of one
    there are two groups only. Weights with two or more dimensions decay by `weight_decay`.

    Raises `ConfigError` for a factor that is not above 0 and at most 1.
    """
    if not 0 < layer_decay <= 1:
        raise ConfigError(f"layer_decay is {layer_decay:g}; give a factor above 0 and at most 1.")
    layers = [network] if layer_decay == 1 else list(reversed(layer_groups(network)))
    groups: list[dict[str, Any]] = []
    for depth, group in enumerate(layers):
        parameters = [parameter for parameter in group.parameters() if parameter.requires_grad]
        rate = learning_rate * layer_decay**depth
        groups += [
            {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay, "lr": rate},
            {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0, "lr": rate},
        ]
    return groups


def _pretrained(module: LightningModule) -> list[nn.ModuleList]:
    return layer_groups(module.network)[:-1]  # type: ignore[arg-type]
