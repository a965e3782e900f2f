"""Networks: images to logits, class-activation maps and an embedding; they know nothing of training."""

from pneumonia.models.backbone import TorchvisionBackbone
from pneumonia.models.ensemble import Ensemble
from pneumonia.models.outputs import NetworkOutput
from pneumonia.models.resnet import SmallResNet

__all__ = ["Ensemble", "NetworkOutput", "SmallResNet", "TorchvisionBackbone"]
