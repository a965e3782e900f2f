"""The synthetic films: their tree, their determinism, and what can and can't be learned from them."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from pneumonia.data.manifest import SPLITS, SYNTHETIC_MARKER, Manifest, parse_name, scan_tree
from pneumonia.data.phantom import GENERATOR_VERSION, PhantomCounts, write_phantoms
from pneumonia.data.phantom_film import Pathogen, render_phantom
from pneumonia.errors import ConfigError, DataError
from pneumonia.files import sha256_of

if TYPE_CHECKING:
    from torch import Tensor, nn

COUNTS = PhantomCounts(train=60, val=7, test=25, prevalence=0.6)
SIZE = 64


def contents(root: Path) -> dict[str, str]:
    files = (path for path in root.rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix(): sha256_of(path) for path in files}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_phantoms(tmp_path_factory.mktemp("data") / "phantoms", COUNTS, size=SIZE, seed=3)


@pytest.fixture(scope="module")
def manifest(tree: Path) -> Manifest:
    return scan_tree(tree)


@pytest.mark.parametrize("workers", [1, 5])
def test_a_seed_gives_the_same_bytes_whatever_the_number_of_workers(tree: Path, tmp_path: Path, workers: int) -> None:
    again = write_phantoms(tmp_path / "again", COUNTS, size=SIZE, seed=3, workers=workers)
    assert contents(again) == contents(tree)


def test_another_seed_gives_other_films(tree: Path, tmp_path: Path) -> None:
    other = write_phantoms(tmp_path / "other", COUNTS, size=SIZE, seed=4)
    images = {path: digest for path, digest in contents(other).items() if path.endswith(".jpeg")}
    assert not set(images.values()) & set(contents(tree).values())


def test_no_two_films_are_alike(manifest: Manifest) -> None:
    assert len({row.sha256 for row in manifest.rows}) == len(manifest.rows)


def test_the_tree_is_read_as_synthetic(manifest: Manifest) -> None:
    assert manifest.synthetic


def test_the_marker_tells_how_the_tree_was_made(tree: Path) -> None:
    assert json.loads((tree / SYNTHETIC_MARKER).read_text()) == {
        "generator_version": GENERATOR_VERSION,
        "seed": 3,
        "size": SIZE,
        "counts": {"train": 60, "val": 7, "test": 25, "prevalence": 0.6},
    }


@pytest.mark.parametrize(("split", "expected"), [("train", 60), ("val", 7), ("test", 25)])
def test_each_split_has_as_many_films_as_asked_for(manifest: Manifest, split: str, expected: int) -> None:
    assert sum(row.split == split for row in manifest.rows) == expected


@pytest.mark.parametrize(("split", "expected"), [("train", (24, 18, 18)), ("val", (3, 2, 2)), ("test", (10, 8, 7))])
def test_prevalence_and_pathogens_are_as_asked_for(
    manifest: Manifest, split: str, expected: tuple[int, int, int]
) -> None:
    pathogens = [row.pathogen for row in manifest.rows if row.split == split]
    assert tuple(pathogens.count(pathogen) for pathogen in ("", "bacteria", "virus")) == expected


def test_the_folder_and_the_name_of_each_film_agree(manifest: Manifest) -> None:
    assert all((row.label == "PNEUMONIA") == bool(row.pathogen) for row in manifest.rows)


def test_every_name_carries_a_patient(manifest: Manifest) -> None:
    assert all(parse_name(Path(row.path).name)[0] != Path(row.path).stem for row in manifest.rows)


def test_names_come_in_every_form_of_the_official_set(manifest: Manifest) -> None:
    patients = {row.patient for row in manifest.rows}
    forms = ("IM-", "NORMAL2-IM-", "person")
    assert all(any(patient.startswith(form) for patient in patients) for form in forms)


def test_no_patient_is_in_two_splits(manifest: Manifest) -> None:
    splits = [{row.patient for row in manifest.rows if row.split == split} for split in SPLITS]
    assert len(set.union(*splits)) == sum(map(len, splits))


def test_some_patients_have_more_than_one_film_and_none_more_than_three(manifest: Manifest) -> None:
    patients = [row.patient for row in manifest.rows]
    assert {patients.count(patient) for patient in patients} == {1, 2, 3}


def test_sizes_and_aspect_ratios_vary_up_to_the_size_asked_for(manifest: Manifest) -> None:
    sizes = {(row.width, row.height) for row in manifest.rows}
    ratios = [width / height for width, height in sizes]
    assert max(map(max, sizes)) <= SIZE
    assert len(sizes) > 20
    assert max(ratios) - min(ratios) > 0.2


def test_files_are_grayscale_jpegs(tree: Path, manifest: Manifest) -> None:
    for path in manifest.paths():
        with Image.open(path) as image:
            assert (image.format, image.mode) == ("JPEG", "L")


def test_an_interrupted_run_leaves_nothing_behind(tmp_path: Path) -> None:
    root = tmp_path / "data" / "phantoms"
    code = (
        "import signal, sys; from pathlib import Path; "
        "from pneumonia.data.phantom import PhantomCounts, write_phantoms; "
        "signal.signal(signal.SIGINT, signal.default_int_handler); "  # a shell's background jobs ignore it
        "write_phantoms(Path(sys.argv[1]), PhantomCounts(train=100_000), size=64)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(root)], stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and not any(root.parent.rglob("*.jpeg")):
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
    assert process.returncode != 0
    assert list(root.parent.iterdir()) == []


def test_a_tree_that_exists_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("mine")
    with pytest.raises(DataError, match="exists already"):
        write_phantoms(tmp_path, COUNTS, size=SIZE)
    assert [path.name for path in tmp_path.iterdir()] == ["precious.txt"]


@pytest.mark.parametrize(("size", "seed"), [(8, 0), (64, -1)])
def test_settings_that_make_no_sense_are_refused(tmp_path: Path, size: int, seed: int) -> None:
    with pytest.raises(ConfigError, match=f"not {size} and {seed}"):
        write_phantoms(tmp_path / "phantoms", COUNTS, size=size, seed=seed)


@pytest.mark.parametrize(("train", "test", "prevalence"), [(-1, 300, 0.6), (0, 0, 0.6), (1200, 300, 1.5)])
def test_counts_that_make_no_sense_are_refused(train: int, test: int, prevalence: float) -> None:
    with pytest.raises(ConfigError):
        PhantomCounts(train=train, val=0, test=test, prevalence=prevalence)


@pytest.mark.parametrize("pathogen", ["bacteria", "virus"])
def test_disease_changes_the_lungs_and_nothing_else(pathogen: Pathogen) -> None:
    for seed in range(10):
        healthy, sick = (render_phantom(np.random.default_rng(seed), kind, 160) for kind in ("", pathogen))
        change = np.abs(sick.astype(float) - healthy)
        edge = np.concatenate([change[:8].ravel(), change[-8:].ravel(), change[:, :8].ravel(), change[:, -8:].ravel()])
        assert change.max() > 20
        assert edge.mean() < 2  # scatter carries a little everywhere


@pytest.mark.parametrize("size", [32, 100, 512])
def test_a_film_of_any_size_fits_into_it(size: int) -> None:
    film = render_phantom(np.random.default_rng(0), "virus", size)
    assert film.dtype == np.uint8
    assert size / 3 < min(film.shape) <= max(film.shape) <= size


@pytest.fixture(scope="module")
def drawn() -> list[Image.Image]:
    """1,000 films, of which every second shows disease."""
    kinds: list[Pathogen] = ["", "bacteria", "", "virus"]
    return [Image.fromarray(render_phantom(np.random.default_rng(seed), kinds[seed % 4], 128)) for seed in range(1000)]


def standardised(films: list[Image.Image], pixels: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Films of (films, pixels, pixels), each standardised, and whether they show disease."""
    gray = np.stack([np.asarray(film.resize((pixels, pixels)), dtype=np.float32) for film in films])
    axes = (1, 2)
    return (gray - gray.mean(axes, keepdims=True)) / gray.std(axes, keepdims=True), np.arange(len(films)) % 2


@pytest.mark.slow
@pytest.mark.parametrize("pixels", [32, 64])
def test_a_linear_model_on_pixels_does_not_learn_the_disease(drawn: list[Image.Image], pixels: int) -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    metrics = pytest.importorskip("sklearn.metrics")
    films, labels = standardised(drawn, pixels)
    flat = films.reshape(len(films), -1)
    flat = (flat - flat[:600].mean(0)) / flat[:600].std(0)
    model = linear_model.LogisticRegression(C=0.003, max_iter=500).fit(flat[:600], labels[:600])
    assert metrics.roc_auc_score(labels[600:], model.decision_function(flat[600:])) < 0.75


@pytest.mark.slow
def test_a_small_convolutional_network_learns_the_disease(drawn: list[Image.Image]) -> None:
    torch = pytest.importorskip("torch")
    metrics = pytest.importorskip("sklearn.metrics")
    films, labels = standardised(drawn, 64)
    images = torch.from_numpy(films)[:, None].contiguous(memory_format=torch.channels_last)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # layers this small wait for each other longer than they work
    try:
        network = train_network(images[:700], torch.from_numpy(labels[:700]).float(), epochs=14)
        with torch.inference_mode():
            logits = network(images[700:])[:, 0]
    finally:
        torch.set_num_threads(threads)
    assert metrics.roc_auc_score(labels[700:], logits) > 0.92


def train_network(images: "Tensor", labels: "Tensor", epochs: int, batch: int = 32) -> "nn.Module":
    """A residual network of four blocks and 0.3 million weights, trained with flips and shifts."""
    import torch
    from torch import nn

    def convolution(inputs: int, outputs: int, stride: int = 1, kernel: int = 3) -> nn.Module:
        layer = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
        return nn.Sequential(layer, nn.BatchNorm2d(outputs))

    class Block(nn.Module):
        def __init__(self, inputs: int, outputs: int, stride: int) -> None:
            super().__init__()
            self.body = nn.Sequential(convolution(inputs, outputs, stride), nn.ReLU(), convolution(outputs, outputs))
            self.skip = nn.Sequential(nn.AvgPool2d(stride), convolution(inputs, outputs, kernel=1))

        def forward(self, features: torch.Tensor) -> torch.Tensor:
            return torch.relu(self.body(features) + self.skip(features))

    torch.manual_seed(0)
    widths = (16, 16, 32, 64, 128)
    blocks = [Block(widths[i], widths[i + 1], 1 if i == 0 else 2) for i in range(4)]
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(widths[-1], 1))
    network = nn.Sequential(convolution(1, widths[0], 2, 5), nn.ReLU(), *blocks, *head)
    network.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), lr=4e-3, weight_decay=0.05)
    steps = len(images) // batch
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps * epochs, pct_start=0.15)
    for _ in range(epochs):
        for chosen in torch.randperm(len(images))[: steps * batch].split(batch):  # type: ignore[no-untyped-call]
            shifted = torch.roll(images[chosen], torch.randint(-7, 8, (2,)).tolist(), (2, 3))
            mirrored = shifted.flip(3) if torch.rand(()) < 0.5 else shifted
            with torch.autocast("cpu", torch.bfloat16):
                logits = network(mirrored.contiguous(memory_format=torch.channels_last))[:, 0]
            loss = nn.functional.binary_cross_entropy_with_logits(logits.float(), labels[chosen])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    return network.eval()
