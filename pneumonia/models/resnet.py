"""A small residual network for grayscale images, trained from scratch."""

from collections.abc import Sequence

from torch import Tensor, nn

from pneumonia.errors import ConfigError
from pneumonia.models.layers import NormalizeLocally, PooledClassifier, Standardize
from pneumonia.models.outputs import NetworkOutput


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut (He et al. 2016); a stride pools the shortcut (He et al. 2019)."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        last = nn.BatchNorm2d(outputs)
        # The block begins as its shortcut, which steadies the first epochs (Goyal et al. 2017, section 5.1).
        nn.init.zeros_(last.weight)
        self.body = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
            nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False),
            last,
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.AvgPool2d(stride, ceil_mode=True) if stride != 1 else nn.Identity(),
                nn.Conv2d(inputs, outputs, 1, bias=False),
                nn.BatchNorm2d(outputs),
            )
        self.activation = nn.ReLU(inplace=True)

    def forward(self, features: Tensor) -> Tensor:
        """(N, inputs, h, w) to (N, outputs, h / stride, w / stride), rounded up."""
        activated: Tensor = self.activation(self.body(features) + self.shortcut(features))
        return activated


class SmallResNet(nn.Module):
    """Standardisation, a strided stem, one stage of residual blocks a width, global average pooling, a linear layer.

    Args:
        classes: K, number of classes.
        widths: channels of each stage; every stage but the first halves the resolution.
        depths: residual blocks of each stage.
        dropout: on the pooled features, in training.
        neighbourhood: edge of the window by which each pixel is normalised, in pixels, odd and 3 or more; None is the
            whole film.

    Raises `ConfigError` when widths and depths do not name the same stages, or the neighbourhood is not such.
    """

    def __init__(
        self,
        classes: int = 2,
        widths: Sequence[int] = (16, 32, 64, 128),
        depths: Sequence[int] = (2, 2, 2, 2),
        dropout: float = 0.2,
        neighbourhood: int | None = None,
    ) -> None:
        super().__init__()
        if len(widths) != len(depths):
            raise ConfigError(f"widths and depths name {len(widths)} and {len(depths)} stages; give each one of both.")
        self.standardize = Standardize() if neighbourhood is None else NormalizeLocally(neighbourhood)
        self.stem = nn.Sequential(
            nn.Conv2d(1, widths[0], 5, 2, 2, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU(inplace=True)
        )
        blocks: list[nn.Module] = []
        channels = widths[0]
        for stage, (width, depth) in enumerate(zip(widths, depths, strict=True)):
            for block in range(depth):
                blocks.append(ResidualBlock(channels, width, stride=2 if stage and not block else 1))
                channels = width
        self.stages = nn.Sequential(*blocks)
        self.classifier = PooledClassifier(channels, classes, dropout)

    def forward(self, images: Tensor) -> NetworkOutput:
        """Images (N, 1, H, W), gray levels 0..255 of any dtype."""
        output: NetworkOutput = self.classifier(self.stages(self.stem(self.standardize(images))))
        return output
