"""Augmentation on whole batches: geometry, exposure, resolution, blur and noise, each image its own."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Enough for a batch of 64 at 256 px with room for a thousand distinct offsets.
_NOISE_BANK = 2**22
_Pair = tuple[Tensor, Tensor]


class RadiographAugmentation(nn.Module):
    """Vary what differs between scanners, exposures and exports, but not the disease.

    The official train and test films differ in sharpness and exposure, and sharpness differs between the classes of
    train: a network that may use it learns blur instead of lungs. Every draw comes from the generator that is passed
    in, so that a training step is a function of its seed.

    Args:
        rotation: largest angle, degrees.
        scale: range of the zoom; below 1 the film is shrunk on black.
        crop: largest change of width to height, as a ratio, by cutting one side, its place drawn; 1 is none. Films that
            are kept are cut too: where the shape of a film tells its class, it does so in no film of a training.
        aspect: largest change of width to height, as a ratio, by a stretch; 1 is none.
        shift: largest shift, as a part of the image.
        flip: probability of a mirror image.
        gamma: largest exponent (or its inverse) of the tone curve.
        contrast: largest change of contrast, as a part.
        resolution: probability that an image is resampled at a lower resolution and back.
        lowest_resolution: smallest such resolution, as a part of the image's.
        sharpen: probability that an image is sharpened (unsharp mask) instead.
        noise: largest standard deviation of additive Gaussian noise, in gray levels.
        spectrum: probability that an image takes over a part, drawn from 0 to 1, of the amplitudes of another one's
            Fourier transform and keeps its own phases (Xu et al. 2021, "A Fourier-based Framework for Domain
            Generalization", equation 5): what is sharp, blurred or bright is then no sign of a class.
        shade: largest exponent of a smooth field that brightens some regions and darkens others; 0 is none.
        keep: probability that an image stays as it is, but for `crop`. A network that never saw plain films in training
            says other probabilities of them: its normalisation layers know only the statistics of augmented ones. Where
            all are cut, whole films are new to it in shape alone.
    """

    def __init__(
        self,
        rotation: float = 12.0,
        scale: tuple[float, float] = (0.85, 1.2),
        crop: float = 1.0,
        aspect: float = 1.15,
        shift: float = 0.08,
        flip: float = 0.0,
        gamma: float = 1.5,
        contrast: float = 0.25,
        resolution: float = 0.6,
        lowest_resolution: float = 0.35,
        sharpen: float = 0.2,
        noise: float = 12.0,
        spectrum: float = 0.0,
        shade: float = 0.0,
        keep: float = 0.0,
    ) -> None:
        super().__init__()
        self.rotation, self.scale, self.aspect, self.shift, self.flip = rotation, scale, aspect, shift, flip
        self.gamma, self.contrast = gamma, contrast
        self.resolution, self.lowest_resolution, self.sharpen = resolution, lowest_resolution, sharpen
        self.noise, self.keep = noise, keep
        self.spectrum, self.shade, self.crop = spectrum, shade, crop
        self._bank: Tensor | None = None

    @torch.no_grad()
    def forward(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Images (N, 1, H, W), uint8 or float gray levels 0..255; returns float32 of the same shape and range."""
        plain = self._crop(images.float(), generator) if self.crop > 1 else images.float()
        varied = self._resample(self._tone(plain, generator), generator)
        varied = self._vary_resolution(varied, generator)
        if self.spectrum:
            varied = self._mix_spectra(varied, generator)
        if self.shade:
            varied = self._shade(varied, generator)
        varied = self._add_noise(varied, generator)
        return torch.where(_unit(len(plain), generator, plain.device) < self.keep, plain, varied)

    def _crop(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """A window of each image, whole in one direction, at the size of the image."""
        count, device = len(images), images.device
        ratio = (_signed(count, generator, device) * math.log(self.crop)).exp()
        width, height = ratio.clamp(max=1), ratio.reciprocal().clamp(max=1)
        middle_x, middle_y = ((1 - side) * _signed(count, generator, device) for side in (width, height))
        return _sample(images, (width, 0 * width), (0 * height, height), (middle_x, middle_y), "border")

    def _tone(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Gamma, then contrast around mid-gray; clipped, as a detector or an export clips."""
        count = len(images)
        gamma = _signed(count, generator, images.device).mul(math.log(self.gamma)).exp()
        gain = 1 + self.contrast * _signed(count, generator, images.device)
        toned = images.div(255).pow(gamma)
        return toned.sub_(0.5).mul_(gain).add_(0.5).clamp_(0, 1).mul_(255)

    def _resample(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Rotation, zoom, aspect, shift and flip as one affine resampling, black outside the film."""
        count, device = len(images), images.device
        angle = _signed(count, generator, device) * math.radians(self.rotation)
        low, high = (math.log(1 / bound) for bound in self.scale)
        zoom = (low + (high - low) * _unit(count, generator, device)).exp()
        stretch = (_signed(count, generator, device) * math.log(self.aspect) / 2).exp()
        mirror = torch.where(_unit(count, generator, device) < self.flip, -1.0, 1.0)
        shift_x, shift_y = (2 * self.shift * _signed(count, generator, device) for _ in range(2))
        cosine, sine = angle.cos() * zoom, angle.sin() * zoom
        by_x = cosine * stretch * mirror, -sine * stretch
        by_y = sine / stretch * mirror, cosine / stretch
        return _sample(images, by_x, by_y, (shift_x, shift_y), "zeros")

    def _vary_resolution(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Some images through a lower resolution and back, some pushed away from that (an unsharp mask)."""
        kind = _unit(len(images), generator, images.device).flatten()
        amount = 1.5 * _unit(len(images), generator, images.device)
        size = torch.tensor(images.shape[-2:])
        order = torch.randperm(len(images), generator=generator).to(images.device)
        for group in order.chunk(4):  # one factor a group: each resampling then runs on a batch
            factor = self.lowest_resolution + (1 - self.lowest_resolution) * torch.rand((), generator=generator)
            changed = group[kind[group] < self.resolution + self.sharpen]
            if not len(changed):
                continue
            small = [max(1, int(edge)) for edge in (size * factor).round()]
            originals = images[changed]
            blurred = F.interpolate(originals, size=small, mode="bilinear", antialias=True)
            blurred = F.interpolate(blurred, size=size.tolist(), mode="bilinear")
            weight = torch.where((kind[changed] < self.resolution).view(-1, 1, 1, 1), 1.0, -amount[changed])
            images[changed] = torch.lerp(originals, blurred, weight)
        return images

    def _mix_spectra(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Phases of each image, amplitudes between its own and those of another of the batch."""
        count, device = len(images), images.device
        order = torch.randperm(count, generator=generator).to(device)
        share = _unit(count, generator, device)
        share = torch.where(_unit(count, generator, device) < self.spectrum, share, 0.0)
        transformed = torch.fft.rfft2(images)
        amplitude = transformed.abs()
        mixed = torch.polar(torch.lerp(amplitude, amplitude[order], share), transformed.angle())
        back: Tensor = torch.fft.irfft2(mixed, s=images.shape[-2:])
        return back.clamp_(0, 255)

    def _shade(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Times the exponential of a smooth random field."""
        count, _, height, width = images.shape
        coarse = 2 * torch.rand(count, 1, 4, 4, generator=generator).to(images.device) - 1
        field = F.interpolate(coarse, size=(height, width), mode="bicubic", align_corners=True)
        return images.mul_(field.mul_(self.shade).exp_()).clamp_(0, 255)

    def _add_noise(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Gaussian noise cut from a bank made once: drawing it anew each step would cost more than all the rest."""
        count = len(images)
        if self._bank is None or self._bank.device != images.device:
            made = torch.randn(_NOISE_BANK, generator=torch.Generator().manual_seed(0))
            self._bank = made.to(images.device)
        pixels = images.numel()
        repeats = math.ceil((pixels + 1) / _NOISE_BANK)
        bank = self._bank if repeats == 1 else self._bank.repeat(repeats)
        start = int(torch.randint(0, len(bank) - pixels + 1, (), generator=generator))
        deviation = self.noise * _unit(count, generator, images.device).square()
        return images.addcmul_(bank[start : start + pixels].view_as(images), deviation).clamp_(0, 255)


def _unit(count: int, generator: torch.Generator, device: torch.device) -> Tensor:
    """(count, 1, 1, 1) uniform in [0, 1), drawn on the CPU: the same numbers whatever the device."""
    return torch.rand(count, 1, 1, 1, generator=generator).to(device)


def _signed(count: int, generator: torch.Generator, device: torch.device) -> Tensor:
    """(count, 1, 1, 1) uniform in [-1, 1)."""
    return 2 * _unit(count, generator, device) - 1


def _sample(images: Tensor, to_x: _Pair, to_y: _Pair, offset: _Pair, outside: str) -> Tensor:
    """Each image under its affine map of (x, y) from -1 to 1 to where a pixel is taken from.

    `to_x` are the two factors of what is added up to x, `to_y` those of y; `outside` is how pixels beyond the image are
    padded. The same grid as affine_grid's, as sums of rows and columns: a sixth of its cost.
    """
    count, _, height, width = images.shape
    x = torch.linspace(-1 + 1 / width, 1 - 1 / width, width, device=images.device)
    y = torch.linspace(-1 + 1 / height, 1 - 1 / height, height, device=images.device)
    grid = torch.empty(count, height, width, 2, device=images.device)
    _plane(*to_x, offset[0], x, y, grid[..., 0])
    _plane(*to_y, offset[1], x, y, grid[..., 1])
    return F.grid_sample(images, grid, mode="bilinear", padding_mode=outside, align_corners=False)


def _plane(by_x: Tensor, by_y: Tensor, offset: Tensor, x: Tensor, y: Tensor, out: Tensor) -> None:
    """out[n, i, j] = by_x[n] * x[j] + by_y[n] * y[i] + offset[n]."""
    row = by_x.view(-1, 1, 1) * x.view(1, 1, -1)
    column = by_y.view(-1, 1, 1) * y.view(1, -1, 1) + offset.view(-1, 1, 1)
    torch.add(row, column, out=out)
