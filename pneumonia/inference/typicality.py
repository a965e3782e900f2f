"""How much an image is like the frontal chest films of train, and whether it would be more so if it were turned.

Two models, fitted when a bundle is exported and kept in it. Of the network's embedding: the distance to the nearest of
some prototypes (k-means) of train's films, in coordinates in which a class has unit covariance; it sees texture, and
what the film shows. Of a thumbnail: a Gaussian of probabilistic principal components (Tipping and Bishop 1999); it
sees layout and orientation. Numpy only.
"""

import zipfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from pneumonia.errors import BundleError, DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Pixels = NDArray[np.uint8]

# All chosen on patients held out of train, against what `benchmarks.input_check` collects, and with several networks.
# Films that are turned, cropped, framed or exposed otherwise, against other images: the embedding's AUROC is 0.998 with
# one centre a class, 0.9994 with 128 prototypes, and no better with 256.
_PROTOTYPES = 128
_FILMS_A_PROTOTYPE = 16
_ROUNDS = 15
_SHRINKAGE = 0.05
_SIDE = 16
_COMPONENTS = 64
# This share of the held-out films counts as untypical.
_REFUSED = 0.005
# Thumbnails are fitted to films that are turned, zoomed and shifted by up to this as well: degrees, factors, part.
_TURN, _ZOOM, _SHIFT = 20.0, (0.7, 1.35), 0.08
_LEAST_DEVIATION = 2.0
_LEAST_VARIANCE = 1e-6
# Multiplications of a matrix product up to which OpenBLAS takes one thread (its GEMM_MULTITHREAD_THRESHOLD of 4).
_MOST_FOR_ONE_THREAD = 4 * 65_536

_TURNS: "dict[str, Callable[[Floats], Floats]]" = {
    "turned by a quarter to the left": lambda thumbnails: np.rot90(thumbnails, -1, (1, 2)),
    "turned by a quarter to the right": lambda thumbnails: np.rot90(thumbnails, 1, (1, 2)),
    "upside down": lambda thumbnails: thumbnails[:, ::-1, ::-1],
    "mirrored top to bottom": lambda thumbnails: thumbnails[:, ::-1],
    "inverted, bones dark": lambda thumbnails: -thumbnails,
}


@dataclass(frozen=True, eq=False)
class Typicality:
    """The two models and the limits of their distances.

    `mean` (256,), `components` (C, 256) and `variances` (C,) of thumbnails, `residual` () the variance left over;
    `whitening` (D, D) of embeddings, `prototypes` (M, D) whitened; `limit` () of the distance, `layout_limit` () of
    the thumbnail's alone. Distances are logarithms of squared ones, each without a unit.
    """

    mean: "Floats"
    components: "Floats"
    variances: "Floats"
    residual: "Floats"
    whitening: "Floats"
    prototypes: "Floats"
    limit: "Floats"
    layout_limit: "Floats"

    def distances(self, images: "Pixels", embeddings: "NDArray[np.float32]") -> "Floats":
        """(N,) of images (N, S, S) and embeddings (N, D): the embedding's, and by how much the thumbnail is untypical.

        A typical thumbnail takes nothing off: blanks and smooth gradients have one, too.
        """
        return self._distances(embeddings, self.layout_distances(_thumbnails(images)))

    def excess(self, images: "Pixels", embeddings: "NDArray[np.float32]") -> "Floats":
        """(N,) above 0 for what is less like a chest film than nearly all of those held out."""
        above: Floats = self.distances(images, embeddings) - self.limit
        return above

    def turns(self, images: "Pixels") -> "tuple[Floats, list[str]]":
        """(N,) above 0 for what would be a typical film, and more so than it is, were it not as the words (N) say.

        Minus infinity for what would not be typical either way.
        """
        thumbnails = _thumbnails(images)
        return self._turns(thumbnails, self.layout_distances(thumbnails))

    def excess_and_turns(
        self, images: "Pixels", embeddings: "NDArray[np.float32]"
    ) -> "tuple[Floats, Floats, list[str]]":
        """`excess` and `turns` of the same images, whose thumbnails are made and measured once."""
        thumbnails = _thumbnails(images)
        layout = self.layout_distances(thumbnails)
        return self._distances(embeddings, layout) - self.limit, *self._turns(thumbnails, layout)

    @cached_property
    def _prototypes_squared(self) -> "Floats":
        squared: Floats = (self.prototypes**2).sum(axis=1)
        return squared

    def _distances(self, embeddings: "NDArray[np.float32]", layout: "Floats") -> "Floats":
        whitened = _product(embeddings.astype(np.float64), self.whitening)
        squared = _squared_distances(whitened, self.prototypes, self._prototypes_squared)
        of_embeddings = np.log(squared.min(axis=1) + _LEAST_VARIANCE)
        distance: Floats = of_embeddings + (layout - self.layout_limit).clip(min=0)
        return distance

    def _turns(self, thumbnails: "Floats", own: "Floats") -> "tuple[Floats, list[str]]":
        views = np.concatenate([undo(thumbnails) for undo in _TURNS.values()])
        turned = self.layout_distances(views).reshape(len(_TURNS), -1)
        best = turned.min(axis=0)
        margins: Floats = np.where(best <= self.layout_limit, own - best, -np.inf)
        names = list(_TURNS)
        return margins, [names[index] for index in turned.argmin(axis=0)]

    def save(self, path: Path) -> None:
        """Write as `.npz` of float32."""
        with path.open("wb") as file:
            arrays: dict[str, Any] = {name: np.asarray(value, dtype=np.float32) for name, value in asdict(self).items()}
            np.savez(file, **arrays)

    def layout_distances(self, thumbnails: "Floats") -> "Floats":
        """(N,) of thumbnails (N, 16, 16), under probabilistic principal components."""
        centred = np.reshape(thumbnails, (len(thumbnails), -1)) - self.mean
        scores = _product(centred, self.components.T)
        left_over = ((centred**2).sum(axis=1) - (scores**2).sum(axis=1)).clip(min=0) / self.residual
        distance: Floats = np.log((scores**2 / self.variances).sum(axis=1) + left_over + _LEAST_VARIANCE)
        return distance


def load_typicality(path: Path) -> Typicality:
    """Read what `Typicality.save` wrote; nothing in the file is run. Raises `BundleError` for another file."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return Typicality(**{name: arrays[name].astype(np.float64) for name in arrays.files})
    except (OSError, EOFError, ValueError, TypeError, AttributeError, RuntimeError, zipfile.BadZipFile) as error:
        raise BundleError(f"{path} holds no model of typical films ({error}); export the bundle again.") from error


def fit_typicality(
    images: "Pixels",
    embeddings: "NDArray[np.float32]",
    classes: "NDArray[np.int64]",
    held_out: "tuple[Pixels, NDArray[np.float32]]",
) -> Typicality:
    """Fit on images (N, S, S), embeddings (N, D) and classes (N,) of train; the limits on those of held-out patients.

    One in 200 of the held-out films lies beyond a limit. The same input gives the same fit. Raises `DataError` for
    fewer than three films.
    """
    if len(images) < 3:
        raise DataError(f"{len(images)} films are too few to say what is typical; train on more.")
    generator = np.random.default_rng(0)
    thumbnails = _thumbnails(images, generator).reshape(len(images), -1)
    thumbnails = np.concatenate([_thumbnails(images).reshape(len(images), -1), thumbnails])
    mean = thumbnails.mean(axis=0)
    spread, directions = np.linalg.eigh(np.cov(thumbnails.T, bias=True))  # ascending
    kept = min(_COMPONENTS, len(images) // 2)
    whitening = _whitening(embeddings.astype(np.float64), classes)
    unlimited = Typicality(
        mean=mean,
        components=np.ascontiguousarray(directions[:, ::-1][:, :kept].T),
        variances=spread[::-1][:kept].clip(min=0) + _LEAST_VARIANCE,
        residual=np.asarray(spread[::-1][kept:].mean().clip(min=0) + _LEAST_VARIANCE),
        whitening=whitening,
        prototypes=_prototypes(embeddings @ whitening, generator),
        limit=np.asarray(np.inf),
        layout_limit=np.asarray(np.inf),
    )
    layout_limit = np.quantile(unlimited.layout_distances(_thumbnails(held_out[0])), 1 - _REFUSED)
    fitted = replace(unlimited, layout_limit=np.asarray(layout_limit))
    return replace(fitted, limit=np.asarray(np.quantile(fitted.distances(*held_out), 1 - _REFUSED)))


def _whitening(embeddings: "Floats", classes: "NDArray[np.int64]") -> "Floats":
    """(D, D) that takes the covariance within the classes to one, after it is shrunk towards a sphere."""
    names, members = np.unique(classes, return_inverse=True)
    means = np.stack([embeddings[members == k].mean(axis=0) for k in range(len(names))])
    offsets = embeddings - means[members]
    covariance = offsets.T @ offsets / len(offsets)
    dimensions = len(covariance)
    sphere = np.eye(dimensions) * max(np.trace(covariance) / dimensions, _LEAST_VARIANCE)
    inverse = np.linalg.inv((1 - _SHRINKAGE) * covariance + _SHRINKAGE * sphere)
    whitening: Floats = np.linalg.cholesky(inverse)
    return whitening


def _prototypes(whitened: "Floats", generator: np.random.Generator) -> "Floats":
    """(M, D) of (N, D), by k-means (Lloyd 1982) from films drawn at random; one for each 16 films, at most 128."""
    count = min(_PROTOTYPES, max(1, len(whitened) // _FILMS_A_PROTOTYPE))
    prototypes: Floats = whitened[generator.choice(len(whitened), count, replace=False)]
    for _ in range(_ROUNDS):
        nearest = _squared_distances(whitened, prototypes, (prototypes**2).sum(axis=1)).argmin(axis=1)
        for index in np.unique(nearest):  # one that no film is nearest to stays where it is
            prototypes[index] = whitened[nearest == index].mean(axis=0)
    return prototypes


def _product(rows: "Floats", matrix: "Floats") -> "Floats":
    """The matrix product, in pieces of so few rows that OpenBLAS computes them on the thread that calls.

    Its own threads wait for their next task by spinning. Where every core has a worker of its own, they took 2 ms a
    film of a batch of ten, instead of 0.1 ms.
    """
    step = max(1, _MOST_FOR_ONE_THREAD // matrix.size)
    if len(rows) <= step:
        return rows @ matrix
    return np.concatenate([rows[start : start + step] @ matrix for start in range(0, len(rows), step)])


def _squared_distances(points: "Floats", others: "Floats", others_squared: "Floats") -> "Floats":
    """(N, M) of (N, D) and (M, D), as one matrix product; `others_squared` (M,) is of the latter's lengths."""
    squared: Floats = (points**2).sum(axis=1)[:, None] + others_squared - 2 * _product(points, others.T)
    return squared.clip(min=0)


def _thumbnails(images: "Pixels", vary: np.random.Generator | None = None) -> "Floats":
    """(N, 16, 16), each of zero mean and unit variance: box means, so that grain and sharpness do not matter.

    With `vary` of films that are mildly turned, zoomed and shifted, on black.
    """
    small = np.stack([_thumbnail(Image.fromarray(image), vary) for image in images])
    centred = small - small.mean(axis=(1, 2), keepdims=True)
    standardised: Floats = centred / np.maximum(small.std(axis=(1, 2), keepdims=True), _LEAST_DEVIATION)
    return standardised


def _thumbnail(image: Image.Image, vary: np.random.Generator | None) -> "Pixels":
    if vary is not None:
        side = 2 * _SIDE  # enough for what is shrunk to half of it next
        angle, zoom = np.radians(vary.uniform(-_TURN, _TURN)), np.exp(vary.uniform(*np.log(_ZOOM)))
        across, down = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) / zoom
        left, top = side / 2 * (1 + 2 * vary.uniform(-_SHIFT, _SHIFT, 2) - [across.sum(), down.sum()])
        image = image.resize((side, side), Image.Resampling.BOX)
        affine = (*across, left, *down, top)
        image = image.transform((side, side), Image.Transform.AFFINE, affine, Image.Resampling.BILINEAR)
    return np.asarray(image.resize((_SIDE, _SIDE), Image.Resampling.BOX))
