"""Images that are no frontal chest film, each with its kind and its origin.

Pictures and scans are read where installed packages keep them; what is not installed is left out and named as absent.
Pages, shapes, gradients and noise are drawn here from fixed seeds. Each goes the way of an upload, through
`read_radiograph`; what that refuses (colour, several frames) goes as a PNG of it, as a viewer exports it.
"""

import importlib.util
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
import pydicom
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont
from pydicom.pixels.utils import iter_pixels

from pneumonia.errors import ImageError
from pneumonia.images import Radiograph, read_radiograph

Pixels = NDArray[np.uint8]

CHEST = "chest film"

_PICTURES = {
    "photograph": (
        *(f"gradio/media_assets/images/{name}" for name in ("cheetah.jpg", "groot.jpeg", "lion.jpg", "tower.jpg")),
        *("gradio/test_data/cheetah1-copy.jpg", "gradio/test_data/cheetah2.jpg"),
        *("matplotlib/mpl-data/sample_data/grace_hopper.jpg", "sklearn/datasets/images/china.jpg"),
        *("sklearn/datasets/images/flower.jpg", "skimage/data/astronaut.png", "skimage/data/brick.png"),
        *(f"skimage/data/{name}.png" for name in ("camera", "chelsea", "clock_motion", "coffee", "coins", "grass")),
        *("skimage/data/gravel.png", "skimage/data/motorcycle_left.png", "skimage/data/rocket.jpg"),
    ),
    "microscope or telescope": (
        *(f"skimage/data/{name}.png" for name in ("cell", "ihc", "microaneurysms", "moon")),
        *("skimage/data/hubble_deep_field.jpg", "skimage/data/retina.jpg"),
    ),
    "text scan": ("skimage/data/page.png", "skimage/data/text.png"),
    "graphic": (
        *("celery/utils/static/celery_128.png", "gradio/media_assets/images/hf-logo_transpng.png"),
        *("gradio/media_assets/images/screenshot.gif", "matplotlib/mpl-data/sample_data/logo2.png"),
        *(f"networkx/drawing/tests/baseline/test_{name}.png" for name in ("display_complex", "house_with_colors")),
        *(
            f"networkx/drawing/tests/baseline/test_display_{name}.png"
            for name in ("labels_and_colors", "shortest_path")
        ),
        "matplotlib/mpl-data/sample_data/Minduka_Present_Blue_Pack.png",
        *("playwright/driver/package/lib/server/chromium/appIcon.png", "scipy/ndimage/tests/dots.png"),
        *(f"skimage/data/{name}.png" for name in ("chessboard_GRAY", "color", "horse", "logo", "phantom")),
        *(f"sympy/plotting/tests/test_region_{name}.png" for name in ("and", "not", "xor")),
    ),
    "tiny": (
        *("gradio/media_assets/images/avatar.png", "gradio/media_assets/images/bus.png"),
        "matplotlib/mpl-data/images/help_large.png",
    ),
}
_DICOM_FOLDERS = ("pydicom/data/test_files", "data_store/data")  # the second is that of the package pydicom-data
_MODALITIES = {
    "CT": "CT slice",
    "MR": "MR slice",
    "US": "ultrasound",
    "NM": "bone scan",
    "CR": "X-ray of another part",
    "SEG": "segmentation mask",
    "OT": "test pattern",
}
_LEAST_SIDE = 64
_FRAMES = 12
# Mean difference of 32 px copies in gray levels: encodings of one picture differ by less, as do neighbouring frames.
_SAME = 2.0
_FONT = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
_HEIGHT, _WIDTH, _SEEDS = 400, 480, 8


@dataclass(frozen=True, eq=False)
class Negative:
    """One image; `origin` is package and file, or how it was drawn."""

    kind: str
    origin: str
    radiograph: Radiograph


def collect(size: int) -> tuple[list[Negative], list[str]]:
    """The images at (size, size), without repeats of a kind, and the files and folders that are not installed.

    What is of the kind `CHEST` is none of them: frontal chest films that a package ships, to see whether they pass.
    """
    absent: list[str] = []
    kept: dict[str, list[tuple[Negative, NDArray[np.float64]]]] = {}
    for found in (_pictures(size, absent), _scans(size, absent), _drawings(size)):
        for negative in found:
            small = _shrunk(negative.radiograph.pixels)
            same_kind = kept.setdefault(negative.kind, [])
            if all(np.abs(small - other).mean() >= _SAME for _, other in same_kind):
                same_kind.append((negative, small))
    return [negative for kind in kept.values() for negative, _ in kind], absent


def upload(pixels: Pixels, size: int) -> Radiograph:
    """Through a PNG."""
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, format="PNG")
    return read_radiograph(buffer.getvalue(), size)


def _shrunk(pixels: Pixels) -> NDArray[np.float64]:
    return np.asarray(Image.fromarray(pixels).resize((32, 32), Image.Resampling.BOX), np.float64)


def _installed(name: str) -> Path | None:
    """Where a package keeps a file or folder, None when it does not; the package is not imported."""
    package, _, inside = name.partition("/")
    spec = importlib.util.find_spec(package)
    roots = (spec and spec.submodule_search_locations) or []
    return next((Path(root) / inside for root in roots if (Path(root) / inside).exists()), None)


def _pictures(size: int, absent: list[str]) -> Iterator[Negative]:
    for kind, names in _PICTURES.items():
        for name in names:
            path = _installed(name)
            if path is None:
                absent.append(name)
                continue
            try:
                radiograph = read_radiograph(path, size)
            except ImageError:  # a GIF
                with Image.open(path) as image:
                    radiograph = upload(np.asarray(image.convert("L")), size)
            yield Negative(kind, name, radiograph)


def _scans(size: int, absent: list[str]) -> Iterator[Negative]:
    for folder in _DICOM_FOLDERS:
        root = _installed(folder)
        if root is None:
            absent.append(folder)
            continue
        for path in sorted(path for path in root.rglob("*") if path.is_file()):
            header = _header(path)
            kind = _MODALITIES.get(str(header.get("Modality")))
            if kind is not None and "Rows" in header:
                kind = CHEST if header.get("BodyPartExamined") == "CHEST" else kind
                yield from _scan(kind, path, f"{folder}/{path.relative_to(root)}", header, size)


def _header(path: Path) -> pydicom.Dataset:
    """Empty for what is no DICOM file, or one that is damaged on purpose."""
    try:
        return pydicom.dcmread(path, stop_before_pixels=True)
    except Exception:
        return pydicom.Dataset()


def _scan(kind: str, path: Path, origin: str, header: pydicom.Dataset, size: int) -> Iterator[Negative]:
    """The image of a DICOM file, or some of its frames."""
    if min(int(header.Rows), int(header.Columns)) < _LEAST_SIDE:
        kind = "tiny"
    try:
        radiograph = read_radiograph(path, size)
    except ImageError:  # in colour, of several frames, or damaged
        yield from _frames(kind, path, origin, int(header.get("NumberOfFrames") or 1), size)
        return
    yield Negative(kind, origin, radiograph)
    if kind == "X-ray of another part":  # one has no one upright, nor one frame
        edge = size // 6
        middle = radiograph.pixels[edge:-edge, edge:-edge]
        for quarters in range(4):
            turned = f"{origin}, turned by {90 * quarters} degrees"
            yield Negative(kind, turned, upload(np.rot90(radiograph.pixels, quarters), size))
            yield Negative(kind, f"{turned}, its middle", upload(np.rot90(middle, quarters), size))


def _frames(kind: str, path: Path, origin: str, count: int, size: int) -> Iterator[Negative]:
    wanted = list(range(0, count, -(-count // _FRAMES)))
    try:
        for frame, pixels in zip(wanted, iter_pixels(path, indices=wanted), strict=False):
            gray = pixels if pixels.ndim == 2 else pixels @ np.array((0.299, 0.587, 0.114))
            if pixels.dtype != np.uint8:
                gray = (gray - gray.min()) * (255 / max(float(np.ptp(gray)), 1.0))
            yield Negative(kind, f"{origin}, frame {frame}", upload(_bytes(gray), size))
    except Exception:  # damaged on purpose
        return


def _drawings(size: int) -> Iterator[Negative]:
    y, x = np.meshgrid(np.linspace(-1, 1, _HEIGHT), np.linspace(-1, 1, _WIDTH), indexing="ij")
    shape = x.shape
    for gray in (0, 1, 64, 128, 254, 255):
        yield Negative("blank", f"drawn: gray level {gray}", upload(np.full(shape, gray, np.uint8), size))
    for seed in range(_SEEDS):
        generator = np.random.default_rng(seed)
        angle, waves, slope = generator.uniform(0, 2 * np.pi), generator.uniform(2, 40), 1 + seed / 4
        along = np.cos(angle) * x + np.sin(angle) * y
        middle = generator.uniform(-0.5, 0.5, 2)
        drawn = {
            ("gradient", "linear"): _spread(along),
            ("gradient", "radial"): _spread((-1) ** seed * np.hypot(y - middle[0], x - middle[1])),
            ("noise", f"Gaussian of deviation {10 + 10 * seed}"): _bytes(generator.normal(128, 10 + 10 * seed, shape)),
            ("noise", "uniform"): _bytes(generator.uniform(0, 255, shape)),
            ("noise", f"{0.1 + 0.1 * seed:.0%} white on black"): _bytes(
                255.0 * (generator.random(shape) < 0.1 + 0.1 * seed)
            ),
            ("clouds", f"noise whose amplitude falls with frequency to the power {slope}"): _clouds(generator, slope),
            ("shapes", "ellipses"): _ellipses(generator),
            ("shapes", "stripes"): _spread(np.sin(np.pi * waves * along)),
            ("text scan", "page of words"): _page(generator),
        }
        for (kind, name), pixels in drawn.items():
            yield Negative(kind, f"drawn: {name}, seed {seed}", upload(pixels, size))


def _bytes(values: NDArray[np.floating]) -> Pixels:
    return np.asarray(np.rint(values.clip(0, 255)), np.uint8)


def _spread(values: NDArray[np.floating]) -> Pixels:
    return _bytes(255 * (values - values.min()) / np.ptp(values))


def _clouds(generator: np.random.Generator, slope: float) -> Pixels:
    """Natural scenes have a slope of about 1 (Field 1987), radiographs a steeper one."""
    frequency = np.hypot(np.fft.fftfreq(_HEIGHT)[:, None], np.fft.rfftfreq(_WIDTH)[None])
    frequency[0, 0] = np.inf
    spectrum = np.fft.rfft2(generator.normal(size=(_HEIGHT, _WIDTH))) / frequency**slope
    return _spread(np.fft.irfft2(spectrum, (_HEIGHT, _WIDTH)))


def _ellipses(generator: np.random.Generator) -> Pixels:
    canvas = Image.new("L", (_WIDTH, _HEIGHT), int(generator.integers(0, 256)))
    draw = ImageDraw.Draw(canvas)
    for _ in range(int(generator.integers(1, 12))):
        left, top, width, height = (float(value) for value in generator.integers(40, 250, 4))
        draw.ellipse((left, top, left + width, top + height), fill=int(generator.integers(0, 256)))
    return np.asarray(canvas)


def _page(generator: np.random.Generator) -> Pixels:
    """Lines of random words, tilted and blurred as by a scanner, darker to one side; some white on black."""
    font = ImageFont.truetype(_FONT, int(generator.integers(9, 30)))
    page = Image.new("L", (_WIDTH, _HEIGHT), 250)
    letters = list("abcdefghiklmnoprstuvwxyz")
    for top in range(20, _HEIGHT - 40, int(font.size * 1.5)):
        words = ("".join(generator.choice(letters, generator.integers(2, 10))) for _ in range(12))
        ImageDraw.Draw(page).text((30, top), " ".join(words), fill=20, font=font)
    tilted = page.rotate(float(generator.uniform(-4, 4)), Image.Resampling.BILINEAR, fillcolor=250)
    blurred = np.asarray(tilted.filter(ImageFilter.GaussianBlur(float(generator.uniform(0, 1.5)))), np.float64)
    lit = blurred * np.linspace(1, 1 - 0.4 * generator.random(), _WIDTH)
    return _bytes(255 - lit if generator.random() < 0.3 else lit)
