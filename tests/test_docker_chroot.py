"""Steps and containers without an engine, on a root of a few programs: what they see, and what they leave behind."""

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from docker.build import Image, Setting, build_stage
from docker.container import Container
from docker.steps import read_stages

PROGRAMS = ("sh", "env", "cat", "id", "touch", "ls", "sleep", "mkdir", "setpriv", "hostname", "readlink")
NAMESPACES = ["unshare", "--mount", "--pid", "--net", "--fork", "true"]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with some of this machine's programs and the libraries that they need."""
    absent = [name for name in ("ip", "nsenter", "unshare", "setpriv") if shutil.which(name) is None]
    if absent:
        pytest.skip(f"no {', '.join(absent)}")
    if subprocess.run(NAMESPACES, capture_output=True, check=False).returncode:
        pytest.skip("namespaces of one's own need root")
    root = tmp_path_factory.mktemp("base")
    root.chmod(0o755)
    for folder in ("bin", "etc", "proc", "dev", "tmp", "root"):
        (root / folder).mkdir()
    for name in PROGRAMS:
        program = shutil.which(name)
        assert program, name
        shutil.copy(program, root / "bin" / name)
        listed = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
        for library in re.findall(r"(/\S+) \(", listed):
            place = root / library.lstrip("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(library, place)
    return root


Build = Callable[..., Image]


@pytest.fixture
def build(base: Path, tmp_path: Path) -> Build:
    """An image from the lines of a Dockerfile after its FROM."""

    def made(*lines: str, **options: object) -> Image:
        file = tmp_path / "Dockerfile"
        file.write_text("\n".join(["FROM base AS it", *lines]), encoding="utf-8")
        setting = Setting(tmp_path, tmp_path / "stages", tmp_path / "cache", lambda _: base, **options)  # type: ignore[arg-type]
        return build_stage(read_stages(file, {})[0], {}, setting, lambda _: None)

    return made


def test_a_run_happens_in_the_root_with_its_variables_folder_and_user(build: Build) -> None:
    image = build(
        "ARG NAME=given",
        "ENV KIND=kept",
        "WORKDIR /w",
        'RUN echo "$NAME $KIND $UNKNOWN $(id -u) $(readlink /proc/self/cwd)" > said && touch /made',
        'RUN ["/bin/sh", "-c", "echo listed > /w/listed"]',
    )
    assert (image.root / "w/said").read_text() == "given kept  0 /w\n"
    assert (image.root / "w/listed").exists()
    assert (image.root / "made").exists()
    assert not Path("/made").exists()
    assert not list((image.root / "proc").iterdir())


def test_a_secret_is_seen_by_its_run_alone_and_leaves_nothing(build: Build, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("word", encoding="utf-8")
    image = build(
        "RUN --mount=type=secret,id=one,target=/etc/one --mount=type=secret,id=one,env=TWO "
        "cat /etc/one > /seen; echo $TWO >> /seen; ! touch /etc/one",
        "RUN ls /etc > /left; echo $TWO >> /left",
        secrets={"one": tmp_path / "secret"},
    )
    assert (image.root / "seen").read_text() == "wordword\n"
    assert "one" not in (image.root / "left").read_text()
    assert "word" not in (image.root / "left").read_text()
    assert not (image.root / "etc/one").exists()


def test_a_secret_that_is_not_given_is_no_error(build: Build) -> None:
    image = build("RUN --mount=type=secret,id=one,target=/etc/one,env=TWO ls /etc > /left; echo $TWO >> /left")
    assert "one" not in (image.root / "left").read_text()


def test_a_cache_stays_outside_and_is_there_the_next_time(build: Build, tmp_path: Path) -> None:
    line = "RUN --mount=type=cache,target=/kept touch /kept/a && ls /kept > /left"
    assert (build(line).root / "left").read_text() == "a\n"
    assert not (build(line).root / "kept").exists()
    assert [path.name for path in (tmp_path / "cache").rglob("a")] == ["a"]


def test_a_run_that_fails_fails_the_build_and_says_what_it_said(build: Build) -> None:
    with pytest.raises(RuntimeError, match=r"(?s)Line 2: RUN ended with 3.*a reason"):
        build("RUN echo a reason; exit 3")


@pytest.fixture
def run(build: Build, tmp_path: Path) -> Iterator[Callable[..., Container]]:
    """A container of a shell script, as the user 10001."""
    started: list[Container] = []
    image = build("USER 10001:10001", "WORKDIR /tmp", 'ENTRYPOINT ["sh", "-c"]', 'HEALTHCHECK CMD ["ls", "/tmp/up"]')

    def start(script: str, network: Container | None = None) -> Container:
        started.append(Container(image, tmp_path / f"{len(started)}.log", [script], network))
        return started[-1]

    yield start
    for container in started:
        container.kill()


SERVE = "trap 'exit 0' TERM; touch /tmp/up; while :; do sleep 0.05; done"


def test_a_container_is_process_1_of_its_user_and_writes_only_to_memory(run: Callable[..., Container]) -> None:
    container = run(SERVE)
    container.wait_until_healthy(30)
    said = container.execute(["sh", "-c", "id -u; cat /proc/1/status; touch /tmp/x /dev/shm/x"])
    assert said.returncode == 0, said.stderr
    lines = said.stdout.splitlines()
    assert lines[0] == "10001"
    assert "NoNewPrivs:\t1" in lines
    assert {line for line in lines if line.startswith("Cap")} == {
        f"Cap{kind}:\t{'0' * 16}" for kind in ("Inh", "Prm", "Eff", "Bnd", "Amb")
    }
    for place in ("/x", "/etc/hosts", "/dev/x"):
        assert container.execute(["touch", place]).returncode != 0
    assert not (container.image.root / "tmp/x").exists()
    assert container.stop(30) == 0


def test_a_container_has_a_network_of_its_own_unless_it_shares_one(run: Callable[..., Container]) -> None:
    def network(container: Container) -> Path:
        return Path(f"/proc/{container.pid}/ns/net").readlink()

    first = run(SERVE)
    first.wait_until_healthy(30)
    second = run(SERVE, first)
    second.wait_until_healthy(30)
    assert network(first) == network(second) != Path("/proc/self/ns/net").readlink()
    assert "127.0.0.1" in first.beside(["ip", "address"]).stdout


def test_what_ends_or_does_not_stop_is_said_to(run: Callable[..., Container]) -> None:
    with pytest.raises(RuntimeError, match=r"(?s)healthy.*a reason"):
        run("echo a reason; sleep 0.2; exit 4").wait_until_healthy(30)
    deaf = run("trap '' TERM; touch /tmp/up; while :; do sleep 0.05; done")
    deaf.wait_until_healthy(30)
    with pytest.raises(RuntimeError, match="does not end"):
        deaf.stop(1)
    deaf.kill()
    assert not Path(f"/proc/{deaf.pid}").exists()
    failing = run("trap 'exit 5' TERM; touch /tmp/up; while :; do sleep 0.05; done")
    failing.wait_until_healthy(30)
    assert failing.stop(30) == 5
