"""Build the image without a daemon: execute the Dockerfile's own instructions in a clean root.

    python -m deploy.image.build [--build-arg NAME=VALUE] [--tests]

Needs Linux, root and mmdebstrap, which makes the base from Debian's archive as the official image
is made. ``.image/root`` is then what a container of the image sees, ``.image/config.json`` what its
runtime is told; ``.image/stamp`` says of which sources. An instruction that is not known, or
cannot be followed to the letter, ends the build.
"""

import argparse
import hashlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from deploy.image.context import Context
from deploy.image.dockerfile import DockerfileError, Instruction, pairs, parse, substitute

TREE: Final = Path(__file__).parents[2]
RESULT: Final = TREE / ".image"
BASES: Final = {"debian:trixie-slim": "trixie"}
"""What FROM may name, and Debian's release that it is made of. And ``scratch``, which is empty."""
PROGRAMS: Final = ("mmdebstrap", "unshare", "chroot", "mount")
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_OF_THE_MACHINE: Final = (
    *("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"),
    *("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_TRUSTED_HOST"),
)
"""How this machine reaches the network, which a RUN is told and the image is not."""
_LINTERS: Final = ("import-linter", "mypy", "ruff", "types-")
_CERTIFICATES: Final = ("PIP_CERT", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")

_BUNDLE: Final = "/etc/ssl/certs/ca-certificates.crt"
"""Debian's, with what was added to it."""
# Its own mounts and processes, all gone with it; the files that a container's runtime brings.
_RUN: Final = """
root=$1 directory=$2; shift 2
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
exec chroot "$root" /usr/bin/env -i "$@" /bin/sh -euc 'cd "$0"; eval "$1"' "$directory" "$RUN"
"""


@dataclass(slots=True)
class Stage:
    """One stage: its files, and what its instructions have said so far."""

    root: Path
    arguments: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    directory: str = "/"
    config: dict[str, Any] = field(default_factory=dict)

    @property
    def variables(self) -> dict[str, str]:
        return {**self.arguments, **self.environment}


class Build:
    """Executes the instructions of *tree*'s Dockerfile one after the other, in *work*."""

    def __init__(self, tree: Path, work: Path, arguments: Mapping[str, str]) -> None:
        self._context = Context(tree)
        self._work = work
        self._arguments = arguments
        self._stages: dict[str, Stage] = {}
        self._stage: Stage | None = None

    def run(self, instructions: Sequence[Instruction]) -> Stage:
        """Return the last stage. Raises ``DockerfileError``, ``CalledProcessError``."""
        declared = {
            pairs(_defaulted(one.value)).popitem()[0]
            for one in instructions
            if one.keyword == "ARG"
        }
        if unknown := set(self._arguments) - declared:
            raise DockerfileError(f"no ARG {', '.join(sorted(unknown))}")
        for instruction in instructions:
            _say(f"{instruction.keyword} {instruction.value}")
            getattr(self, f"_{instruction.keyword.lower()}")(instruction.value)
        return self._now

    @property
    def _now(self) -> Stage:
        assert self._stage is not None  # the parser refuses what stands before FROM
        return self._stage

    def _from(self, value: str) -> None:
        base, *rest = value.split()
        if rest and (len(rest) != 2 or rest[0] != "AS"):
            raise DockerfileError(f"FROM {value}")
        name = rest[1] if rest else str(len(self._stages))
        root = self._work / f"stage-{name}"
        if base == "scratch":
            root.mkdir()
        elif base in BASES:
            _make_base(root, BASES[base])
        else:
            raise DockerfileError(f"FROM {base}: no such base here")
        self._stage = self._stages[name] = Stage(root)

    def _arg(self, value: str) -> None:
        ((name, default),) = pairs(_defaulted(value)).items()
        self._now.arguments[name] = self._arguments.get(name, default)

    def _env(self, value: str) -> None:
        for name, text in pairs(value).items():
            self._now.environment[name] = substitute(text, self._now.variables)
        self._now.config["Env"] = [f"{k}={v}" for k, v in self._now.environment.items()]

    def _label(self, value: str) -> None:
        labels = self._now.config.setdefault("Labels", {})
        labels.update({k: substitute(v, self._now.variables) for k, v in pairs(value).items()})

    def _workdir(self, value: str) -> None:
        self._now.directory = str(Path(self._now.directory, value))
        (self._now.root / self._now.directory.lstrip("/")).mkdir(parents=True, exist_ok=True)
        self._now.config["WorkingDir"] = self._now.directory

    def _user(self, value: str) -> None:
        self._now.config["User"] = value

    def _expose(self, value: str) -> None:
        self._now.config["ExposedPorts"] = {f"{port}/tcp": {} for port in value.split()}

    def _stopsignal(self, value: str) -> None:
        self._now.config["StopSignal"] = value

    def _entrypoint(self, value: str) -> None:
        self._now.config["Entrypoint"] = json.loads(value)

    def _cmd(self, value: str) -> None:
        self._now.config["Cmd"] = json.loads(value)

    def run_in(self, name: str, command: str) -> Path:
        """Run *command* in the stage *name* after all. Returns where the stage stands."""
        self._stage = self._stages[name]
        self._run(command)
        return self._now.root

    def _run(self, value: str) -> None:
        if "User" in self._now.config or value.startswith(("--", "[")):
            raise DockerfileError(f"RUN as another user, with an option or in exec form: {value}")
        root = self._now.root
        certificates = _install_certificates(root)
        variables = {"PATH": _PATH, "HOME": "/root", **_of_the_machine(), **certificates}
        settings = [f"{k}={v}" for k, v in {**variables, **self._now.variables}.items()]
        unshare = ("unshare", "--mount", "--pid", "--fork", "--kill-child")
        subprocess.run(
            [*unshare, "sh", "-euc", _RUN, "sh", str(root), self._now.directory, *settings],
            env={**os.environ, "RUN": value},
            stdin=subprocess.DEVNULL,
            check=True,
        )
        for path in certificates.values():
            (root / path.lstrip("/")).unlink()

    def _copy(self, value: str) -> None:
        *sources, target = value.split()
        if sources[0].startswith("--from="):
            stage, source = sources[0].removeprefix("--from="), *sources[1:]
            _copy_tree(self._stages[stage].root / source.lstrip("/"), self._inside(target))
            return
        if any(source.startswith("--") for source in sources):
            raise DockerfileError(f"COPY {value}")
        for source in sources:
            files = list(self._context.files(source))
            if not files:
                raise DockerfileError(f"COPY {source}: .dockerignore keeps it out, or it is absent")
            for file in files:
                self._copy_file(source, file, target)

    def _copy_file(self, source: str, file: Path, target: str) -> None:
        below = file.relative_to(source).as_posix()
        if below == ".":  # a file by its name; a directory would give its content
            below = file.name if target.endswith("/") else ""
        copy = self._inside(target) / below
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(self._context.tree / file, copy)
        shutil.copymode(self._context.tree / file, copy)

    def _inside(self, target: str) -> Path:
        return self._now.root / str(Path(self._now.directory, target)).lstrip("/")


def _defaulted(value: str) -> str:
    if "=" not in value:
        raise DockerfileError(f"ARG {value} has no default")
    return value


def _make_base(root: Path, release: str) -> None:
    # The mirrors are mmdebstrap's own, with those of security updates.
    command = ["mmdebstrap", "--quiet", "--variant=minbase", release, str(root)]
    subprocess.run(command, stdin=subprocess.DEVNULL, check=True)


def _of_the_machine() -> dict[str, str]:
    return {name: os.environ[name] for name in _OF_THE_MACHINE if name in os.environ}


def _install_certificates(root: Path) -> dict[str, str]:
    """Lend a RUN the authorities that this machine believes: a proxy may have its own."""
    named = (os.environ.get(name) for name in _CERTIFICATES)
    for file in (*named, _BUNDLE):
        if file and Path(file).is_file():
            shutil.copyfile(file, root / "run" / "build-authorities.pem")
            return {"PIP_CERT": "/run/build-authorities.pem"}
    return {}


def _copy_tree(source: Path, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    subprocess.run(["cp", "-a", f"{source}/.", str(target)], check=True)


def _say(line: str) -> None:
    print(f"image: {line}", file=sys.stderr, flush=True)


def stamp(tree: Path = TREE) -> str:
    """Return what the sources of the image come to: the same only if none has changed."""
    context = Context(tree)
    digest = hashlib.sha256()
    for file in [Path("Dockerfile"), Path(".dockerignore"), *context.files(".")]:
        content = hashlib.sha256((tree / file).read_bytes()).hexdigest()
        digest.update(f"{file} {content}\n".encode())
    return digest.hexdigest()


def build(tree: Path, result: Path, arguments: Mapping[str, str], *, tests: bool) -> None:
    """Make *result* anew; with *tests* also what pytest needs in the image's interpreter."""
    shutil.rmtree(result, ignore_errors=True)
    work = result / "stages"
    work.mkdir(parents=True)
    wanted = stamp(tree)
    building = Build(tree, work, arguments)
    last = building.run(parse((tree / "Dockerfile").read_text()))
    if tests:
        stage = building.run_in("build", _install_tests(tree))
        (stage / "opt/tests").rename(result / "tests")
    last.root.rename(result / "root")
    shutil.rmtree(work)
    (result / "config.json").write_text(json.dumps(last.config, indent=1))
    (result / "stamp").write_text(wanted)


def _install_tests(tree: Path) -> str:
    extra = tomllib.loads((tree / "pyproject.toml").read_text())["project"]
    wanted = [
        requirement
        for requirement in extra["optional-dependencies"]["dev"]
        if not requirement.startswith(_LINTERS)
    ]
    return (
        "python3 -m pip --python /opt/sidecar/bin/python install --only-binary :all: "
        f"--constraint constraints.txt --target /opt/tests {shlex.join(wanted)}"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """0: built; 1: it could not be, with one line on standard error."""
    parser = argparse.ArgumentParser(prog="deploy.image.build", description="Build the image.")
    parser.add_argument("--build-arg", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--tests", action="store_true", help="and what deploy.image.inside needs")
    options = parser.parse_args(argv)
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing or os.geteuid() != 0:
        _say(f"needs root and {', '.join(missing or PROGRAMS)}")
        return 1
    arguments = dict(argument.split("=", 1) for argument in options.build_arg)
    try:
        build(TREE, RESULT, arguments, tests=options.tests)
    except (DockerfileError, subprocess.CalledProcessError) as error:
        _say(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
