"""Builds a Dockerfile's stages as folders: each step as the Dockerfile says it, a RUN in a chroot of its own mounts."""

import posixpath
import shlex
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from docker.steps import Stage, Step, argument_of, expand, ignore_patterns, is_ignored, mounts_of, pairs_of
from docker.system import run

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# Place, source, whether it may be written to.
Bind = tuple[str, Path, bool]


@dataclass(frozen=True)
class Image:
    """A root folder, and what is to run in it and how."""

    root: Path
    environment: dict[str, str] = field(default_factory=lambda: {"PATH": PATH})
    user: str = "0:0"
    folder: str = "/"
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    health: tuple[str, ...] = ()
    labels: dict[str, str] = field(default_factory=dict)
    shell: tuple[str, ...] = ("/bin/sh", "-c")
    stop_signal: str = "SIGTERM"


@dataclass(frozen=True)
class Setting:
    """What a build is given from outside.

    Args:
        context: the folder that COPY takes from, less what its .dockerignore names.
        work: for the stages' folders.
        cache: for what `--mount=type=cache` keeps from one build to the next.
        make_base: the folder of an image that is no stage, by its name.
        arguments: for the ARGs.
        secrets: files by the ids that `--mount=type=secret` asks for.
        contexts: folders that take the place of stages, by name.
        beside: files of this machine that a secret names, by its id; a RUN with the secret sees them at their place.
    """

    context: Path
    work: Path
    cache: Path
    make_base: Callable[[str], Path]
    arguments: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, Path] = field(default_factory=dict)
    contexts: Mapping[str, Path] = field(default_factory=dict)
    beside: Mapping[str, tuple[Path, ...]] = field(default_factory=dict)


def build_stage(stage: Stage, images: Mapping[str, Image], setting: Setting, say: Callable[[str], None]) -> Image:
    """The image of one stage, made from those before it. Raises `RuntimeError` for a step that fails."""
    root = setting.work / stage.name
    shutil.rmtree(root, ignore_errors=True)
    root.parent.mkdir(parents=True, exist_ok=True)
    if stage.name in setting.contexts:
        shutil.copytree(setting.contexts[stage.name], root)
        return Image(root)
    if stage.base == "scratch":
        root.mkdir()
        image = Image(root)
    else:
        before = images.get(stage.base) or Image(setting.make_base(stage.base))
        run(["cp", "--archive", "--reflink=auto", str(before.root), str(root)])
        image = replace(before, root=root)
    arguments: dict[str, str] = {}
    for step in stage.steps:
        say(f"{stage.name}:{step.line} {step.name} {' '.join(step.words)}"[:120])
        variables = {**arguments, **image.environment}
        if step.name == "ARG":
            arguments.update(argument_of(step, setting.arguments, variables))
        elif step.name == "RUN":
            _run(step, image, variables, images, setting)
        elif step.name == "COPY":
            _copy(step, image, variables, images, setting)
        else:
            image = _configure(step, image, variables)
    return image


def _configure(step: Step, image: Image, variables: Mapping[str, str]) -> Image:
    """The image with what the step says of how it runs."""
    words = tuple(step.words)
    first = expand(words[0], variables) if words else ""
    match step.name:
        case "ENV":
            return replace(image, environment={**image.environment, **pairs_of(step, variables)})
        case "LABEL":
            return replace(image, labels={**image.labels, **pairs_of(step, variables)})
        case "WORKDIR":
            folder = posixpath.join(image.folder, first)
            (image.root / folder.lstrip("/")).mkdir(parents=True, exist_ok=True)
            return replace(image, folder=folder)
        case "USER":
            return replace(image, user=first)
        case "ENTRYPOINT" if step.listed:
            return replace(image, entrypoint=words, command=())
        case "CMD" if step.listed:
            return replace(image, command=words)
        case "HEALTHCHECK" if step.listed and words[0] == "CMD":
            return replace(image, health=words[1:])
        case "SHELL":
            return replace(image, shell=words)
        case "STOPSIGNAL":
            return replace(image, stop_signal=first)
        case "EXPOSE":
            return image
    raise ValueError(f"Line {step.line}: {step.name} in this form is not understood here.")


def _run(step: Step, image: Image, variables: Mapping[str, str], images: Mapping[str, Image], setting: Setting) -> None:
    environment = {"HOME": "/root", **variables}
    binds: list[Bind] = [("/etc/resolv.conf", Path("/etc/resolv.conf"), False), ("/dev", Path("/dev"), True)]
    for mount in mounts_of(step):
        kind, target = mount.get("type", "bind"), mount.get("target", "")
        if kind == "cache":
            kept = setting.cache / target.strip("/").replace("/", "-")
            kept.mkdir(parents=True, exist_ok=True)
            binds.append((target, kept, True))
        elif kind == "secret":
            secret = setting.secrets.get(mount["id"])
            if secret is not None and "env" in mount:
                environment[mount["env"]] = secret.read_text(encoding="utf-8")
            elif secret is not None:
                binds.append((target, secret, False))
                binds += [(str(path), path, False) for path in setting.beside.get(mount["id"], ())]
        elif kind == "bind":
            source = images[mount["from"]].root if "from" in mount else setting.context
            binds.append((target, source / mount.get("source", "").lstrip("/"), False))
        else:
            raise ValueError(f"Line {step.line}: a mount of type {kind} is not understood here.")
    words = list(step.words) if step.listed else [*image.shell, step.words[0]]
    made = [place for target, source, _ in binds if (place := _mount_point(image.root, target, source))]
    lines = [_bind_line(image.root, bind) for bind in binds]
    lines.append(f"mount -t proc proc {shlex.quote(str(image.root / 'proc'))}")
    inside = ["env", "-i", f"--chdir={image.folder}", *(f"{key}={value}" for key, value in environment.items()), *words]
    lines.append("exec " + shlex.join(["chroot", f"--userspec={image.user}", str(image.root), *inside]))
    isolated = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private"]
    done = subprocess.run(
        [*isolated, "sh", "-ec", "\n".join(lines)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    for place in made:  # a secret leaves nothing behind, not even its name
        place.unlink(missing_ok=True) if place.is_file() else shutil.rmtree(place, ignore_errors=True)
    if done.returncode:
        raise RuntimeError(f"Line {step.line}: RUN ended with {done.returncode}:\n{done.stdout[-6000:]}")


def _mount_point(root: Path, target: str, source: Path) -> Path | None:
    """A place to mount something at; None when it was there before."""
    place = root / target.lstrip("/")
    if place.exists() or place.is_symlink():
        return None
    place.parent.mkdir(parents=True, exist_ok=True)
    place.mkdir() if source.is_dir() else place.touch()
    return place


def _bind_line(root: Path, bind: Bind) -> str:
    target, source, writable = bind
    place = shlex.quote(str(root / target.lstrip("/")))
    line = f"mount --{'r' if target == '/dev' else ''}bind {shlex.quote(str(source))} {place}"
    return line if writable else f"{line}\nmount -o remount,bind,ro {place}"


def _copy(
    step: Step, image: Image, variables: Mapping[str, str], images: Mapping[str, Image], setting: Setting
) -> None:
    *sources, target = [expand(word, variables) for word in step.words]
    place = image.root / posixpath.join(image.folder, target).lstrip("/")
    stage = step.flag("from")
    for source in sources:
        if stage is not None:
            origin = images[stage].root / source.lstrip("/")
            into = place / origin.name if target.endswith("/") and origin.is_file() else place
            into.parent.mkdir(parents=True, exist_ok=True)
            run(["cp", "--archive", "--no-target-directory", str(origin), str(into)])
        else:
            _copy_context(setting.context, source, place, len(sources) > 1 or target.endswith("/"))
    owner = step.flag("chown")
    if owner:
        run(["chown", "--recursive", owner, str(place)])


def _copy_context(context: Path, source: str, place: Path, into_folder: bool) -> None:
    """A file or folder of the context, without what .dockerignore leaves out. Raises `RuntimeError` when none is left.

    As Docker does: a folder's content is copied, not the folder.
    """
    ignore = context / ".dockerignore"
    patterns = ignore_patterns(ignore.read_text(encoding="utf-8")) if ignore.exists() else []
    origin = context / source
    files = [origin] if origin.is_file() else sorted(path for path in origin.rglob("*") if path.is_file())
    kept = [path for path in files if not is_ignored(path.relative_to(context).as_posix(), patterns)]
    if not kept:
        raise RuntimeError(f"COPY {source}: it is not there, or .dockerignore leaves it out.")
    for path in kept:
        under = path.relative_to(origin) if origin.is_dir() else Path(path.name if into_folder else "")
        into = place / under
        into.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, into)
