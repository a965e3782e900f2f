"""Pytest's way to the stand-in: a server, this process pointed to it, and the environment for others."""

from collections.abc import Iterator
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


@pytest.fixture
def online(wandb_service: WandbServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[WandbServer]:
    """W&B's client, in this process and those it starts, speaks to the server and writes to a folder of the test."""
    import wandb

    names = ("WANDB_DIR", "WANDB_DATA_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "PNEUMONIA_REGISTRY_CACHE")
    folders = {name: str(tmp_path / name.lower()) for name in names}
    for name, value in {**wandb_service.environment, **folders}.items():
        monkeypatch.setenv(name, value)
    Path(folders["WANDB_DIR"]).mkdir()
    wandb.teardown()  # what it read of the environment before
    yield wandb_service
    wandb.teardown()
