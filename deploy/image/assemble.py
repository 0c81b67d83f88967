"""Put together the root file system of the image, inside the build stage of the Dockerfile.

Everything is chosen: Debian's Python without what a proxy has no use for, the environment in
/opt/sidecar, and the shared libraries that these need, which the dynamic linker names. What nobody
chose is not there, a shell and a package manager among it. dpkg's list names the packages of which
there are files, so that scanners know what to look up.

Runs with the interpreter of the build stage and needs nothing but the standard library.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

ENVIRONMENT: Final = Path("/opt/sidecar")
CARRIERS: Final = Path("/carriers/python")
"""For whoever mounts the image: the carrier at a path without Python's version in it."""
SBOM: Final = Path("/usr/share/sbom/jwt-sidecar.cdx.json")

PYTHON: Final = f"python3.{sys.version_info.minor}"
PACKAGES: Final = (f"{PYTHON}-minimal", f"lib{PYTHON}-minimal", f"lib{PYTHON}-stdlib")
"""Taken as a whole, but for ``_UNUSED`` and what is no part of running (manual pages)."""

_FILES: Final = (
    "/etc/debian_version",
    "/etc/nsswitch.conf",  # names are looked up in /etc/hosts before DNS
    "/etc/os-release",  # by which scanners know the distribution
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/ssl/openssl.cnf",
    "/usr/lib/ssl/cert.pem",  # where OpenSSL looks by default
    "/usr/lib/ssl/openssl.cnf",
    "/usr/bin/python3",
)
_OF_PACKAGES: Final = ("base-files", "ca-certificates", "openssl", "python3-minimal")
"""The packages that ``_FILES`` come from: of some a script made them, so dpkg cannot tell."""

_LOADED_LATE: Final = ("libgcc_s.so.1",)
"""Libraries that libc opens when it first needs them (to end a thread)."""

_UNUSED: Final = re.compile(
    rf"/usr/lib/{PYTHON}/("
    # Programs and windows, and the tests of the library itself.
    r"(curses|dbm|ensurepip|pydoc_data|sqlite3|test|venv|_pyrepl|config-[^/]*)/"
    r"|(antigravity|pydoc|this|turtle)\.py"
    r"|lib-dynload/(_curses|_curses_panel|_dbm|_gdbm|_sqlite3|_test\w+|_xxtestfuzz|_ctypes_test"
    r"|readline|xx\w+)\."
    r"|EXTERNALLY-MANAGED|sitecustomize\.py)"
)
_ROOTS: Final = ("bin", "lib", "lib64", "sbin")

_PASSWD: Final = (
    "root:x:0:0:root:/:/usr/sbin/nologin\n"
    "sidecar:x:10001:10001:jwt-sidecar:/nonexistent:/usr/sbin/nologin\n"
)
_GROUP: Final = "root:x:0:\nsidecar:x:10001:\n"
_HOSTS: Final = "127.0.0.1 localhost\n::1 localhost\n"
"""Where nothing mounts another one, as Kubernetes does."""


class AssemblyError(Exception):
    """What the image needs is not in the build stage."""


class Root:
    """The file system being made. Remembers the packages of which it holds files."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.packages: set[str] = set()

    def inside(self, path: Path) -> Path:
        """Return where *path* of the image stands now."""
        return self.directory / path.relative_to("/")

    def place(self, path: Path) -> None:
        """Copy a file; of a symbolic link also what it leads to."""
        # /lib is a link to /usr/lib: what was named by way of it goes where it really is.
        path = path.parent.resolve() / path.name
        copy = self.inside(path)
        if copy.is_symlink() or copy.exists():
            return
        copy.parent.mkdir(parents=True, exist_ok=True)
        if not path.is_symlink():
            shutil.copy2(path, copy)
            if path.suffix == ".py":  # some are programs too, for whoever has a shell
                copy.chmod(0o644)
            return
        target = path.readlink()
        copy.symlink_to(target)
        self.place(path.parent / target)

    def write(self, path: Path, text: str) -> None:
        """Make a file that no package has."""
        copy = self.inside(path)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(text)

    def place_package(self, name: str) -> None:
        """Copy what the package *name* installs for running."""
        for line in _said("dpkg-query", "--listfiles", name).splitlines():
            path = Path(line)
            chosen = line.startswith((f"/usr/lib/{PYTHON}/", "/usr/bin/"))
            if chosen and not _UNUSED.match(line) and (path.is_symlink() or path.is_file()):
                self.place(path)
        self.packages.add(name)

    def libraries_wanted(self) -> set[Path]:
        """Return the shared libraries that programs and libraries in here name."""
        wanted: set[Path] = set()
        for copy in filter(_is_elf, self.directory.rglob("*")):
            # By its own path: an RPATH may speak of the place where the file is.
            original = "/" / copy.relative_to(self.directory)
            done = subprocess.run(
                ["ldd", str(original)], capture_output=True, text=True, check=False
            )
            if "not found" in done.stdout:
                raise AssemblyError(f"{original}:\n{done.stdout}")
            wanted.update(map(Path, re.findall(r"(/\S+) \(0x", done.stdout)))
        return {library for library in wanted if not library.is_relative_to(ENVIRONMENT)}

    def place_library(self, library: Path) -> None:
        """Copy a shared library and note whose it is."""
        self.place(library)
        self.packages.add(_owner(library.resolve()))


def _said(*command: str) -> str:
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


def _is_elf(path: Path) -> bool:
    if path.is_symlink() or not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"


def _owner(path: Path) -> str:
    found = _said("dpkg-query", "--search", str(path))
    return found.partition(": ")[0].partition(":")[0]


def _paragraphs(text: str) -> Iterator[tuple[str, str]]:
    for paragraph in text.split("\n\n"):
        if named := re.match(r"Package: (\S+)", paragraph):
            yield named[1], paragraph


def assemble(directory: Path) -> None:
    """Make the root in *directory*, which must not exist."""
    directory.mkdir()
    root = Root(directory)
    for name in _ROOTS:
        if (link := Path("/", name)).is_symlink():
            (directory / name).symlink_to(link.readlink())
    for package in PACKAGES:
        root.place_package(package)
    for file in _FILES:
        root.place(Path(file))
    root.packages.update(_OF_PACKAGES)
    _place_environment(root)
    libraries = root.libraries_wanted()
    libc = next(library for library in libraries if library.name == "libc.so.6")
    for library in {*libraries, *(libc.parent / name for name in _LOADED_LATE)}:
        root.place_library(library)
    root.write(Path("/etc/passwd"), _PASSWD)
    root.write(Path("/etc/group"), _GROUP)
    root.write(Path("/etc/hosts"), _HOSTS)
    for empty in ("usr/sbin", "etc/sidecar", "run/sidecar", "proc", "sys", "dev"):
        (directory / empty).mkdir(parents=True)
    _write_package_list(root)
    subprocess.run(["ldconfig", "-X", "-r", str(directory)], check=True)
    _compile(directory, [root.inside(Path(f"/usr/lib/{PYTHON}")), root.inside(ENVIRONMENT)])
    _write_sbom(root)


def _place_environment(root: Root) -> None:
    """Copy /opt/sidecar, without the scripts of a virtual environment, and the carrier."""
    there = root.inside(ENVIRONMENT)
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ENVIRONMENT, there, symlinks=True, ignore=ignore)
    for module in (there / "lib").rglob("*.py"):
        module.chmod(0o644)  # some are published as if they were programs
    for program in (there / "bin").iterdir():
        if program.name != "sidecar" and not program.name.startswith("python"):
            program.unlink()
    (site,) = there.glob("lib/python3.*/site-packages")
    shutil.copytree(site / "sidecar/carriers/python", root.inside(CARRIERS))
    # Debian's libraries come without what a debugger reads; some wheels' are two thirds of it.
    libraries = [str(library) for library in there.rglob("*.so") if _is_elf(library)]
    subprocess.run(["strip", "--strip-unneeded", *libraries], check=True)


def _write_package_list(root: Root) -> None:
    """Say in dpkg's own place which packages there are, and keep their licences."""
    status = Path("/var/lib/dpkg/status")
    kept = dict(_paragraphs(status.read_text()))
    listed = sorted(root.packages)
    root.write(status, "".join(f"{kept[name].rstrip()}\n\n" for name in listed))
    for name in listed:
        licence = Path(f"/usr/share/doc/{name}/copyright")
        if licence.exists():
            root.write(licence, licence.read_text())


def _compile(root: Path, directories: Sequence[Path]) -> None:
    """Make all bytecode now, unchecked: nothing can be written at run time, and the times of
    files in a layer say nothing.
    """
    command = [sys.executable, "-m", "compileall", "-q", "-f", "-j", "0"]
    command += ["--invalidation-mode", "unchecked-hash", "-s", str(root), "-p", "/"]
    subprocess.run([*command, *map(str, directories)], check=True)


def _write_sbom(root: Root) -> None:
    python = str(ENVIRONMENT / "bin" / "python")
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    listing = subprocess.run(
        [python, "-m", "deploy.image.sbom", str(root.directory)],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    root.write(SBOM, listing.stdout)


if __name__ == "__main__":
    assemble(Path(sys.argv[1]))
