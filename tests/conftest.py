"""What the tests share: a small tree of films, a run trained on it, its bundle, and a server of that bundle."""

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from PIL import Image

from benchmarks.server_process import free_port, pneumonia_serve, serve

PROJECT = Path(__file__).parents[1]
MIRROR_VARIABLE = "PNEUMONIA_TEST_MIRROR"

pytest_plugins = ["tests.stand_in"]

Command = Callable[..., "subprocess.CompletedProcess[str]"]
TrainingWords = Callable[..., list[str]]


def pytest_configure() -> None:
    # Processes that tests start find the package, installed or not, and write nothing beyond what they are told.
    os.environ["PYTHONPATH"] = os.pathsep.join([str(PROJECT), *filter(None, [os.environ.get("PYTHONPATH")])])
    os.environ["WANDB_MODE"] = "offline"
    # A script's job in the background begins with interrupts ignored, which processes inherit; tests send them some.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # Networks this small gain nothing from threads, and on a busy machine wait for each other a hundred times as long.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    settings.register_profile("project", deadline=None, max_examples=50)  # a busy machine is no failure
    settings.register_profile("long", deadline=None, max_examples=5000)  # by --hypothesis-profile
    settings.load_profile("project")
    for variable in [name for name in os.environ if name.startswith("PNEUMONIA_") and name != MIRROR_VARIABLE]:
        os.environ.pop(variable)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that need a trained bundle are slow, whichever of them is the first to wait for it.

    Files with the most slow tests go first: where several processes share the files, none is left with a long one.
    """
    for item in items:
        if {"run", "bundle_dir", "server"} & set(getattr(item, "fixturenames", ())):
            item.add_marker("slow")
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[item.path])


@pytest.fixture(scope="session")
def command() -> Command:
    """`python -m pneumonia ...` as a process of its own."""

    def run(*arguments: object, **options: object) -> "subprocess.CompletedProcess[str]":
        words = [sys.executable, "-m", "pneumonia", *map(str, arguments)]
        return subprocess.run(words, capture_output=True, text=True, timeout=120, **options)  # type: ignore[call-overload]

    return run


@pytest.fixture(scope="session")
def draw_film() -> Callable[..., Image.Image]:
    """A gray film with two dark lungs, air beside the neck and a bright belly; pneumonia is a bright patch."""

    def draw(seed: int, label: str, width: int = 96, height: int = 80) -> Image.Image:
        rng = np.random.default_rng(seed)
        y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
        film = 150 + 20 * rng.standard_normal() + 8 * rng.standard_normal((height, width))
        side = rng.choice([-1, 1])
        for lung in (-1, 1):
            film -= 100 * (((x - lung * 0.45) / 0.32) ** 2 + (y / 0.75) ** 2 < 1)
        film += 50 * (y > 0.8) - 120 * ((abs(x) > 0.4) & (y < -0.85))
        if label == "PNEUMONIA":
            film += 110 * np.exp(-(((x - side * 0.45) / 0.25) ** 2) - ((y - rng.uniform(-0.3, 0.3)) / 0.35) ** 2)
        return Image.fromarray(film.clip(0, 255).astype(np.uint8))

    return draw


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory, draw_film: Callable[..., Image.Image]) -> Path:
    """94 films in the official layout: several a patient, two patients with an identical film, several sizes."""
    root = tmp_path_factory.mktemp("data") / "chest_xray"
    names = [
        *(f"train/NORMAL/IM-{patient:04}-{film:04}.jpeg" for patient in range(12) for film in range(1 + patient % 3)),
        *(f"train/NORMAL/NORMAL2-IM-{patient:04}-0001.jpeg" for patient in range(4)),
        *(
            f"train/PNEUMONIA/person{patient}_{'bacteria' if patient % 2 else 'virus'}_{10 * patient + film}.jpeg"
            for patient in range(1, 21)
            for film in range(1 + patient % 3)
        ),
        *(f"val/NORMAL/NORMAL2-IM-{patient:04}-0001.jpeg" for patient in (50, 51, 52)),
        *(f"val/PNEUMONIA/person{patient}_bacteria_{patient}.jpeg" for patient in (60, 61, 62)),
        *(f"test/NORMAL/IM-{patient:04}-0001.jpeg" for patient in range(70, 79)),
        *(f"test/PNEUMONIA/person{child}_{'virus' if child % 2 else 'bacteria'}_1.jpeg" for child in range(5, 16)),
    ]
    for seed, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        draw_film(seed, path.parent.name, 90 + seed % 4 * 10, 80 + seed % 3 * 8).save(path, quality=90)
    twin = root / "train/PNEUMONIA/person4_virus_40.jpeg"
    (root / "train/PNEUMONIA/person90_virus_900.jpeg").write_bytes(twin.read_bytes())
    return root


@pytest.fixture(scope="session")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where decoded films of the session are kept."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def training_words(tree: Path, cache_dir: Path) -> TrainingWords:
    """The command line of `pneumonia fit` and its kin on the tree, with a config of the project."""

    def words(command: str, folder: Path, *options: str, config: str = "debug", data: Path = tree) -> list[str]:
        return [
            command,
            f"--config={PROJECT / 'configs' / config}.yaml",
            f"--data.root={data}",
            f"--data.cache_dir={cache_dir}",
            f"--trainer.default_root_dir={folder}",
            "--trainer.enable_progress_bar=false",
            "--trainer.enable_model_summary=false",
            *options,
        ]

    return words


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory, training_words: TrainingWords) -> Path:
    """The folder of a real run: `pneumonia fit --config configs/debug.yaml` on the tree."""
    from pneumonia.training.cli import main

    folder = tmp_path_factory.mktemp("runs") / "debug"
    main(training_words("fit", folder))
    return folder


@pytest.fixture(scope="session")
def bundle_dir(tmp_path_factory: pytest.TempPathFactory, run: Path, tree: Path, cache_dir: Path) -> Path:
    """The run's best checkpoint, exported. Tests that change it copy it first."""
    from pneumonia.export import main

    output = tmp_path_factory.mktemp("bundles") / "debug"
    words = ["--checkpoint", run / "checkpoints" / "best.ckpt", "--data", tree, "--output", output]
    main([*map(str, words), "--cache-dir", str(cache_dir)])
    return output


@pytest.fixture(scope="session")
def mirror() -> Path:
    """The real films, where they are beside the checkout; no test copies them into the project."""
    given = os.environ.get(MIRROR_VARIABLE)
    path = Path(given) if given else PROJECT.parent / "shared" / "data" / "chest_xray"
    if not path.is_dir():
        pytest.skip(f"no real films at {path}; {MIRROR_VARIABLE} names another place")
    return path


@pytest.fixture(name="free_port")
def unused_port() -> int:
    """A port of 127.0.0.1 that nothing listens on."""
    return free_port()


@pytest.fixture(scope="session")
def server(bundle_dir: Path) -> Iterator[str]:
    """Base URL of `pneumonia serve` on the bundle, in processes of its own."""
    with serve(pneumonia_serve(bundle_dir, "--workers", "1")) as running:
        yield f"http://127.0.0.1:{running.port}"
