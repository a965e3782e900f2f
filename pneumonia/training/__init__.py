"""LightningModule, augmentation, callbacks and the LightningCLI."""

from pneumonia.training.augmentation import RadiographAugmentation

__all__ = ["RadiographAugmentation"]
