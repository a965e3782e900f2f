"""The Dockerfiles: what they say, and that what builds them without an engine reads them as an engine does."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from deploy.sizing import measured
from docker.build import Image, Setting, build_stage
from docker.checks import MOST_BYTES, check_size
from docker.chroot import IMAGES, missing
from docker.steps import Stage, Step, expand, ignore_patterns, is_ignored, mounts_of, read_stages
from docker.system import debian, pip_settings

PROJECT = Path(__file__).parents[1]
needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="images are built on Linux")
FILES = {name: PROJECT / "docker" / f"{name}.Dockerfile" for name in IMAGES}
COMPOSE = yaml.safe_load((PROJECT / "compose.yaml").read_text(encoding="utf-8"))
SECRET = re.compile(r"key|token|password|secret|credential", re.IGNORECASE)


def last(name: str) -> dict[str, Step]:
    """The steps of an image's last stage, by name: of several of a kind, the last."""
    return {step.name: step for step in read_stages(FILES[name], {})[-1].steps}


def every_step(name: str) -> list[Step]:
    return [step for stage in read_stages(FILES[name], {}) for step in stage.steps]


def program(name: str) -> str:
    found = shutil.which(name, path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    if found is None:
        pytest.skip(f"no {name}: it is in the extra dev")
    return found


# ---- what the files say


@pytest.mark.parametrize("name", IMAGES)
def test_hadolint_finds_nothing(name: str) -> None:
    done = subprocess.run([program("hadolint"), "--no-color", FILES[name]], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def test_compose_is_valid() -> None:
    words = [program("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", PROJECT / "compose.yaml"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", IMAGES)
def test_an_image_runs_as_nobody_in_particular_and_says_where_it_comes_from(name: str) -> None:
    steps = last(name)
    assert steps["USER"].words == ("10001:10001",)
    assert steps["ENTRYPOINT"].words == ("pneumonia",)
    assert steps["ENTRYPOINT"].listed  # a shell would keep SIGTERM to itself
    assert steps["CMD"].listed
    assert steps["ENV"].words == ("PNEUMONIA_REVISION", "$REVISION")
    assert "org.opencontainers.image.revision" in steps["LABEL"].words


@pytest.mark.parametrize("name", ["serve", "demo"])
def test_what_serves_has_a_healthcheck_without_a_shell(name: str) -> None:
    step = last(name)["HEALTHCHECK"]
    assert step.listed
    assert step.words[:3] == ("CMD", "python", "-c")
    (port,) = last(name)["EXPOSE"].words
    assert f"http://127.0.0.1:{port}/" in step.words[3]


@pytest.mark.parametrize("name", IMAGES)
def test_no_secret_is_an_argument_or_a_variable(name: str) -> None:
    names = [step.words[0].partition("=")[0] for step in every_step(name) if step.name == "ARG"]
    names += [word for step in every_step(name) if step.name == "ENV" for word in step.words[::2]]
    assert not [each for each in names if SECRET.search(each)]
    targets = [mount for step in every_step(name) for mount in mounts_of(step) if mount["type"] == "secret"]
    assert {mount["id"] for mount in targets} == {"pip", "wandb"} if name == "serve" else {"pip"}


@pytest.mark.parametrize("name", IMAGES)
def test_what_is_installed_is_pinned(name: str) -> None:
    installs = [step.words[0] for step in every_step(name) if step.name == "RUN" and " install " in step.words[0]]
    pip = [text for text in installs if "pip --python" in text]
    assert pip
    assert all("--constraint constraints.txt" in text or "--no-deps" in text for text in pip)
    # The base is an argument; its default has a tag that is more than a name's newest.
    (base,) = {stage.base for stage in read_stages(FILES[name], {}) if ":" in stage.base}
    assert re.fullmatch(r"debian:\d+\.\d+-slim", base)
    other = {stage.base for stage in read_stages(FILES[name], {"BASE": "other:1.2"}) if ":" in stage.base}
    assert other == {"other:1.2"}


def test_the_api_is_installed_without_torch() -> None:
    installed = " ".join(word for step in every_step("serve") for word in step.words if step.name == "ARG")
    assert "EXTRAS=serve" in installed
    assert "train" not in installed


@pytest.mark.parametrize("name", COMPOSE["services"])
def test_a_service_is_confined_watched_and_on_this_machine_only(name: str) -> None:
    service = COMPOSE["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    assert "healthcheck" in service or "HEALTHCHECK" in last({"api": "serve", "page": "demo"}[name])
    assert service["mem_limit"]
    if "image" in service and "build" not in service:
        assert re.fullmatch(r"[a-z/]+:v?\d+\.\d+\.\d+", service["image"])


def test_the_api_has_the_memory_that_was_measured_for_its_limits() -> None:
    api, needed = COMPOSE["services"]["api"], measured()
    assert api["mem_limit"] == f"{needed.memory_mib}m"
    assert api["command"][-2:] == ["--workers", str(needed.workers)]
    names = ("max_bytes", "max_pixels", "max_bytes_in_flight")
    limits = {f"PNEUMONIA_{name.upper()}": str(getattr(needed, name)) for name in names}
    assert limits.items() <= api["environment"].items()


def test_compose_has_no_key_and_what_it_mounts_is_there() -> None:
    for service in COMPOSE["services"].values():
        variables = service.get("environment", {})
        assert not [each for each in variables if re.search(r"PASSWORD|TOKEN|API_KEY|SECRET_KEY", each)]
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            assert source in COMPOSE["volumes"] or (PROJECT / source).exists()
        if "build" in service:
            assert (PROJECT / service["build"]["dockerfile"]).exists()


@pytest.mark.parametrize(
    "left_out", ["data/train/a.jpeg", ".git/config", "artifacts/registry/x", "keys", ".env", "tests/a.py"]
)
def test_the_context_has_no_film_no_history_and_no_key(left_out: str) -> None:
    patterns = ignore_patterns((PROJECT / ".dockerignore").read_text(encoding="utf-8"))
    assert is_ignored(left_out, patterns)


# ---- how they are read


@pytest.mark.parametrize(
    ("path", "ignored"),
    [
        ("README.md", True),
        ("kept/a.py", False),
        ("kept/deep/__pycache__/a.pyc", True),
        ("kept/deep/a.pyc", True),
        ("__pycache__/a", True),
        ("keptnot/a", True),
        ("kept/secret/a", True),
        ("kept/secret/but", False),
    ],
)
def test_the_last_line_that_matches_a_file_or_its_folder_decides(path: str, ignored: bool) -> None:
    text = "# a word\n*\n\n!kept\n**/__pycache__\n**/*.pyc\n/kept/secret/\n!kept/secret/b?t\n"
    assert is_ignored(path, ignore_patterns(text)) is ignored


@pytest.mark.parametrize(
    ("word", "meaning"),
    [("$A/b", "1/b"), ("${A}b", "1b"), ("${B:-c}", "c"), ("$B", ""), ('"x $A"', "x 1"), ("${A:-c}", "1")],
)
def test_variables_are_filled_in(word: str, meaning: str) -> None:
    assert expand(word, {"A": "1"}) == meaning


def test_stages_arguments_and_mounts_are_read(tmp_path: Path) -> None:
    file = tmp_path / "Dockerfile"
    file.write_text(
        "ARG BASE=debian:12-slim\nFROM $BASE AS one\nRUN --mount=type=secret,id=pip,target=/etc/pip.conf \\\n  true\n"
        "FROM one\nCOPY --from=one /a /b\n",
        encoding="utf-8",
    )
    one, two = read_stages(file, {"BASE": "debian:13-slim"})
    assert (one.name, one.base, two.name, two.base) == ("one", "debian:13-slim", "1", "one")
    assert mounts_of(one.steps[0]) == [{"type": "secret", "id": "pip", "target": "/etc/pip.conf"}]
    assert two.steps[0].flag("from") == "one"


@pytest.mark.parametrize("text", ["", "RUN true\n"])
def test_what_is_no_dockerfile_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "Dockerfile"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match="Dockerfile"):
        read_stages(file, {})


# ---- how they are built where there is no engine


def setting(tmp_path: Path, **options: object) -> Setting:
    context = tmp_path / "context"
    (context / "kept").mkdir(parents=True)
    (context / "kept" / "a").write_text("a", encoding="utf-8")
    (context / "secret").write_text("s", encoding="utf-8")
    (context / ".dockerignore").write_text("*\n!kept\n", encoding="utf-8")
    return Setting(context, tmp_path / "stages", tmp_path / "cache", lambda base: Path(base), **options)  # type: ignore[arg-type]


def stage_of(tmp_path: Path, *lines: str) -> Stage:
    file = tmp_path / "Dockerfile"
    file.write_text("\n".join(["FROM scratch AS it", *lines]), encoding="utf-8")
    (stage,) = read_stages(file, {})
    return stage


def made(tmp_path: Path, *lines: str, **options: object) -> Image:
    return build_stage(stage_of(tmp_path, *lines), {}, setting(tmp_path, **options), lambda _: None)


def test_a_stage_is_configured_as_its_steps_say(tmp_path: Path) -> None:
    image = made(
        tmp_path,
        "ARG NAME=n",
        "ARG GIVEN=d",
        'ENV A=$NAME B="x $GIVEN"',
        "LABEL a.b=$A",
        "WORKDIR /w",
        "WORKDIR in",
        "USER 1:2",
        'ENTRYPOINT ["e"]',
        'CMD ["c", "d"]',
        'HEALTHCHECK --interval=1s CMD ["h"]',
        arguments={"GIVEN": "g"},
    )
    assert (image.environment["A"], image.environment["B"], image.labels) == ("n", "x g", {"a.b": "n"})
    assert (image.folder, image.user, image.entrypoint, image.command) == ("/w/in", "1:2", ("e",), ("c", "d"))
    assert (image.health, image.stop_signal) == (("h",), "SIGTERM")
    assert (image.root / "w" / "in").is_dir()


def test_copy_takes_from_the_context_what_is_not_ignored(tmp_path: Path) -> None:
    image = made(tmp_path, "WORKDIR /w", "COPY kept there", "COPY kept/a ./")
    found = sorted(path.relative_to(image.root).as_posix() for path in image.root.rglob("*") if path.is_file())
    assert found == ["w/a", "w/there/a"]
    with pytest.raises(RuntimeError, match="dockerignore"):
        build_stage(stage_of(tmp_path, "COPY secret ./"), {}, setting(tmp_path / "again"), lambda _: None)


@pytest.mark.parametrize("line", ["VOLUME /x", "NONSENSE x", "CMD serve", "ADD a b"])
def test_a_step_that_is_not_understood_is_no_success(tmp_path: Path, line: str) -> None:
    with pytest.raises(ValueError, match="not understood"):
        made(tmp_path, line)


def test_another_base_than_debian_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="can't be made"):
        debian("nvidia/cuda:13.0.2-base-ubuntu24.04", tmp_path)


def test_pips_settings_become_one_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "index" / "simple").mkdir(parents=True)
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", f"file://{tmp_path}/index/simple")
    monkeypatch.setenv("PIP_CONSTRAINT", "/somewhere/constraints.txt")
    text, paths = pip_settings()
    assert text.startswith("[global]\n")
    assert f"extra-index-url = file://{tmp_path}/index/simple\n" in text
    assert "constraint" not in text
    assert tmp_path / "index" in paths


@needs_linux
def test_an_image_that_grew_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(bytes(100_000))
    monkeypatch.setitem(MOST_BYTES, "serve", 50_000)
    with pytest.raises(RuntimeError, match="too much"):
        check_size("serve", Image(tmp_path), tmp_path)


def test_the_command_says_what_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert "needs" in str(missing())
