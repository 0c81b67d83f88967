"""Build kube-apiserver into ``.cluster/bin``: ``python -m tests.cluster.setup``.

From the Go module proxy, because Kubernetes offers its programs as images and archives only. What
is built is pinned by ``kube_apiserver/go.mod``, and every module of it by ``go.sum``, whose sums
are those of Go's public checksum database; ``go build`` refuses what differs. Takes ten minutes
of one core, and 4 GB of Go's caches. etcd is in Debian.
"""

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.cluster.programs import ETCD, HERE, KUBE_APISERVER, PREPARED, VERSION

LIMIT_SECONDS: Final = 3600.0
SOURCE: Final = HERE / "kube_apiserver"
_VERSION_PACKAGE: Final = "k8s.io/component-base/version"
_SHOWN_LINES: Final = 30


class SetupError(Exception):
    """It could not be made; the message says why in one line."""


def build(bin_directory: Path, log: Path) -> bool:
    """Build the API server, unless it is there. Return whether it was built now."""
    made = bin_directory / KUBE_APISERVER.name
    if made.is_file():
        return False
    if shutil.which("go") is None:
        raise SetupError("it needs go on PATH, 1.24 or newer")
    major, minor, _ = VERSION.split(".")
    stamps = {"gitVersion": f"v{VERSION}", "gitMajor": major, "gitMinor": minor}
    flags = " ".join(f"-X {_VERSION_PACKAGE}.{name}={value}" for name, value in stamps.items())
    with tempfile.TemporaryDirectory(prefix=".making-", dir=bin_directory.parent) as making:
        made_there = Path(making, KUBE_APISERVER.name)
        command = ["go", "build", "-trimpath", "-mod=readonly", f"-ldflags=-s -w {flags}"]
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*command, "-o", str(made_there), "."],
                cwd=SOURCE,
                env={**os.environ, "GOFLAGS": "-buildvcs=false"},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                code = process.wait(LIMIT_SECONDS)
            except subprocess.TimeoutExpired:
                raise SetupError(f"go build took more than {LIMIT_SECONDS:.0f} s") from None
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
        if code != 0:
            raise SetupError(f"go build ended with {code}")
        bin_directory.mkdir(exist_ok=True)
        made_there.rename(made)
    return True


def main(arguments: Sequence[str]) -> int:
    """Build what is missing; return the exit code."""
    if arguments:
        print("takes no arguments", file=sys.stderr)
        return 2
    PREPARED.mkdir(exist_ok=True)
    log = PREPARED / "build.log"
    began = time.monotonic()
    with (PREPARED / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            built = build(PREPARED / "bin", log)
        except (SetupError, OSError) as error:
            print(f"kube-apiserver {VERSION}: not built: {error}", file=sys.stderr)
            if log.is_file():
                for line in log.read_text(errors="replace").splitlines()[-_SHOWN_LINES:]:
                    print(f"    {line[:300]}", file=sys.stderr)
            return 1
    said = f"built in {time.monotonic() - began:.0f} s" if built else "is there already"
    print(f"kube-apiserver {VERSION}: {said}")
    if ETCD.find() is None:
        print(f"etcd: not found: {ETCD.remedy}, or set {ETCD.variable}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what was started ends with us
    sys.exit(main(sys.argv[1:]))
