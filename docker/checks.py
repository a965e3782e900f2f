"""What an image has to show, in its folder and while it runs. Each raises `RuntimeError` with what it found instead."""

import json
import subprocess
import sys
import time
from pathlib import Path

from docker.build import Image
from docker.container import Container
from docker.system import run

READY, ENDED = 180.0, 60.0
# Bytes of all that is in it, its Debian included.
MOST_BYTES = {"serve": 700_000_000}
_TITLE = "Chest X-ray: normal or pneumonia?"
_USER = "10001:10001"
_ASK = """
import sys
import time
from pathlib import Path
from pneumonia.demo.client import ApiClient
client = ApiClient("http://127.0.0.1:8000")
print(client.predict(sys.stdin.buffer.read()).probability)
"""


def check_size(name: str, image: Image, base: Path) -> str:
    """How large it is, in words."""
    total, before = _bytes(image.root), _bytes(base)
    words = f"{total / 1e6:.0f} MB, of which {before / 1e6:.0f} MB are its Debian"
    _expect(total < MOST_BYTES.get(name, total + 1), f"{name} takes {words}: too much")
    return words


def check_contents(image: Image, revision: str) -> None:
    """Its user, where it comes from, and that no setting of the build was left in it."""
    _expect(image.user == _USER, f"its user is {image.user}, not {_USER}")
    label = image.labels.get("org.opencontainers.image.revision")
    _expect(label == revision == image.environment["PNEUMONIA_REVISION"], f"it says revision {label}, not {revision}")
    left = [name for name in ("etc/pip.conf", "registry", "src", "root/.cache") if (image.root / name).exists()]
    _expect(not left, f"the build left {left} in it")


def check_reference(image: Image) -> None:
    """A bundle stage that is told of no bundle holds the package's reference."""
    names = sorted(path.name for path in (image.root / "bundle").iterdir())
    found = json.loads((image.root / "bundle" / "bundle.json").read_text(encoding="utf-8"))["name"]
    _expect(found == "reference", f"without BUNDLE it holds {found}: {names}")


def check_wandb(image: Image, secret: Path) -> None:
    """A bundle stage that pulled from Weights & Biases holds what it pulled, and nowhere the key."""
    pulled = image.root / "bundle" / "wandb_artifact.json"
    _expect(pulled.exists(), "what it holds does not come from Weights & Biases")
    key = secret.read_text(encoding="ascii").encode()
    found = subprocess.run(["grep", "-rlF", "-e", key, str(image.root)], capture_output=True, text=True, check=False)
    _expect(found.returncode == 1, f"the key is in {found.stdout}{found.stderr}")


def check_serve(api: Container, films: Path) -> None:
    """It answers for films as this checkout does, and can write nowhere but in memory."""
    here = _classify("--bundle", "pneumonia/reference", films)
    there = json.loads("[" + ",".join(_lines(api.beside(_words("--url", "http://127.0.0.1:8000", films)))) + "]")
    _expect(len(here) == len(there) == 4, f"{len(there)} answers for 4 films")
    for mine, its in zip(here, there, strict=True):
        same = mine["prediction"] == its["prediction"] and abs(mine["probability"] - its["probability"]) < 1e-3
        _expect(same, f"it says {its}, this checkout {mine}")
    _check_confined(api)
    torch = api.execute(["python", "-c", "import torch"])
    _expect("No module named 'torch'" in torch.stderr, f"torch is in it: {torch.stderr or 'it was imported'}")


def check_demo(page: Container, films: Path) -> None:
    """The page is there, and what it asks with gets a prediction from the API beside it."""
    fetch = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:7860/', timeout=30).read().decode())"
    html = "\n".join(_lines(page.beside([sys.executable, "-c", fetch])))
    _expect(_TITLE in html, f"the page has no title: {html[:500]}")
    film = next(films.rglob("*.jpeg"))
    answer = page.execute(["python", "-c", _ASK], stdin=film)
    _expect(0 <= float(_lines(answer)[0]) <= 1, f"the page's client says {answer.stdout}")
    _check_confined(page)


def check_train(image: Image, log: Path) -> float:
    """It trains on phantoms that it draws and exports what came of it, read-only and as its user; the seconds it took.

    The bundle records the commit that the image was built from.
    """
    steps = [
        "pneumonia data phantom --train 80 --val 0 --test 20 --output /tmp/phantom",
        "pneumonia fit --config configs/debug.yaml --data.root /tmp/phantom --data.cache_dir /tmp/cache "
        "--trainer.default_root_dir /tmp/run --trainer.enable_progress_bar false",
        "pneumonia export --checkpoint /tmp/run/checkpoints/best.ckpt --data /tmp/phantom --cache-dir /tmp/cache "
        "--output /tmp/bundle",
        "pneumonia classify --json --bundle /tmp/bundle /tmp/phantom/test",
        "cat /tmp/bundle/bundle.json",
    ]
    began = time.monotonic()
    container = Container(image, log, entrypoint=["sh", "-ec"], command=["\n".join(steps)])
    try:
        code = container.wait(1800)
        _expect(code == 0, f"training in it ended with {code}:\n{container.printed()}")
    finally:
        container.kill()
    printed = log.read_text(encoding="utf-8")
    commit = image.environment["PNEUMONIA_REVISION"].removesuffix("-dirty")
    _expect(f'"commit": "{commit}"' in printed, f"the bundle does not come from {commit}:\n{container.printed()}")
    _expect(printed.count('"prediction"') >= 20, f"films were not classified:\n{container.printed()}")
    return time.monotonic() - began


def check_stop(container: Container) -> None:
    """It ends in order when it is told to."""
    code = container.stop(ENDED)
    _expect(code == 0, f"it ended with {code}:\n{container.printed()}")


def _check_confined(container: Container) -> None:
    who = _lines(container.execute(["id", "-u"]))[0]
    _expect(who == _USER.partition(":")[0], f"it runs as {who}")
    for place in ("/x", "/opt/venv/x", "/dev/x"):
        done = container.execute(["touch", place])
        _expect(done.returncode != 0, f"{place} can be written")
    _expect(container.execute(["touch", "/tmp/x"]).returncode == 0, "/tmp can't be written")


def _words(option: str, value: str, films: Path) -> list[str]:
    return [sys.executable, "-m", "pneumonia", "classify", "--json", option, value, str(films / "test")]


def _classify(option: str, value: str, films: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in run(_words(option, value, films)).splitlines()]


def _lines(done: "subprocess.CompletedProcess[str]") -> list[str]:
    _expect(done.returncode == 0, f"it failed: {done.stdout[-1000:]}{done.stderr[-2000:]}")
    return done.stdout.splitlines()


def _bytes(root: Path) -> int:
    return int(run(["du", "--summarize", "--bytes", "--one-file-system", str(root)]).split()[0])


def _expect(holds: bool, otherwise: str) -> None:
    if not holds:
        raise RuntimeError(otherwise)
