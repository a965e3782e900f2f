"""Pretrained weights: by name from a server, from files old and new, into every backbone, and never as code."""

import hashlib
import http.server
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torchvision import models

from pneumonia.errors import ConfigError
from pneumonia.export import export_graph
from pneumonia.inference.engine import OnnxRuntimeEngine
from pneumonia.models import TorchvisionBackbone
from pneumonia.models.graph import TorchGraph

NAMED = ["resnet18", "resnet50", "densenet121", "efficientnet_b0", "efficientnet_v2_s", "convnext_tiny"]
# The named network that is made fastest.
NAME, DEFAULT = "mobilenet_v3_small", models.MobileNet_V3_Small_Weights.DEFAULT

Offer = Callable[..., str]


class Folder(http.server.SimpleHTTPRequestHandler):
    asked: ClassVar[list[str]] = []

    def log_message(self, *args: object) -> None:
        """Nothing on the terminal."""

    def do_GET(self) -> None:
        self.asked.append(self.path)
        super().do_GET()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A server on this machine, and the folder that it serves."""
    (folder := tmp_path / "served").mkdir()
    Folder.asked.clear()

    def handler(*arguments: object) -> Folder:
        return Folder(*arguments, directory=folder)  # type: ignore[arg-type]

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", folder
        server.shutdown()


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where torchvision keeps what it downloads."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path / "torch" / "hub" / "checkpoints"


@pytest.fixture
def offer(served: tuple[str, Path], hub: Path, monkeypatch: pytest.MonkeyPatch) -> Offer:
    """Serve a state dict as torchvision's own file of that network; returns the file's name."""
    base, folder = served

    def put(content: object, digest: str | None = None, weights: models.WeightsEnum = DEFAULT) -> str:
        torch.save(content, folder / "content")
        digest = digest or hashlib.sha256((folder / "content").read_bytes()).hexdigest()
        name = f"weights-{digest[:8]}.pth"
        (folder / "content").rename(folder / name)
        monkeypatch.setattr(weights.value, "url", f"{base}/{name}")
        return name

    return put


def random_weights(name: str = NAME, seed: int = 7) -> dict[str, Tensor]:
    """Of torchvision's classifier; normalisation is not the identity, nor are layers nearly switched off."""
    torch.manual_seed(seed)
    state: dict[str, Tensor] = models.get_model(name).state_dict()
    for key, value in state.items():
        if key.endswith(("running_mean", "bias")):
            value.normal_(0, 0.1)
        elif key.endswith("running_var") or (value.ndim == 1 and value.is_floating_point()):
            value.uniform_(0.5, 1.5)
    return state


def kept(network: nn.Module, state: dict[str, Tensor]) -> bool:
    """Whether all of the file's convolutional part, and of its layers that normalise, is in the network."""
    ours = [value for key, value in network.state_dict().items() if not key.startswith("classifier.linear")]
    theirs = [value for key, value in state.items() if not key.startswith(("fc.", "classifier."))]
    theirs += [value for key, value in state.items() if key.startswith("classifier.0.") and len(ours) > len(theirs)]
    theirs[0] = theirs[0].sum(dim=1, keepdim=True)
    return len(ours) == len(theirs) and all(
        torch.equal(one.flatten(), other.flatten()) for one, other in zip(ours, theirs, strict=True)
    )


def test_weights_by_name_are_downloaded_into_the_network(offer: Offer) -> None:
    offer(state := random_weights())
    assert kept(TorchvisionBackbone(NAME, "DEFAULT"), state)


def test_weights_by_name_are_downloaded_once(offer: Offer, hub: Path) -> None:
    name = offer(random_weights())
    for _ in range(2):
        TorchvisionBackbone(NAME, "DEFAULT")
    assert Folder.asked == [f"/{name}"]
    assert [path.name for path in hub.iterdir()] == [name]


def test_weights_that_were_put_where_torchvision_keeps_them_need_no_server(offer: Offer, hub: Path) -> None:
    name = offer({})
    hub.mkdir(parents=True)
    torch.save(state := random_weights(), hub / name)
    assert kept(TorchvisionBackbone(NAME, "DEFAULT"), state)
    assert not Folder.asked


def test_a_download_whose_hash_is_wrong_is_an_error_and_is_not_kept(offer: Offer, hub: Path) -> None:
    offer(random_weights(), digest="0" * 64)
    with pytest.raises(ConfigError, match=r"can't be downloaded \(invalid hash value .*Get http.*weights-00000000"):
        TorchvisionBackbone(NAME, "DEFAULT")
    assert not list(hub.iterdir())


def test_a_download_that_breaks_off_is_an_error_and_is_not_kept(
    offer: Offer, hub: Path, served: tuple[str, Path]
) -> None:
    name = offer(random_weights())
    os.truncate(served[1] / name, 1000)
    with pytest.raises(ConfigError, match="can't be downloaded"):
        TorchvisionBackbone(NAME, "DEFAULT")
    assert not list(hub.iterdir())


def test_weights_that_the_server_does_not_have_are_an_error_that_says_what_to_do(
    offer: Offer, hub: Path, served: tuple[str, Path]
) -> None:
    name = offer(random_weights())
    (served[1] / name).unlink()
    message = rf"DEFAULT of {NAME} can't be downloaded \(HTTP Error 404.*Get http://.*{name} .* put it at {hub / name}"
    with pytest.raises(ConfigError, match=message):
        TorchvisionBackbone(NAME, "DEFAULT")
    assert not list(hub.iterdir())


def test_no_server_is_an_error_and_the_next_try_downloads(
    offer: Offer, hub: Path, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(state := random_weights())
    with monkeypatch.context() as patch:
        patch.setattr(DEFAULT.value, "url", f"http://127.0.0.1:{free_port}/weights-00000000.pth")
        with pytest.raises(ConfigError, match=r"can't be downloaded \(.*refused"):
            TorchvisionBackbone(NAME, "DEFAULT")
    assert not list(hub.iterdir())
    assert kept(TorchvisionBackbone(NAME, "DEFAULT"), state)


def test_a_damaged_file_that_was_kept_is_an_error_that_names_it(offer: Offer, hub: Path) -> None:
    name = offer(random_weights())
    hub.mkdir(parents=True)
    (hub / name).write_bytes(b"PK\3\4")
    with pytest.raises(ConfigError, match=rf"{hub / name}.* Remove it"):
        TorchvisionBackbone(NAME, "DEFAULT")


def test_a_download_that_would_run_a_command_is_refused_and_not_run(offer: Offer, tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> object:
            return os.mkdir, (str(tmp_path / "exploded"),)

    offer(Bomb())
    with pytest.raises(ConfigError, match="can't be read"):
        TorchvisionBackbone(NAME, "DEFAULT")
    assert not (tmp_path / "exploded").exists()


def test_a_download_of_another_network_is_an_error(offer: Offer) -> None:
    offer(random_weights("squeezenet1_1"))
    with pytest.raises(ConfigError, match=r"The weights DEFAULT lack \d+ of \d+ tensors"):
        TorchvisionBackbone(NAME, "DEFAULT")


def as_in_2017(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The form of torchvision's older files: no counters of batches, and dots in the names of dense layers."""
    dotted = {
        key.replace("norm1.", "norm.1.")
        .replace("norm2.", "norm.2.")
        .replace("conv1.", "conv.1.")
        .replace("conv2.", "conv.2.")
        if "denselayer" in key
        else key: value
        for key, value in state.items()
    }
    return {key: value for key, value in dotted.items() if not key.endswith("num_batches_tracked")}


@pytest.mark.parametrize("name", ["resnet18", "densenet121"])
def test_torchvision_s_older_files_are_read(name: str, tmp_path: Path) -> None:
    state = random_weights(name)
    torch.save(as_in_2017(state), tmp_path / "weights.pth", _use_new_zipfile_serialization=False)
    assert kept(TorchvisionBackbone(name, str(tmp_path / "weights.pth")), state)


def test_the_last_normalisation_of_convnext_is_wanted(tmp_path: Path) -> None:
    state = {key: value for key, value in random_weights("convnext_tiny").items() if key != "classifier.0.bias"}
    torch.save(state, tmp_path / "weights.pth")
    with pytest.raises(ConfigError, match=r"lack 1 of \d+ tensors, e\.g\. 'classifier\.0\.bias'"):
        TorchvisionBackbone("convnext_tiny", str(tmp_path / "weights.pth"))


@pytest.fixture(scope="module", params=NAMED)
def pretrained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, nn.Module]:
    """A file of a named backbone, and the network that was made of it."""
    path = tmp_path_factory.mktemp("weights") / f"{request.param}.pth"
    torch.save(random_weights(request.param), path)
    return path, TorchvisionBackbone(request.param, str(path)).eval()


@pytest.mark.slow
def test_every_named_backbone_keeps_all_pretrained_weights_of_a_local_file(pretrained: tuple[Path, nn.Module]) -> None:
    path, network = pretrained
    assert kept(network, torch.load(path, weights_only=True))


@pytest.mark.slow
def test_every_named_backbone_names_each_of_its_parameters_in_one_group(pretrained: tuple[Path, nn.Module]) -> None:
    _, network = pretrained
    groups = network.layer_groups()  # type: ignore[operator]
    named = [id(parameter) for group in groups for parameter in group.parameters()]
    assert named == [id(parameter) for parameter in network.parameters()]
    assert 5 <= len(groups) <= 6
    assert list(groups[-1]) == [network.classifier.linear]  # type: ignore[union-attr]


@pytest.mark.slow
def test_every_named_backbone_answers_from_onnx_as_in_pytorch_and_so_does_its_graph_as_a_module(
    pretrained: tuple[Path, nn.Module], tmp_path: Path
) -> None:
    _, network = pretrained
    export_graph(network, 64, tmp_path / "model.onnx")
    films = np.random.default_rng(0).integers(0, 256, (3, 64, 64), dtype=np.uint8)
    with torch.inference_mode():
        expected = network(torch.from_numpy(films).unsqueeze(1))
        again = TorchGraph(tmp_path / "model.onnx").eval()(torch.from_numpy(films[:, None]))
    engine = OnnxRuntimeEngine(tmp_path / "model.onnx")
    for answers in (engine.run(films[:1]), engine.run(films), [each.numpy() for each in again]):
        for found, wanted in zip(answers, expected, strict=True):
            scale = max(1.0, float(wanted.abs().max()))
            np.testing.assert_allclose(found / scale, wanted[: len(found)].numpy() / scale, atol=1e-4)
