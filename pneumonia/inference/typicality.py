"""How much an image is like the frontal chest films of train, and whether it would be more so if it were turned.

Two Gaussian models, fitted when a bundle is exported and kept in it: of a thumbnail of the film (probabilistic
principal components, Tipping and Bishop 1999) and of the network's embedding, one mean a class and one covariance (Lee
et al. 2018). The first sees layout and orientation, the second texture. Numpy only.
"""

import zipfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from pneumonia.errors import BundleError, DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Pixels = NDArray[np.uint8]

# Chosen on patients held out of train, against turned and inverted films of theirs.
_SIDE = 16
_COMPONENTS = 32
_SHRINKAGE = 0.01
# This share of the held-out films counts as untypical.
_REFUSED = 0.005
_LEAST_DEVIATION = 2.0
_LEAST_VARIANCE = 1e-6

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
    `centres` (K, D) and `whitening` (D, D) of embeddings; `limit` () of the joint distance, `layout_limit` () of the
    thumbnail's alone. Distances are logarithms of squared Mahalanobis distances.
    """

    mean: "Floats"
    components: "Floats"
    variances: "Floats"
    residual: "Floats"
    centres: "Floats"
    whitening: "Floats"
    limit: "Floats"
    layout_limit: "Floats"

    def distances(self, images: "Pixels", embeddings: "NDArray[np.float32]") -> "Floats":
        """(N,) of images (N, S, S) and embeddings (N, D): the mean of both models' distances."""
        of_thumbnails = self.layout_distances(_thumbnails(images))
        offsets = (embeddings[:, None].astype(np.float64) - self.centres) @ self.whitening
        of_embeddings: Floats = np.log((offsets**2).sum(axis=2).min(axis=1) + _LEAST_VARIANCE)
        joint: Floats = (of_thumbnails + of_embeddings) / 2
        return joint

    def excess(self, images: "Pixels", embeddings: "NDArray[np.float32]") -> "Floats":
        """(N,) above 0 for what is less like a chest film than nearly all of those held out."""
        above: Floats = self.distances(images, embeddings) - self.limit
        return above

    def turns(self, images: "Pixels") -> "tuple[Floats, list[str]]":
        """(N,) above 0 for what would be a typical film, and more so than it is, were it not as the words (N) say.

        Minus infinity for what would not be typical either way.
        """
        thumbnails = _thumbnails(images)
        own = self.layout_distances(thumbnails)
        turned = np.stack([self.layout_distances(undo(thumbnails)) for undo in _TURNS.values()])
        names = list(_TURNS)
        best = turned.min(axis=0)
        margins: Floats = np.where(best <= self.layout_limit, own - best, -np.inf)
        return margins, [names[index] for index in turned.argmin(axis=0)]

    def save(self, path: Path) -> None:
        """Write as `.npz` of float32."""
        with path.open("wb") as file:
            arrays: dict[str, Any] = {name: np.asarray(value, dtype=np.float32) for name, value in asdict(self).items()}
            np.savez(file, **arrays)

    def layout_distances(self, thumbnails: "Floats") -> "Floats":
        """(N,) of thumbnails (N, 16, 16), under probabilistic principal components."""
        centred = np.reshape(thumbnails, (len(thumbnails), -1)) - self.mean
        scores = centred @ self.components.T
        left_over = ((centred**2).sum(axis=1) - (scores**2).sum(axis=1)).clip(min=0) / self.residual
        distance: Floats = np.log((scores**2 / self.variances).sum(axis=1) + left_over + _LEAST_VARIANCE)
        return distance


def load_typicality(path: Path) -> Typicality:
    """Read what `Typicality.save` wrote; nothing in the file is run. Raises `BundleError` for another file."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return Typicality(**{name: arrays[name].astype(np.float64) for name in arrays.files})
    except (OSError, ValueError, TypeError, zipfile.BadZipFile) as error:
        raise BundleError(f"{path} holds no model of typical films ({error}); export the bundle again.") from error


def fit_typicality(
    images: "Pixels",
    embeddings: "NDArray[np.float32]",
    classes: "NDArray[np.int64]",
    held_out: "tuple[Pixels, NDArray[np.float32]]",
) -> Typicality:
    """Fit on images (N, S, S), embeddings (N, D) and classes (N,) of train; the limit on those of held-out patients.

    One in 200 of the held-out films lies beyond the limit. Raises `DataError` for fewer than three films.
    """
    if len(images) < 3:
        raise DataError(f"{len(images)} films are too few to say what is typical; train on more.")
    thumbnails = _thumbnails(images).reshape(len(images), -1)
    mean = thumbnails.mean(axis=0)
    _, scale, directions = np.linalg.svd(thumbnails - mean, full_matrices=False)
    spread = scale**2 / len(images)
    kept = min(_COMPONENTS, len(spread) // 2)
    centres = np.stack([embeddings[classes == k].mean(axis=0, dtype=np.float64) for k in np.unique(classes)])
    offsets = embeddings - centres[np.searchsorted(np.unique(classes), classes)]
    covariance = offsets.T @ offsets / len(offsets)
    dimensions = len(covariance)
    shrunk = (1 - _SHRINKAGE) * covariance + np.eye(dimensions) * max(
        _SHRINKAGE * np.trace(covariance) / dimensions, _LEAST_VARIANCE
    )
    fitted = Typicality(
        mean=mean,
        components=directions[:kept],
        variances=spread[:kept] + _LEAST_VARIANCE,
        residual=np.asarray(spread[kept:].mean() + _LEAST_VARIANCE),
        centres=centres,
        whitening=np.linalg.cholesky(np.linalg.inv(shrunk)),
        limit=np.asarray(np.inf),
        layout_limit=np.asarray(np.inf),
    )
    limits = (fitted.distances(*held_out), fitted.layout_distances(_thumbnails(held_out[0])))
    limit, layout_limit = (np.asarray(np.quantile(distances, 1 - _REFUSED)) for distances in limits)
    return replace(fitted, limit=limit, layout_limit=layout_limit)


def _thumbnails(images: "Pixels") -> "Floats":
    """(N, 16, 16), each of zero mean and unit variance: box means, so that grain and sharpness do not matter."""
    side = (_SIDE, _SIDE)
    small = np.stack([np.asarray(Image.fromarray(image).resize(side, Image.Resampling.BOX)) for image in images])
    centred = small - small.mean(axis=(1, 2), keepdims=True)
    standardised: Floats = centred / np.maximum(small.std(axis=(1, 2), keepdims=True), _LEAST_DEVIATION)
    return standardised
