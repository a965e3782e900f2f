"""One synthetic chest film, drawn from random numbers alone: a body, its disease if any, and an exposure."""

import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

Pathogen = Literal["", "bacteria", "virus"]

# Density adds up along the ray, as attenuation does; the exposure then turns it into gray levels.
# Places and sizes are in body coordinates, drawn by eye after frontal films of children; amplitudes are in units of
# the display range, and set by experiment: see `render_phantom`.

_Plane = NDArray[np.floating[Any]]  # in fact float32 throughout: half the memory, twice the speed
_Path = Sequence[tuple[float, float]]


class _Body(NamedTuple):
    """Where the body lies on the film, at each pixel.

    Body coordinates: x to the film's right, y down, 0 about the carina, the chest 1.4 to 1.6 wide and as high.
    `side` is |x|, `wall` half the rib cage's width at that height; `matrix` (2 x 3) leads from body to pixels.
    """

    x: _Plane
    y: _Plane
    side: _Plane
    wall: _Plane
    matrix: NDArray[np.float64]
    scale: float


def render_phantom(rng: np.random.Generator, pathogen: Pathogen, size: int) -> NDArray[np.uint8]:
    """Draw one frontal chest film, bones bright: uint8 of shape (height, width), neither above `size`.

    Everything but the disease (body, pose, distractors, exposure, noise) is drawn from `rng` before and apart from it:
    the same state of `rng` gives the same patient and exposure with any pathogen. "bacteria" adds one or two
    consolidations inside the lungs, "virus" a reticular pattern about both hila.

    The amplitudes are chosen so that brightness does not tell and shape does. Measured with sizes of 128 and 256, 800
    to 1,200 films to learn from and 600 held out: AUROC at most 0.66 to 0.70 for logistic regression on
    standardised pixels (32 x 32 and 64 x 64, the best of five penalties), 0.96 to 0.98 for a residual network of 0.3
    million weights at 96 and 112 px after half a minute on one core; 0.52 to 0.56 for the mean gray level.
    """
    nuisance, disease = (np.random.default_rng(int(rng.integers(2**63))) for _ in range(2))
    body = _place(nuisance, size)
    density, air = _soft_tissue(nuisance, body)
    density += _bones(nuisance, body)
    density += _vessels(nuisance, body) * air
    density += _distractors(nuisance, body, air)
    if pathogen == "bacteria":
        density += _consolidations(disease, body, air)
    elif pathogen == "virus":
        density += _reticulation(disease, body, air)
    return _annotate(nuisance, _expose(nuisance, body, density))


def _place(rng: np.random.Generator, size: int) -> _Body:
    width = size * rng.uniform(0.66, 1)
    height = round(width * rng.uniform(0.66, 1))
    width = round(width)
    scale = height / 2 * rng.uniform(0.84, 1.1)
    angle = math.radians(rng.normal(0, 4))
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    linear = turn @ np.diag([scale * rng.uniform(0.94, 1.08), scale])
    shift = (width * (0.5 + rng.normal(0, 0.03)), height * (0.5 + rng.normal(0, 0.05)))
    column = np.arange(width, dtype=np.float32)[None, :] - np.float32(shift[0])
    row = np.arange(height, dtype=np.float32)[:, None] - np.float32(shift[1])
    inverse = np.linalg.inv(linear).astype(np.float32)
    x = inverse[0, 0] * column + inverse[0, 1] * row
    y = inverse[1, 0] * column + inverse[1, 1] * row
    drop = np.clip((0.55 - y) / 1.42, 0, 1)
    wall = rng.uniform(0.68, 0.8) * np.sqrt(1 - drop**2 * np.sqrt(drop)) + 0.02
    return _Body(x, y, np.abs(x), wall, np.column_stack([linear, shift]), scale)


def _soft_tissue(rng: np.random.Generator, body: _Body) -> tuple[_Plane, _Plane]:
    """Density of everything but bone, and the lungs: the share of air along each ray, 0 to about 1."""
    x, y, side, wall = body.x, body.y, body.side, body.wall
    torso = _soft((wall + rng.uniform(0.08, 0.2) - 0.1 * np.maximum(y - 0.4, 0) - side) * 12)
    slope = _soft((y + 0.92 - 0.35 * np.maximum(side - 0.25, 0)) * 10)
    shoulders = slope * _soft((0.95 - side) * 8) * _soft((-0.35 - y) * 3 + 0.5)
    neck = _soft((rng.uniform(0.2, 0.28) + 0.5 * np.square(np.maximum(y + 1.1, 0)) - side) * 12) * _soft(-0.5 - y)
    jaw = _soft(_ellipse(body, (rng.normal(0, 0.05), -rng.uniform(1.2, 1.5)), (0.42, 0.3), 0) * 6)
    flesh = np.maximum.reduce([torso, shoulders, neck, _arms(rng, body)])

    breath = rng.uniform(0.38, 0.62)
    dome = breath - 0.13 + np.where(x > 0, np.float32(0.05), np.float32(0)) + 0.97 * np.square(side - 0.3)
    abdomen = _soft((y - dome) * 18)
    heart_size, heart_level = rng.uniform(0.8, 1.25), breath - 0.17
    middle = rng.uniform(0.11, 0.16)
    left = 0.25 * heart_size * _bump(y, heart_level, 0.23) + rng.uniform(0.02, 0.07) * _bump(y, -0.3, 0.1)
    right = 0.13 * heart_size * _bump(y, heart_level - 0.05, 0.22) + 0.02 * _bump(y, -0.35, 0.2)
    mediastinum = _soft((middle + np.where(x > 0, left, right) - side) * 16 + 0.5)
    air = _soft((0.94 - side / wall) * 12) * (1 - abdomen) * (1 - mediastinum) * (1.05 - 0.45 * np.square(side / wall))

    stomach = (rng.uniform(0.28, 0.42), breath + rng.uniform(0.06, 0.14))
    gas = _soft(_ellipse(body, stomach, (rng.uniform(0.08, 0.2), rng.uniform(0.05, 0.1)), rng.normal(0, 0.2)) * 5)
    trachea = _soft((0.05 - np.abs(x - rng.normal(0, 0.015))) * 30) * _soft((-0.22 - y) * 6)
    density = 0.58 * flesh + 0.14 * abdomen * torso + 0.12 * jaw
    density += 0.07 * mediastinum * _bump(y, heart_level, 0.3) + 0.05 * _soft((middle - side) * 6 + 0.5) * flesh
    density -= rng.uniform(0.3, 0.46) * air + rng.uniform(0, 0.25) * gas * abdomen + 0.1 * trachea
    return density, air


def _arms(rng: np.random.Generator, body: _Body) -> _Plane:
    raised = rng.random() < 0.35
    reach = rng.uniform(0.2, 0.45, 2)
    ends = [(0.78 + r, -1.5) if raised else (0.85 + r, 0.9) for r in reach]
    arms = [[(sign * 0.78, -0.62), (sign * x, y)] for sign, (x, y) in zip((-1, 1), ends, strict=True)]
    return 1.1 * _strokes(body, 0.012, (arms, rng.uniform(0.2, 0.3), 0.68), (arms, 0.07, 1))


def _bones(rng: np.random.Generator, body: _Body) -> _Plane:
    x, y, out = body.x, body.y, body.side / body.wall
    cage = _soft((1.06 - out) * 14) * _soft((y + 0.85) * 8) * _soft((0.95 - y) * 3)
    level = y + 0.02 * _field(rng, body, 5)
    spacing = rng.uniform(0.125, 0.155)
    posterior = _bands(level - rng.uniform(0.2, 0.32) * out * (out - 0.35), spacing) * _soft((out - 0.08) * 10)
    anterior = _bands(level + rng.uniform(0, 0.1) - 0.42 * (1 - out) * (1 - 0.3 * out), spacing * 1.1)
    bones = rng.uniform(0.07, 0.14) * cage * (posterior + 0.7 * anterior * _soft((out - 0.4) * 3))
    bones += 0.08 * _bump(out, 1, 0.06) * cage

    middle = np.abs(x - 0.02 * np.sin(2 * y + rng.uniform(0, 6)))
    disc = y / 0.125 + rng.random()
    disc = np.abs(disc - np.rint(disc))
    vertebrae = _soft((0.075 - middle) * 40) * (0.06 + 0.07 * _soft((disc - 0.1) * 12))
    bones += rng.uniform(0.5, 1.1) * (vertebrae + 0.05 * _bump(middle, 0.045, 0.014) * _bump(disc, 0.3, 0.1))
    tilt = rng.normal(0, 0.03)
    shape = ((0.07, -0.6), (0.3, -0.68), (0.5, -0.74), (0.78, -0.84))
    clavicles = [[(sign * x, y + sign * tilt) for x, y in shape] for sign in (-1, 1)]
    return bones + rng.uniform(0.1, 0.18) * _strokes(body, 0.008, (clavicles, 0.06, 1))


def _vessels(rng: np.random.Generator, body: _Body) -> _Plane:
    """Three generations of vessels out of each hilum, and the hilum's own shadow."""
    generations: list[list[_Path]] = [[], [], []]

    def grow(start: tuple[float, float], angle: float, length: float, sign: int, generation: int) -> None:
        end = (start[0] + sign * length * math.cos(angle), start[1] + length * math.sin(angle))
        generations[generation].append((start, end))
        for _ in range(2 if generation < 2 else 0):
            grow(end, angle + rng.normal(0, 0.45), length * rng.uniform(0.6, 1), sign, generation + 1)

    for sign in (-1, 1):
        hilum = (sign * rng.uniform(0.14, 0.18), rng.uniform(-0.12, 0))
        for _ in range(rng.integers(9, 14)):
            grow(hilum, rng.uniform(-1.5, 1.6), rng.uniform(0.12, 0.22), sign, 0)
    shadow = rng.uniform(0.02, 0.14) * _bump(body.side, 0.2, 0.1) * _bump(body.y, -0.05, 0.17)
    first, second, third = generations
    tree = _strokes(body, 0.006, (third, 0.012, 0.55), (second, 0.02, 0.75), (first, 0.032, 1))
    return shadow + rng.uniform(0.08, 0.16) * tree


def _distractors(rng: np.random.Generator, body: _Body, air: _Plane) -> _Plane:
    """What is as bright as disease and is none: breasts, shoulder blades, thymus, skin folds; each on some films."""
    shadow = np.zeros_like(air)
    if rng.random() < 0.4:
        height, radius = rng.uniform(0.1, 0.3), rng.uniform(0.24, 0.36)
        for sign in (-1, 1):
            centre = (sign * rng.uniform(0.38, 0.48), height + rng.normal(0, 0.03))
            breast = _ellipse(body, centre, (radius, radius * rng.uniform(0.7, 1)), 0)
            shadow += rng.uniform(0.05, 0.17) * _soft(breast * 4)
    if rng.random() < 0.5:
        for sign in (-1, 1):
            inner = rng.uniform(0.36, 0.66)
            blade = [(sign * x, y) for x, y in ((inner, -0.5), (inner + 0.02, 0.02), (0.75, -0.45), (0.8, -0.62))]
            shadow += rng.uniform(0.06, 0.18) * _polygon(body, blade, 0.008)
    if rng.random() < 0.35:
        reach = rng.choice([-1, 1]) * rng.uniform(0.15, 0.34)
        sail = [(0, -0.55), (0.8 * reach, -0.45), (reach, rng.uniform(-0.2, -0.05)), (0, -0.1)]
        shadow += rng.uniform(0.12, 0.28) * _polygon(body, sail, 0.015) * air
    for _ in range(rng.choice([0, 0, 0, 1, 2])):
        angle, offset = rng.normal(0, 0.3), rng.uniform(-0.6, 0.6)
        across = math.cos(angle) * body.x + math.sin(angle) * body.y - offset
        shadow += rng.uniform(0.05, 0.15) * _soft(across * 60) * np.exp(np.minimum(-across / 0.15, 0))
    return shadow


def _consolidations(rng: np.random.Generator, body: _Body, air: _Plane) -> _Plane:
    """One or two dense patches with soft edges; some end at a fissure, some show air in the bronchi."""
    shadow = np.zeros_like(air)
    inside = np.flatnonzero(air > 0.75 * air.max())
    for _ in range(1 + int(rng.random() < 0.35)):
        spot = rng.choice(inside)
        x, y = float(body.x.flat[spot]), float(body.y.flat[spot])
        radius = rng.uniform(0.17, 0.31)
        patch = _ellipse(body, (x, y), (radius, radius * rng.uniform(0.6, 1)), rng.uniform(0, math.pi))
        patch = _soft((patch + 0.3 * _field(rng, body, 9) + 0.15 * _field(rng, body, 22)) * 1.8 + 0.35)
        patch *= 1 + 0.2 * _field(rng, body, 30)
        if rng.random() < 0.3:
            patch *= _soft((body.y - y - rng.normal(0, 0.3) * (body.x - x)) * rng.choice([-20, 20]) + 2)
        if rng.random() < 0.5:
            ends = rng.normal((x, y), radius * 0.8, (4, 2)).tolist()
            streaks = [[(math.copysign(0.16, x), -0.06), (end[0], end[1])] for end in ends]
            patch *= 1 - 0.5 * _strokes(body, 0.006, (streaks, 0.018, 1))
        shadow += rng.uniform(0.29, 0.42) * patch
    return np.minimum(shadow, 0.42) * air


def _reticulation(rng: np.random.Generator, body: _Body, air: _Plane) -> _Plane:
    """A patchy net of fine lines in both lungs, densest about the hila, and a little haze."""
    near = _bump(body.side, 0.25, 0.3) * _bump(body.y, -0.02, 0.45)
    patchy = _soft(0.5 + 0.5 * _field(rng, body, 7))
    coarse, fine = (_soft(1 - 1.3 * np.abs(_field(rng, body, cells))) for cells in (21, 36))
    return rng.uniform(0.12, 0.19) * air * (0.3 + near) * (0.4 + patchy) * (coarse + fine - 0.15)


def _expose(rng: np.random.Generator, body: _Body, density: _Plane) -> NDArray[np.uint8]:
    """Scatter, uneven field, window and gamma, unsharpness and noise."""
    height, width = density.shape
    haze = Image.fromarray(density).resize((12, 12), Image.Resampling.BILINEAR)
    scatter = rng.uniform(0.05, 0.35)
    gray = density * (1 - scatter) + scatter * np.asarray(haze.resize((width, height), Image.Resampling.BICUBIC))
    gray += rng.normal(0, 0.05) * body.x + rng.normal(0, 0.05) * body.y
    low, high = rng.uniform(-0.02, 0.12), rng.uniform(0.78, 1.05)
    gray = np.clip((gray - low) / (high - low), 0, 1) ** np.float32(rng.uniform(0.65, 1.35))
    unsharp = rng.uniform(1, 2)
    if rng.random() < 0.6:
        coarse = (round(width / unsharp), round(height / unsharp))
        small = Image.fromarray(gray).resize(coarse, Image.Resampling.BILINEAR)
        gray = np.array(small.resize((width, height), Image.Resampling.BICUBIC))
    gray += rng.uniform(0.005, 0.025) * rng.standard_normal(gray.shape, dtype=np.float32)
    return np.clip(gray * rng.uniform(216, 255), 0, 255).astype(np.uint8)


def _annotate(rng: np.random.Generator, film: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Collimate some of the four edges, and burn a letter for the side into most films."""
    height, width = film.shape
    top, bottom, left, right = rng.uniform(0, 0.06, 4) * (rng.random(4) < 0.35) * (height, height, width, width)
    framed = np.full_like(film, int(rng.uniform(0, 25)))
    inside = np.s_[int(top) : height - int(bottom), int(left) : width - int(right)]
    framed[inside] = film[inside]
    image = Image.fromarray(framed)
    letter, across = ("R", rng.uniform(0.03, 0.1)) if rng.random() < 0.8 else ("L", rng.uniform(0.84, 0.9))
    if rng.random() < 0.65:
        font = ImageFont.load_default(height * rng.uniform(0.05, 0.11))
        at = (width * across, height * rng.uniform(0.03, 0.35))
        ImageDraw.Draw(image).text(at, letter, fill=int(rng.uniform(180, 255)), font=font)
    return np.array(image)


def _soft(level: _Plane) -> _Plane:
    """The smoothstep: 0 below 0, 1 above 1, without a corner between."""
    inside: _Plane = np.clip(level, 0, 1)
    return inside * inside * (3 - 2 * inside)


def _bump(values: _Plane, centre: float, width: float) -> _Plane:
    bump: _Plane = np.exp(-np.square((values - centre) / width))
    return bump


def _bands(level: _Plane, spacing: float) -> _Plane:
    """Ribs: parallel bands, their cortical edges brighter than their middle."""
    phase = level / spacing
    distance = np.abs(phase - np.rint(phase)) / 0.32
    bands: _Plane = _soft((1 - distance) * 4) * (0.55 + 0.45 * distance * distance)
    return bands


def _ellipse(body: _Body, centre: tuple[float, float], radii: tuple[float, float], angle: float) -> _Plane:
    """1 at the centre, 0 on the ellipse, negative outside."""
    across, down = body.x - centre[0], body.y - centre[1]
    along = (across * math.cos(angle) + down * math.sin(angle)) / radii[0]
    beside = (down * math.cos(angle) - across * math.sin(angle)) / radii[1]
    return 1 - np.sqrt(along * along + beside * beside)


def _field(rng: np.random.Generator, body: _Body, cells: int) -> _Plane:
    """Smooth noise of mean 0 and deviation about 0.8, with so many cells each way."""
    grid = Image.fromarray(rng.standard_normal((cells, cells), dtype=np.float32))
    return np.asarray(grid.resize(body.x.shape[::-1], Image.Resampling.BICUBIC))


def _strokes(body: _Body, blur: float, *layers: tuple[Sequence[_Path], float, float]) -> _Plane:
    """Lines, 0 to 1; each layer its paths, their width and their brightness, and the later lie upon the earlier."""
    image = Image.new("L", body.x.shape[::-1])
    draw = ImageDraw.Draw(image)
    for paths, width, brightness in layers:
        for path in paths:
            draw.line(_to_pixels(body, path), fill=round(255 * brightness), width=max(1, round(width * body.scale)))
    return _blurred(image, blur * body.scale)


def _polygon(body: _Body, path: _Path, blur: float) -> _Plane:
    image = Image.new("L", body.x.shape[::-1])
    ImageDraw.Draw(image).polygon(_to_pixels(body, path), fill=255)
    return _blurred(image, blur * body.scale)


def _to_pixels(body: _Body, path: _Path) -> list[tuple[float, float]]:
    ((a, b, right), (c, d, down)) = body.matrix.tolist()
    return [(a * x + b * y + right, c * x + d * y + down) for x, y in path]


def _blurred(image: Image.Image, radius: float) -> _Plane:
    return np.asarray(image.filter(ImageFilter.BoxBlur(1.5 * radius)), dtype=np.float32) / 255
