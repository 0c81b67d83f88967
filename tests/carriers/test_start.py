"""How the carrier comes into a process, and that the app works when it does not."""

import shutil
import subprocess
from pathlib import Path

import pytest

from .conftest import (
    CARRIER,
    VERSIONS,
    Interpreter,
    find_interpreter,
    handles,
    new_handle,
    reports,
    serving,
)
from .upstream import Upstream

ANNOUNCES = "import sys; print('the other one ran', file=sys.stderr, flush=True)\n"


@pytest.mark.parametrize("version", VERSIONS)
def test_supported_python(version: str) -> None:
    """The carrier's files are valid in every Python it supports, as far as it is here."""
    program = find_interpreter(version)
    if program is None:
        pytest.skip(f"python{version} is not on PATH")
    for file in CARRIER.rglob("*.py"):
        command = [program, "-W", "error", "-c", "compile(open(0).read(), '', 'exec')"]
        subprocess.run(command, input=file.read_text(), text=True, check=True)


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """A directory with somebody else's sitecustomize."""
    (tmp_path / "sitecustomize.py").write_text(ANNOUNCES)
    return tmp_path


def test_next_sitecustomize_runs(
    interpreter: Interpreter, upstream: Upstream, path: str, other: Path
) -> None:
    """One that comes after ours runs as if ours were not there, and the carrier works."""
    handle = new_handle()
    with serving(interpreter, path=(CARRIER, other), stderr="the other one ran\n") as service:
        service.get("urllib_request", handle, out=upstream.url(path))
    assert handles(upstream.heads(path)) == [[handle]]


def test_next_sitecustomize_fails(
    interpreter: Interpreter, upstream: Upstream, path: str, other: Path
) -> None:
    """Its error is reported by the interpreter as ever, and the carrier works."""
    (other / "sitecustomize.py").write_text("raise RuntimeError('broken')\n")
    handle = new_handle()
    with serving(interpreter, path=(CARRIER, other), stderr=None) as service:
        service.get("urllib_request", handle, out=upstream.url(path))
    assert handles(upstream.heads(path)) == [[handle]]


def test_next_sitecustomize_keeps_its_name(interpreter: Interpreter, other: Path) -> None:
    """``import sitecustomize`` gives the app the module it would have had without us."""
    command = [interpreter.program, "-c", "import sitecustomize; print(sitecustomize.__file__)"]
    path = {"PYTHONPATH": f"{CARRIER}:{other}", "PYTHONDONTWRITEBYTECODE": "1"}
    answer = subprocess.run(command, env=path, capture_output=True, text=True, check=True)
    assert Path(answer.stdout.strip()) == other / "sitecustomize.py"


def test_other_sitecustomize_first(
    interpreter: Interpreter, upstream: Upstream, path: str, other: Path
) -> None:
    """One that comes before ours and does not chain leaves the app without carrier, and working."""
    with serving(interpreter, path=(other, CARRIER), stderr="the other one ran\n") as service:
        assert service.get("urllib_request", new_handle(), out=upstream.url(path)) == 200
    assert handles(upstream.heads(path)) == reports(upstream.heads(path)) == [[]]


@pytest.mark.parametrize("option", ["-I", "-E", "-S"])
def test_interpreter_that_ignores_us(
    interpreter: Interpreter, upstream: Upstream, path: str, option: str
) -> None:
    """Options that skip PYTHONPATH or site leave the app without carrier, and working."""
    with serving(interpreter, options=(option,)) as service:
        assert service.get("urllib_request", new_handle(), out=upstream.url(path)) == 200
    assert handles(upstream.heads(path)) == reports(upstream.heads(path)) == [[]]


def test_path_overwritten(interpreter: Interpreter, upstream: Upstream, path: str) -> None:
    """A start script that sets PYTHONPATH anew leaves the app without carrier, and working."""
    with serving(interpreter, path=(Path(__file__).parent,)) as service:
        assert service.get("urllib_request", new_handle(), out=upstream.url(path)) == 200
    assert handles(upstream.heads(path)) == reports(upstream.heads(path)) == [[]]


def test_switched_off(interpreter: Interpreter, upstream: Upstream, path: str) -> None:
    """``SIDECAR_CARRIER=off`` leaves the app as it is."""
    with serving(interpreter, environment={"SIDECAR_CARRIER": "off"}) as service:
        service.get("urllib_request", new_handle(), out=upstream.url(path))
    assert handles(upstream.heads(path)) == reports(upstream.heads(path)) == [[]]


@pytest.mark.parametrize(
    ("setting", "stderr"),
    [
        ("grade=strict", ""),
        (
            "grade=standrad",
            "sidecar carrier: SIDECAR_CARRIER is neither grade=strict, grade=standard nor off; "
            "using grade=strict\n",
        ),
    ],
)
def test_grade(
    interpreter: Interpreter, upstream: Upstream, path: str, setting: str, stderr: str
) -> None:
    """Strict is the default: what cannot be read is said in one line and is strict all the same."""
    handle = new_handle()
    with serving(interpreter, environment={"SIDECAR_CARRIER": setting}, stderr=stderr) as service:
        service.get("urllib_request", handle, out=upstream.url(path))
        service.get("thread", handle, out=upstream.url(path))
    assert handles(upstream.heads(path)) == [[handle], []]


def test_loaded_twice(
    interpreter: Interpreter, upstream: Upstream, path: str, tmp_path: Path
) -> None:
    """Two copies on the path, and one loaded under another name, still send one header each."""
    shutil.copytree(CARRIER / "sidecar_carrier", tmp_path / "another_carrier")
    (tmp_path / "sitecustomize.py").write_text(
        (CARRIER / "sitecustomize.py").read_text().replace("sidecar_carrier", "another_carrier")
    )
    handle = new_handle()
    with serving(interpreter, path=(CARRIER, tmp_path, CARRIER)) as service:
        for pattern in ["urllib_request", "gather", "own_pool"]:
            service.get(pattern, handle, out=upstream.url(path))
    heads = upstream.heads(path)
    assert handles(heads) == [[handle]] * 12
    assert reports(heads) == [["python/0.1.0; grade=strict"]] * 12


LIST_MODULES = "import sys; print(*sorted(sys.modules), sep='\\n')"


def test_imports_nothing_early(interpreter: Interpreter) -> None:
    """Until the app imports something, the carrier has brought in nothing but itself, and what it
    takes to run the interpreter's own sitecustomize, where there is one (Debian's)."""
    without = set(run_python(interpreter, LIST_MODULES, carrier=False).split())
    if "sitecustomize" in without:
        code = f"import importlib.util; {LIST_MODULES}"
        without |= set(run_python(interpreter, code, carrier=False).split())
    with_us = set(run_python(interpreter, LIST_MODULES).split())
    brought = {name for name in with_us - without if not name.startswith("sidecar_carrier")}
    assert brought <= {"__future__", "importlib.machinery", "sitecustomize"} | IMPORTLIB


IMPORTLIB = {"importlib", "importlib._bootstrap", "importlib._bootstrap_external"} | {
    "types",  # imported by importlib itself before 3.10
    "warnings",
}

SHOW_LOADERS = """
import sys, http.client, http.server, asyncio, concurrent.futures.thread, inspect
ours = lambda thing: 'sidecar' in type(thing).__module__
print(ours(http.client.__loader__), ours(http.client.__spec__.loader))
print(inspect.signature(http.client.HTTPConnection.putrequest))
"""


def test_import_system_is_left_as_it_was(interpreter: Interpreter) -> None:
    """A module that has come keeps no loader of ours, and its functions look as they did."""
    said = run_python(interpreter, SHOW_LOADERS)
    assert said.startswith("False False\n")
    assert said == run_python(interpreter, SHOW_LOADERS, carrier=False)


WAIT = """
import sys
import sidecar_carrier.imports as imports
imports.when_imported({{'this': print, 'colorsys': print}})
before = len(sys.meta_path)
import {modules}
print(before - len(sys.meta_path))
"""


@pytest.mark.parametrize(("modules", "removed"), [("colorsys", 0), ("colorsys, this", 1)])
def test_finder_takes_itself_out(interpreter: Interpreter, modules: str, removed: int) -> None:
    """Our finder is gone when all has come that it waits for, and not before."""
    said = run_python(interpreter, WAIT.format(modules=modules))
    assert said.splitlines()[-1] == str(removed)


def run_python(interpreter: Interpreter, program: str, *, carrier: bool = True) -> str:
    environment = {
        "PYTHONDONTWRITEBYTECODE": "1",
        **({"PYTHONPATH": str(CARRIER)} if carrier else {}),
    }
    command = [interpreter.program, "-c", program]
    answer = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert answer.stderr == ""
    return answer.stdout


UNPATCHABLE = """
import {module} as module, http.client, sys
import sidecar_carrier
kept, module.{name} = module.{name}, object()
sidecar_carrier.activate()
module.{name} = kept
connection = http.client.HTTPConnection('127.0.0.1', int(sys.argv[1]))
connection.request('GET', sys.argv[2])
print(connection.getresponse().status)
"""


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("http.client", "HTTPConnection"),
        ("http.server", "BaseHTTPRequestHandler"),
        ("asyncio", "base_events"),
        ("concurrent.futures.thread", "ThreadPoolExecutor"),
    ],
)
def test_library_that_cannot_be_patched(
    interpreter: Interpreter, upstream: Upstream, path: str, module: str, name: str
) -> None:
    """A library of another shape costs one line, and is used as it is."""
    program = UNPATCHABLE.format(module=module, name=name)
    answer = subprocess.run(
        [interpreter.program, "-S", "-c", program, str(upstream.port), path],
        env={"PYTHONPATH": str(CARRIER), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert answer.stdout == "200\n"
    assert answer.stderr.startswith(f"sidecar carrier: {module} not patched: AttributeError")
    assert answer.stderr.count("\n") == 1
    assert handles(upstream.heads(path)) == [[]]


def test_failure_while_the_app_runs(
    interpreter: Interpreter, upstream: Upstream, path: str
) -> None:
    """A head the carrier cannot read costs the handle and one line, however often it happens."""
    said = "sidecar carrier: a request's handle was not read: TypeError\n"
    with serving(interpreter, "odd_headers", stderr=said) as service:
        for _ in range(2):
            assert service.get("urllib_request", new_handle(), out=upstream.url(path)) == 200
    assert handles(upstream.heads(path)) == [[], []]
