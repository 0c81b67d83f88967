"""Where the tests of this package find a real API server and its store.

Both are looked for in an environment variable, in ``.cluster/bin`` and on ``PATH``, in this
order. Imports nothing that is not Python's own, so that the set-up can run before anything is
installed.
"""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
PREPARED: Final = HERE.parents[1] / ".cluster"
VERSION: Final = "1.34.4"


@dataclass(frozen=True)
class Program:
    """A program that is not Python's, and how to come by it."""

    name: str
    variable: str
    remedy: str

    def find(self, environ: Mapping[str, str] = os.environ) -> Path | None:
        """Return the program, or nothing."""
        if named := environ.get(self.variable):
            return Path(named)
        made = PREPARED / "bin" / self.name
        if made.is_file():
            return made
        found = shutil.which(self.name)
        return Path(found) if found else None


ETCD: Final = Program("etcd", "SIDECAR_ETCD", "apt install etcd-server")
KUBE_APISERVER: Final = Program("kube-apiserver", "SIDECAR_KUBE_APISERVER", "make cluster")
PROGRAMS: Final = (ETCD, KUBE_APISERVER)
