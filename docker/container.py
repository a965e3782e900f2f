"""Runs an image's folder as an engine would: root file system read-only, namespaces of its own, its user, as PID 1."""

import os
import shlex
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from docker.build import Image

_DEVICES = ("null", "zero", "full", "random", "urandom")
_STARTED = 30.0
# An engine puts such a file there as well.
_HOSTS = "127.0.0.1 localhost\n::1 localhost\n"


class Container:
    """An image that runs: no capability to reach another process or network, `/tmp` and `/dev/shm` in memory.

    Args:
        image: what runs.
        log: where what it prints goes.
        command: instead of the image's own.
        entrypoint: instead of the image's own.
        network: another one that it shares the network with.
    """

    def __init__(
        self,
        image: Image,
        log: Path,
        command: Sequence[str] | None = None,
        network: "Container | None" = None,
        entrypoint: Sequence[str] | None = None,
    ) -> None:
        self.image, self.log = image, log
        self._hosts = log.with_suffix(".hosts")
        self._hosts.write_text(_HOSTS, encoding="ascii")
        (image.root / "etc/hosts").touch()
        words = [*(entrypoint or image.entrypoint), *(image.command if command is None else command)]
        isolated = ["unshare", "--mount", "--pid", "--ipc", "--uts", "--fork", "--kill-child", "--propagation=private"]
        if network is None:
            isolated.append("--net")
        else:
            isolated = ["nsenter", f"--net=/proc/{network.pid}/ns/net", *isolated]
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [*isolated, "sh", "-ec", self._script(words, network is None)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self.pid: int = self._find_pid()

    def execute(self, words: Sequence[str], stdin: Path = Path(os.devnull)) -> "subprocess.CompletedProcess[str]":
        """Run a command in it, as its user."""
        entered = ["nsenter", "--target", str(self.pid), "--mount", "--net", "--pid", "--ipc", "--root", "--"]
        with stdin.open("rb") as file:
            return subprocess.run([*entered, *self._in(words)], stdin=file, capture_output=True, text=True, check=False)

    def beside(self, words: Sequence[str]) -> "subprocess.CompletedProcess[str]":
        """Run a command of this machine in its network."""
        command = ["nsenter", f"--net=/proc/{self.pid}/ns/net", *words]
        return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)

    def wait_until_healthy(self, seconds: float) -> float:
        """How many seconds its HEALTHCHECK took to succeed. Raises `RuntimeError` when it ends or takes longer."""
        began = time.monotonic()
        while time.monotonic() - began < seconds and self._process.poll() is None:
            if self.execute(self.image.health).returncode == 0:
                return time.monotonic() - began
            time.sleep(0.5)
        raise RuntimeError(f"It does not become healthy:\n{self.printed()}")

    def stop(self, seconds: float) -> int:
        """Its exit code after the image's signal to stop. Raises `RuntimeError` when it does not end."""
        os.kill(self.pid, signal.Signals[self.image.stop_signal])
        return self.wait(seconds)

    def wait(self, seconds: float) -> int:
        """Its exit code. Raises `RuntimeError` when it does not end."""
        try:
            return self._process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"It does not end:\n{self.printed()}") from None

    def kill(self) -> None:
        """End it, whatever it does: all of it, as its process 1 takes the others along."""
        if self._process.poll() is None:
            os.kill(self.pid, signal.SIGKILL)  # `unshare --kill-child` has no hold on a process that changed its user
            self._process.wait()

    def printed(self) -> str:
        """The end of what it printed."""
        return self.log.read_text(encoding="utf-8", errors="replace")[-4000:]

    def _script(self, words: Sequence[str], own_network: bool) -> str:
        root = shlex.quote(str(self.image.root))
        devices = [f"touch {root}/dev/{name}; mount --bind /dev/{name} {root}/dev/{name}" for name in _DEVICES]
        memory = "mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs"
        lines = [
            "ip link set lo up" if own_network else ":",
            f"mount --bind {root} {root}",
            f"mount --bind {shlex.quote(str(self._hosts))} {root}/etc/hosts",
            f"mount -o remount,bind,ro {root}",
            f"mount -t proc proc {root}/proc",
            f"{memory} {root}/tmp",
            f"mount -t tmpfs -o mode=755,nosuid tmpfs {root}/dev",
            *devices,
            f"ln -s /proc/self/fd {root}/dev/fd",
            f"mkdir {root}/dev/shm",
            f"{memory} {root}/dev/shm",
            "exec " + shlex.join(["chroot", str(self.image.root), *self._in(words)]),
        ]
        return "\n".join(lines)

    def _in(self, words: Sequence[str]) -> list[str]:
        """A command with the image's user, folder and environment, and no privilege that could come back."""
        user, _, group = self.image.user.partition(":")
        drop = [
            "setpriv",
            f"--reuid={user}",
            f"--regid={group}",
            "--clear-groups",
            "--no-new-privs",
            "--bounding-set=-all",
        ]
        variables = [f"{name}={value}" for name, value in self.image.environment.items()]
        return [*drop, "env", "-i", f"--chdir={self.image.folder}", *variables, *words]

    def _find_pid(self) -> int:
        """On this machine, of the process that is number 1 in there."""
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        deadline = time.monotonic() + _STARTED
        while time.monotonic() < deadline and self._process.poll() is None:
            found = children.read_text(encoding="ascii").split()
            if found:
                return int(found[0])
            time.sleep(0.02)
        raise RuntimeError(f"It does not start:\n{self.printed()}")
