"""`make images-chroot`: build each image step by step, start it as it would be started, and see that it does its work.

For machines without a container engine. Needs root on Debian or Ubuntu with debootstrap, iproute2 and util-linux.
"""

import argparse
import functools
import os
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from docker import checks
from docker.build import Image, Setting, build_stage
from docker.container import Container
from docker.steps import Stage, read_stages
from docker.system import debian, pip_settings, run

PROJECT = Path(__file__).parents[1]
IMAGES = ("serve", "demo", "train")
_NEEDED = ("debootstrap", "ip", "nsenter", "unshare", "setpriv")
_PNEUMONIA = (sys.executable, "-m", "pneumonia")


def main() -> int:
    """Build and try the images that are named."""
    parser = argparse.ArgumentParser(prog="python -m docker.chroot", description=__doc__)
    parser.add_argument("images", nargs="*", metavar="IMAGE", help=f"of {', '.join(IMAGES)} (default: serve demo)")
    parser.add_argument("--work", type=Path, default=PROJECT / "artifacts" / "images", help="folder for what is built")
    parser.add_argument(
        "--wandb", action="store_true", help="pull the bundle also from a stand-in for Weights & Biases"
    )
    options = parser.parse_args()
    names = options.images or ["serve", "demo"]
    if unknown := set(names) - set(IMAGES):
        parser.error(f"no such image: {', '.join(sorted(unknown))}")
    if why := missing():
        parser.error(why)
    os.chdir(PROJECT)
    work = options.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    films = _films(work)
    images = {name: _build(name, work, options.wandb) for name in names}
    if "train" in images:
        seconds = checks.check_train(images["train"], work / "train.log")
        _say(f"train: trained and exported in {seconds:.0f} s")
    if "serve" in images:
        with _running(images["serve"], work / "serve.log") as api:
            checks.check_serve(api, films)
            if "demo" in images:
                command = [*images["demo"].command[:-1], "http://127.0.0.1:8000"]
                with _running(images["demo"], work / "demo.log", command, api) as page:
                    checks.check_demo(page, films)
    elif "demo" in images:
        with _running(images["demo"], work / "demo.log"):
            pass
    return 0


def missing() -> str | None:
    """Why this machine can't do it, or None."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return "needs root: it mounts file systems and changes roots"
    absent = [tool for tool in _NEEDED if shutil.which(tool) is None]
    return f"needs {', '.join(absent)}: apt-get install debootstrap iproute2 util-linux" if absent else None


def _build(name: str, work: Path, wandb: bool) -> Image:
    """Build `docker/NAME.Dockerfile` and look at what is in it; the API's with a bundle from a registry."""
    began = time.monotonic()
    revision = run(["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]).strip()
    pip, named = pip_settings()
    secret = work / "pip.conf"
    secret.write_text(pip, encoding="utf-8")
    setting = Setting(
        context=PROJECT,
        work=work / name,
        cache=work / "cache",
        make_base=functools.partial(debian, folder=work / "base"),
        arguments={"REVISION": revision},
        secrets={"pip": secret},
        contexts={"registry": _registry(work)} if name == "serve" else {},
        beside={"pip": tuple(named)},
    )
    stages = read_stages(PROJECT / "docker" / f"{name}.Dockerfile", setting.arguments)
    images: dict[str, Image] = {}
    for stage in stages:
        images[stage.name] = _build_one(stage, images, setting, wandb)
    image = images.pop(stages[-1].name)
    for other in images.values():
        shutil.rmtree(other.root)
    _say(f"{name}: built in {time.monotonic() - began:.0f} s")
    _say(f"{name}: {checks.check_size(name, image, debian_of(stages, setting))}")
    checks.check_contents(image, revision)
    return image


def debian_of(stages: Sequence[Stage], setting: Setting) -> Path:
    """The folder of the image that the stages begin with."""
    names = {stage.name for stage in stages}
    (base,) = {stage.base for stage in stages} - names - {"scratch"}
    return setting.make_base(base)


def _build_one(stage: Stage, images: dict[str, Image], setting: Setting, wandb: bool) -> Image:
    """A stage; that of the bundle once for each place that a bundle comes from, at last a registry in a folder."""

    def say(line: str) -> None:
        _say(f"  {line}")

    if stage.name == "bundle":
        checks.check_reference(build_stage(stage, images, setting, say))
        if wandb:
            with _wandb(setting) as pointed:
                checks.check_wandb(build_stage(stage, images, pointed, say), pointed.secrets["wandb"])
        setting = replace(setting, arguments={**setting.arguments, "BUNDLE": "reference:candidate"})
    return build_stage(stage, images, setting, say)


@contextmanager
def _wandb(setting: Setting) -> Iterator[Setting]:
    """A registry of W&B's stand-in that holds the reference, with its key as a secret."""
    from tests.wandb_server.server import wandb_server

    secret = setting.work.parent / "wandb.key"
    place = {"REGISTRY": "wandb://team/model", "BUNDLE": "reference:candidate"}
    with wandb_server() as server:
        server.store.add_registry("model")
        push = [*_PNEUMONIA, "registry", "--root", place["REGISTRY"], "push", str(PROJECT / "pneumonia" / "reference")]
        folders = {name: str(setting.work.parent / "wandb") for name in ("WANDB_DIR", "WANDB_CACHE_DIR")}
        run(push, **server.environment, **folders)
        secret.write_text(server.environment["WANDB_API_KEY"], encoding="ascii")
        arguments = {**setting.arguments, **place, "WANDB_BASE_URL": server.url}
        yield replace(setting, arguments=arguments, secrets={**setting.secrets, "wandb": secret})
        if server.refused:
            raise RuntimeError(f"W&B's stand-in refused {server.refused}")


@contextmanager
def _running(
    image: Image, log: Path, command: Sequence[str] | None = None, network: Container | None = None
) -> Iterator[Container]:
    """A container that has become healthy; it is stopped in the end, and has to go in order."""
    container = Container(image, log, command, network)
    try:
        _say(f"{log.stem}: healthy after {container.wait_until_healthy(checks.READY):.1f} s")
        yield container
        began = time.monotonic()
        checks.check_stop(container)
        _say(f"{log.stem}: stopped in order in {time.monotonic() - began:.1f} s")
    finally:
        container.kill()


def _registry(work: Path) -> Path:
    """A registry in a folder, with the reference as its candidate."""
    root = work / "registry"
    shutil.rmtree(root, ignore_errors=True)
    run([*_PNEUMONIA, "registry", "--root", str(root), "push", str(PROJECT / "pneumonia" / "reference")])
    return root


def _films(work: Path) -> Path:
    """Synthetic films to ask about."""
    films = work / "films"
    if not films.exists():
        run([*_PNEUMONIA, "data", "phantom", "--train", "0", "--val", "0", "--test", "4", "--output", str(films)])
    return films


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (RuntimeError, ValueError) as error:
        sys.exit(f"images-chroot: {error}")
