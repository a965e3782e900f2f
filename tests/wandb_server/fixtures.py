"""Pytest's way to the stand-in: a server, this process pointed to it, and the environment for others."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.wandb_server.server import WandbServer, wandb_server


@pytest.fixture
def wandb_service() -> Iterator[WandbServer]:
    """A server with the registry `model`; whatever was refused by it fails the test."""
    with wandb_server() as server:
        server.store.add_registry("model")
        yield server
        assert server.refused == []


@contextmanager
def pointed_to(server: WandbServer, folder: Path) -> Iterator[None]:
    """W&B's client, in this process and those it starts, speaks to the server and writes to the folder."""
    import wandb

    names = ("WANDB_DIR", "WANDB_DATA_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "PNEUMONIA_REGISTRY_CACHE")
    folders = {name: str(folder / name.lower()) for name in names}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**server.environment, **folders}.items():
            patch.setenv(name, value)
        Path(folders["WANDB_DIR"]).mkdir()
        wandb.teardown()  # what it read of the environment before
        yield
        wandb.teardown()


@pytest.fixture
def online(wandb_service: WandbServer, tmp_path: Path) -> Iterator[WandbServer]:
    """The server, with W&B's client pointed to it."""
    with pointed_to(wandb_service, tmp_path):
        yield wandb_service
