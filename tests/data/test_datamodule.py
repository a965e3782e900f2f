"""The data module gives batches of the right films, in an order that seed and epoch alone decide."""

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from pneumonia.data.datamodule import Batch, ChestXRayDataModule
from pneumonia.data.manifest import SYNTHETIC_MARKER
from pneumonia.errors import DataError
from pneumonia.images import read_radiograph

SIZE = 32


@pytest.fixture(scope="module")
def made(tree: Path, cache_dir: Path) -> Callable[..., ChestXRayDataModule]:
    """A data module that is set up."""

    def make(**options: Any) -> ChestXRayDataModule:
        settings = {"root": str(tree), "cache_dir": str(cache_dir), "image_size": SIZE, "batch_size": 8}
        data = ChestXRayDataModule(**{**settings, **options})
        data.prepare_data()
        data.setup("fit")
        return data

    return make


Made = Callable[..., ChestXRayDataModule]


def rows_of(loader: DataLoader[Batch], epoch: int | None = None) -> list[int]:
    if epoch is not None:
        loader.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
    return [int(row) for batch in loader for row in batch["row"]]


def batches(data: ChestXRayDataModule) -> Iterator[Batch]:
    for loader in (data.train_dataloader(), data.val_dataloader(), data.test_dataloader(), data.predict_dataloader()):
        yield from loader


def test_a_batch_holds_the_pixels_and_labels_of_its_rows(made: Made) -> None:
    data = made()
    for batch in batches(data):
        for image, label, row in zip(batch["image"], batch["label"], batch["row"], strict=True):
            film = data.manifest.rows[int(row)]
            np.testing.assert_array_equal(image[0], read_radiograph(data.root / film.path, SIZE).pixels)
            assert data.classes[int(label)] == film.label


def test_batches_have_the_form_that_networks_take(made: Made) -> None:
    batch = next(iter(made().train_dataloader()))
    assert batch["image"].shape == (8, 1, SIZE, SIZE)
    assert (batch["image"].dtype, batch["label"].dtype, batch["row"].dtype) == (torch.uint8, torch.int64, torch.int64)


def test_a_batch_is_a_copy_that_may_be_written_to(made: Made) -> None:
    data = made()
    batch = next(iter(data.val_dataloader()))
    batch["image"].zero_()
    assert next(iter(data.val_dataloader()))["image"].any()


def test_each_loader_gives_the_films_of_its_split(made: Made) -> None:
    data = made(predict_split="all")
    assert set(rows_of(data.train_dataloader())) <= set(data.splits.train)
    assert rows_of(data.val_dataloader()) == list(data.splits.validation)
    assert rows_of(data.test_dataloader()) == list(data.splits.test)
    assert rows_of(data.predict_dataloader()) == list(data.splits.named("all"))


@pytest.mark.parametrize("epoch", range(4))
def test_a_training_film_is_seen_at_most_once_an_epoch(made: Made, epoch: int) -> None:
    data = made()
    seen = Counter(rows_of(data.train_dataloader(), epoch))
    assert max(seen.values()) == 1
    assert len(seen) == len(data.splits.train) // 8 * 8  # the last, smaller batch is left out


def test_over_some_epochs_every_training_film_is_seen(made: Made) -> None:
    data = made()
    loader = data.train_dataloader()
    seen = {row for epoch in range(20) for row in rows_of(loader, epoch)}
    assert seen == set(data.splits.train)


def test_the_order_depends_on_seed_and_epoch_alone(made: Made) -> None:
    first = rows_of(made(seed=3).train_dataloader(), epoch=2)
    torch.manual_seed(99)
    np.random.seed(99)  # noqa: NPY002 (whatever a library may use)
    assert rows_of(made(seed=3).train_dataloader(), epoch=2) == first


def test_every_epoch_of_every_seed_has_an_order_of_its_own(made: Made) -> None:
    drawn = [tuple(rows_of(made(seed=seed).train_dataloader(), epoch)) for seed in (0, 1) for epoch in range(3)]
    assert len(set(drawn)) == 6


def test_worker_processes_give_the_same_batches(made: Made) -> None:
    data, other = made(), made(num_workers=1)
    assert rows_of(other.train_dataloader(), 1) == rows_of(data.train_dataloader(), 1)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_resumed_run_begins_with_the_order_of_its_epoch(made: Made, workers: int) -> None:
    data = made(num_workers=workers)
    data.load_state_dict({"epoch": 2})
    # Loading processes fetch their first batches as soon as there is an iterator: nobody names the epoch before.
    assert rows_of(data.train_dataloader()) == rows_of(made().train_dataloader(), epoch=2)


def test_the_classes_are_counted_among_the_training_films(made: Made) -> None:
    data = made()
    labels = [data.manifest.rows[index].label for index in data.splits.train]
    assert data.class_counts() == [labels.count("NORMAL"), labels.count("PNEUMONIA")]


def test_the_split_s_seed_is_another_than_that_of_the_order(made: Made) -> None:
    data = made()
    assert made(seed=5).splits == data.splits
    assert any(made(split_seed=seed).splits != data.splits for seed in range(1, 4))


def test_its_description_is_enough_to_find_the_validation_patients_again(made: Made) -> None:
    from pneumonia.data.splits import recorded_splits

    data = made(split_seed=2, validation_fraction=0.25, leave_out="person1")
    told = data.describe()
    assert told["digest"] == data.manifest.digest
    assert recorded_splits(data.manifest, told) == data.splits


def test_too_few_films_for_a_batch_are_an_error_that_names_the_setting(made: Made) -> None:
    with pytest.raises(DataError, match=r"training images of .* do not fill one batch of 1000; lower data.batch_size"):
        made(batch_size=1000).train_dataloader()


def test_a_tree_without_test_films_trains_but_does_not_test(made: Made, tree: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(tree / "train", tmp_path / "tree" / "train")
    data = made(root=str(tmp_path / "tree"))
    assert len(rows_of(data.train_dataloader()))
    with pytest.raises(DataError, match="has no test images"):
        data.test_dataloader()


def test_a_split_to_predict_that_is_none_is_an_error(made: Made) -> None:
    with pytest.raises(DataError, match="no split 'val'"):
        made(predict_split="val").predict_dataloader()


def test_a_synthetic_tree_is_announced(
    made: Made, tree: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    import shutil

    shutil.copytree(tree, tmp_path / "tree")
    (tmp_path / "tree" / SYNTHETIC_MARKER).write_text("{}")
    with caplog.at_level("INFO"):
        assert made(root=str(tmp_path / "tree")).manifest.synthetic
    assert "SYNTHETIC PHANTOMS" in caplog.text


@pytest.fixture
def shared(made: Made) -> Callable[..., list[ChestXRayDataModule]]:
    """The data modules of processes that train together."""

    def make(processes: int, **options: Any) -> list[ChestXRayDataModule]:
        modules = [made(**options) for _ in range(processes)]
        for rank, data in enumerate(modules):
            data.trainer = SimpleNamespace(world_size=processes, global_rank=rank)  # type: ignore[assignment]
        return modules

    return make


@pytest.mark.parametrize("processes", [2, 3, 4])
def test_processes_share_the_training_films_and_none_is_seen_twice(
    made: Made, shared: Callable[..., list[ChestXRayDataModule]], processes: int
) -> None:
    films = set(rows_of(made(batch_size=1).train_dataloader(), epoch=0))
    for epoch in (0, 1):
        shares = [rows_of(data.train_dataloader(), epoch) for data in shared(processes, batch_size=1)]
        seen = [row for share in shares for row in share]
        assert len(set(map(len, shares))) == 1
        assert len(set(seen)) == len(seen) == len(films) // processes * processes
        assert set(seen) <= films


@pytest.mark.parametrize("processes", [2, 3, 5])
def test_processes_measure_each_film_once(
    made: Made, shared: Callable[..., list[ChestXRayDataModule]], processes: int
) -> None:
    alone = made()
    for loader in ("val_dataloader", "test_dataloader", "predict_dataloader"):
        shares = [rows_of(getattr(data, loader)()) for data in shared(processes)]
        assert sorted(row for share in shares for row in share) == sorted(rows_of(getattr(alone, loader)()))


def test_processes_that_find_too_few_films_say_so(shared: Callable[..., list[ChestXRayDataModule]]) -> None:
    data = shared(200, batch_size=1)[0]
    with pytest.raises(DataError, match=r"do not fill one batch of 1 in each of 200 processes; lower data\.batch_size"):
        data.train_dataloader()
    with pytest.raises(DataError, match=r"200 processes can't share the \d+ validation images .*trainer\.devices"):
        data.val_dataloader()
