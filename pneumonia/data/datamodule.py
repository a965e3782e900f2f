"""The LightningDataModule: manifest, splits and cache as batches of uint8 images."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import lightning as L
import numpy as np
import torch
from lightning.pytorch.overrides.distributed import UnrepeatedDistributedSampler
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, DistributedSampler

from pneumonia.data.cache import open_cache
from pneumonia.data.manifest import LABELS, Manifest, class_indices, scan_tree
from pneumonia.data.splits import Splits, assign_splits
from pneumonia.errors import DataError
from pneumonia.images import DECODER_VERSION

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Whatever depends on seed and epoch, or seed and step, begins at seed * stride: runs of neighbouring seeds share none.
SEED_STRIDE = 1_000_003


class Batch(TypedDict):
    """`image` (N, 1, S, S) uint8; `label` (N,) int64, an index into the classes; `row` (N,) int64, manifest row."""

    image: Tensor
    label: Tensor
    row: Tensor


class CachedRadiographs(Dataset[Batch]):
    """Rows of a cache, fetched a whole batch at a time: one slice of a memory map instead of N items collated."""

    def __init__(self, images: "NDArray[np.uint8]", labels: "NDArray[np.int64]", rows: Sequence[int]) -> None:
        self.images, self.labels, self.rows = images, labels, np.asarray(rows, dtype=np.int64)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Batch:
        return self.__getitems__([index])

    def __getitems__(self, indices: list[int]) -> Batch:
        """What PyTorch's DataLoader calls with all indices of a batch."""
        rows = self.rows[indices]
        return Batch(
            image=torch.from_numpy(self.images[rows]).unsqueeze(1),
            label=torch.from_numpy(self.labels[rows]),
            row=torch.from_numpy(rows),
        )


class ChestXRayDataModule(L.LightningDataModule):
    """Chest X-rays of a tree in the official layout, split by patient, decoded once.

    Args:
        root: the tree `{train,val,test}/{NORMAL,PNEUMONIA}/*`.
        classes: what is told apart: NORMAL and PNEUMONIA, or NORMAL, BACTERIA and VIRUS.
        image_size: S, the side in pixels that every film is resampled to.
        batch_size: images a training step, on each device.
        validation_fraction: share of the training images whose patients are held out.
        split_seed: which patients are held out.
        leave_out: a regular expression that begins patients' names: those are held out, too.
        seed: order of the training batches, with the epoch.
        cache_dir: where decoded images are kept.
        num_workers: loading processes; 0 is fastest for a cache that fits in memory.
        predict_split: what `pneumonia predict` runs on: train, validation, test or all.
    """

    def __init__(
        self,
        root: str = "data/chest_xray",
        classes: Sequence[str] = LABELS,
        image_size: int = 128,
        batch_size: int = 64,
        validation_fraction: float = 0.15,
        split_seed: int = 0,
        leave_out: str = "",
        seed: int = 0,
        cache_dir: str = "artifacts/cache",
        num_workers: int = 0,
        predict_split: str = "test",
    ) -> None:
        super().__init__()
        self.root, self.cache_dir = Path(root), Path(cache_dir)
        self.image_size, self.batch_size = image_size, batch_size
        self.validation_fraction, self.split_seed, self.leave_out = validation_fraction, split_seed, leave_out
        self.seed = seed
        self.num_workers, self.predict_split = num_workers, predict_split
        self.classes = tuple(classes)
        self._manifest: Manifest | None = None
        self._splits: Splits | None = None
        self._images: NDArray[np.uint8] | None = None
        self._first_epoch = 0

    @property
    def manifest(self) -> Manifest:
        """The tree's manifest, read on first use."""
        if self._manifest is None:
            self._manifest = scan_tree(self.root)
            if self._manifest.synthetic:
                rank_zero_info(
                    "**** SYNTHETIC PHANTOMS: no patient is in these data; the model means nothing for people. ****"
                )
        return self._manifest

    @property
    def splits(self) -> Splits:
        """Which rows train, validate and test."""
        if self._splits is None:
            self._splits = assign_splits(self.manifest, self.validation_fraction, self.split_seed, self.leave_out)
        return self._splits

    @property
    def labels(self) -> "NDArray[np.int64]":
        """(rows,) index into `classes` of every manifest row. Raises `DataError` for films whose name tells none."""
        indices = np.array(class_indices(self.manifest.rows, self.classes), dtype=np.int64)
        unknown = [row.path for row, index in zip(self.manifest.rows, indices, strict=True) if index < 0]
        if unknown:
            raise DataError(
                f"{len(unknown)} files of {self.root} tell no pathogen by their name, e.g. {unknown[0]}: name them "
                "like person1_bacteria_1.jpeg or person1_virus_1.jpeg, or train on the classes NORMAL and PNEUMONIA."
            )
        return indices

    def picture(self, row: int) -> "NDArray[np.uint8]":
        """(S, S) what the network sees of a manifest row's film, after `setup`."""
        assert self._images is not None, "setup() comes first"
        return np.asarray(self._images[row])

    def class_counts(self) -> list[int]:
        """Training images of each class."""
        counts = np.bincount(self.labels[list(self.splits.train)], minlength=len(self.classes))
        return [int(count) for count in counts]

    def describe(self) -> dict[str, Any]:
        """What decides which film is seen when: enough to find the same validation patients again."""
        return {
            "digest": self.manifest.digest,
            "files": len(self.manifest.rows),
            "classes": list(self.classes),
            "class_counts": self.class_counts(),
            "validation_fraction": self.validation_fraction,
            "split_seed": self.split_seed,
            "leave_out": self.leave_out,
            "image_size": self.image_size,
            "batch_size": self.batch_size,
            "decoder_version": DECODER_VERSION,
        }

    def prepare_data(self) -> None:
        """Decode what is not in the cache yet; called in one process a machine."""
        open_cache(self.manifest, self.image_size, self.cache_dir, progress=True)

    def setup(self, stage: str) -> None:
        """Map the cache."""
        del stage
        self._images = open_cache(self.manifest, self.image_size, self.cache_dir)

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps: the epoch that a resumed run begins with."""
        if self.trainer is None:
            return {}
        return {"epoch": self.trainer.fit_loop.epoch_progress.current.processed}  # type: ignore[attr-defined]

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Begin with that epoch: loading processes fetch their first batches before Lightning names the epoch."""
        self._first_epoch = int(state_dict.get("epoch", 0))

    def train_dataloader(self) -> DataLoader[Batch]:
        """Shuffled anew each epoch, by seed and epoch alone, so that a resumed run sees the same batches.

        Each process has a share of its own, and no film is seen twice in an epoch: what does not divide is left out.
        """
        dataset = self._dataset("train")
        world_size, rank = self._processes()
        if len(dataset) < self.batch_size * world_size:
            each = f" in each of {world_size} processes" if world_size > 1 else ""
            raise DataError(
                f"The {len(dataset)} training images of {self.root} do not fill one batch of {self.batch_size}{each}; "
                "lower data.batch_size."
            )
        sampler: DistributedSampler[Batch] = DistributedSampler(
            dataset, world_size, rank, shuffle=True, seed=self.seed * SEED_STRIDE, drop_last=True
        )
        sampler.set_epoch(self._first_epoch)
        return self._loader(dataset, self.batch_size, sampler=sampler, drop_last=True)

    def val_dataloader(self) -> DataLoader[Batch]:
        """Patients held out of train."""
        return self._measuring_loader("validation")

    def test_dataloader(self) -> DataLoader[Batch]:
        """The official test folder."""
        return self._measuring_loader("test")

    def predict_dataloader(self) -> DataLoader[Batch]:
        """The split that `predict_split` names."""
        return self._measuring_loader(self.predict_split)

    def _measuring_loader(self, split: str) -> DataLoader[Batch]:
        """Each film once, however many processes share them: Lightning's own sampler repeats some to even the shares,
        and what is measured would then depend on the number of processes.
        """
        dataset = self._dataset(split)
        world_size, rank = self._processes()
        if world_size == 1:
            return self._loader(dataset, 4 * self.batch_size)
        if len(dataset) < world_size:
            raise DataError(
                f"{world_size} processes can't share the {len(dataset)} {split} images of {self.root}; "
                "lower trainer.devices."
            )
        sampler = UnrepeatedDistributedSampler(dataset, world_size, rank, shuffle=False)
        return self._loader(dataset, 4 * self.batch_size, sampler=sampler)

    def _processes(self) -> tuple[int, int]:
        """How many processes share the films, and which of them this is."""
        return (self.trainer.world_size, self.trainer.global_rank) if self.trainer else (1, 0)

    def _dataset(self, split: str) -> CachedRadiographs:
        assert self._images is not None, "setup() comes first"
        rows = self.splits.named(split)
        if not rows:
            raise DataError(f"{self.root} has no {split} images.")
        return CachedRadiographs(self._images, self.labels, rows)

    def _loader(self, dataset: CachedRadiographs, batch_size: int, **options: Any) -> DataLoader[Batch]:
        return DataLoader(
            dataset,
            batch_size=batch_size,
            num_workers=self.num_workers,
            collate_fn=_as_it_is,
            pin_memory=torch.cuda.is_available(),
            persistent_workers=self.num_workers > 0,
            **options,
        )


def _as_it_is(batch: Any) -> Any:
    """`__getitems__` has made the batch."""
    return batch
