"""Run a program in the built root as a container's runtime would: its own mounts and processes,
the root read-only, no capabilities, as the image's user. The network is the machine's loopback.
"""

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_PROGRAMS = ("unshare", "mount", "setpriv", "chroot")

# What Docker and containerd mount into every container, and what the test asks for.
_ENTER = """
root=$1 user=$2 chroot=$3 binds=$4; shift 4
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for device in null zero full random urandom; do
    : > "$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
mount -o remount,ro "$root/dev"
while [ "$binds" -gt 0 ]; do
    mount --bind "$1" "$root$2"
    shift 2; binds=$((binds - 1))
done
mount -o remount,bind,ro "$root"
exec setpriv --no-new-privs "$chroot" --userspec="$user" --groups= "$root" "$@"
"""


def missing() -> list[str]:
    """Return what is absent of what running in the root takes."""
    absent = [name for name in _PROGRAMS if shutil.which(name) is None]
    return absent if os.geteuid() == 0 else ["root", *absent]


@dataclass(frozen=True)
class Image:
    """The built root, and what its configuration says of running it."""

    root: Path
    config: Mapping[str, Any]

    def argv(self, arguments: Sequence[str], binds: Mapping[str, Path]) -> list[str]:
        """Return the command that runs *arguments*, a program by its path in the image first.

        *binds* are directories of this machine by where they are mounted.
        """
        unshare = ("unshare", "--mount", "--pid", "--fork", "--kill-child")
        pairs = [part for target, source in binds.items() for part in (str(source), target)]
        # By its path, for PATH is that of the container.
        chroot = shutil.which("chroot")
        assert chroot
        inside = (str(self.root), self.config["User"], chroot, str(len(binds)), *pairs)
        return [*unshare, "sh", "-euc", _ENTER, "sh", *inside, *arguments]

    @property
    def environment(self) -> dict[str, str]:
        return dict(variable.split("=", 1) for variable in self.config["Env"])

    def run(
        self,
        *arguments: str,
        binds: Mapping[str, Path] | None = None,
        entrypoint: bool = True,
        **variables: str,
    ) -> "subprocess.CompletedProcess[str]":
        """Run to the end: ``sidecar`` with *arguments*, or another program of the image."""
        return subprocess.run(
            self._command(arguments, binds, entrypoint=entrypoint),
            env={**self.environment, **variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    @contextmanager
    def running(
        self, *arguments: str, binds: Mapping[str, Path] | None = None
    ) -> Iterator["Container"]:
        """Start ``sidecar`` with *arguments*; it is gone when the block is left."""
        with subprocess.Popen(
            self._command(arguments, binds, entrypoint=True),
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                yield Container(process)
            finally:
                process.kill()  # and with it its child, the first process of the container

    def _command(
        self, arguments: Sequence[str], binds: Mapping[str, Path] | None, *, entrypoint: bool
    ) -> list[str]:
        if entrypoint:
            arguments = [*self.config["Entrypoint"], *arguments]
        return self.argv(arguments, binds or {})


@dataclass
class Container:
    """One that runs."""

    process: "subprocess.Popen[str]"

    def wait_until_ready(self) -> list[str]:
        """Return what it said until it was ready. Fails if it ends instead."""
        assert self.process.stderr is not None
        said: list[str] = []
        for line in self.process.stderr:
            said.append(line)
            if line == "sidecar: ready\n":
                return said
        raise AssertionError(f"it ended: {''.join(said)}")

    def terminate(self) -> None:
        """SIGTERM to its first process, as the kubelet does."""
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        assert len(children) == 1
        os.kill(int(children[0]), signal.SIGTERM)


def load(directory: Path) -> Image:
    """Return the image that ``make image`` left in *directory*."""
    return Image(directory / "root", json.loads((directory / "config.json").read_text()))
