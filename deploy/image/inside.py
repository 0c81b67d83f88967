"""Run tests of this tree with the image's own interpreter, libraries and compiled package.

    python -m deploy.image.inside [ARGUMENTS OF PYTEST]

The root is what ``python -m deploy.image.build --tests`` left in ``.image``, below a layer in
memory that takes what tests write. Needs root on Linux, with overlayfs.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Final

from deploy.image.assemble import ENVIRONMENT
from deploy.image.build import RESULT, TREE, stamp

TESTS: Final = "/opt/tests"
"""Where the libraries that tests need are mounted."""

_ENTER: Final = """
image=$1 tree=$2 site=$3; shift 3
layer=$image/layer
mkdir -p "$layer"
mount -t tmpfs tmpfs "$layer"
mkdir "$layer/upper" "$layer/work" "$layer/root"
mount -t overlay overlay \
    -o "lowerdir=$image/root,upperdir=$layer/upper,workdir=$layer/work" "$layer/root"
root=$layer/root
mkdir -p "$root/tmp"
mount -t tmpfs tmpfs "$root/tmp"
mkdir -p "$root/opt/tests" "$root$tree"  # after that: the tree may be below /tmp
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount --bind "$image/tests" "$root/opt/tests"
mount --rbind "$tree" "$root$tree"
# Behind what is installed, so that the tree's package is not found instead of it.
printf '%s\\n' /opt/tests "$tree" > "$root$site/tests.pth"
exec chroot "$root" "$@"
"""


def main(arguments: Sequence[str]) -> int:
    """Return pytest's exit code; 1 with one line if there is no image of these sources."""
    if not (RESULT / "tests").is_dir() or (RESULT / "stamp").read_text() != stamp():
        print("image: python -m deploy.image.build --tests comes first", file=sys.stderr)
        return 1
    (site,) = (RESULT / "root").glob(f"{str(ENVIRONMENT)[1:]}/lib/python3.*/site-packages")
    inside = "/" + str(site.relative_to(RESULT / "root"))
    python = str(ENVIRONMENT / "bin" / "python")
    # chroot starts in the new root; pytest finds its settings from the tree.
    start = f"import os, runpy; os.chdir({str(TREE)!r}); "
    start += "runpy.run_module('pytest', run_name='__main__')"
    command = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-euc", _ENTER, "sh"]
    command += [str(RESULT), str(TREE), inside, python, "-c", start, *arguments]
    path = f"{ENVIRONMENT}/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    variables = {"PATH": path, "HOME": "/tmp", "PYTHONSAFEPATH": "1"}
    return subprocess.run(command, env={**os.environ, **variables}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
