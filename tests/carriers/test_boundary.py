"""The boundary in itself: what is restored, and when, on every Python the carrier supports."""

import subprocess
from pathlib import Path

import pytest

from .conftest import CARRIER, Interpreter, new_handle

PRELUDE = """
import asyncio, contextvars, sys, threading
from sidecar_carrier import boundary, held, joins

first, second = sys.argv[1:]

def read(handle, *_):
    return [] if handle is None else [handle]

serve, serve_async = boundary.serving(read), boundary.serving_async(read)

def expect(handle):
    assert held.handle() == handle, held.handle()
"""

PROGRAMS = {
    "one request after the other in a thread": """
@serve
def request(handle):
    expect(handle)

for handle in [first, None, second, None]:
    request(handle)
    expect(None)
""",
    "an error": """
@serve
def request(handle):
    raise KeyError

try:
    request(first)
except KeyError:
    expect(None)
else:
    raise AssertionError
""",
    "a request within a request": """
@serve
def inner(handle):
    expect(handle)

@serve
def outer(handle):
    for other in [second, None]:
        inner(other)
        expect(handle)

outer(first)
expect(None)
outer(None)
""",
    "one request after the other in a task": """
@serve_async
async def request(handle):
    expect(handle)
    await asyncio.sleep(0)
    expect(handle)

async def connection():
    for handle in [first, None, second, None]:
        await request(handle)
        expect(None)

asyncio.run(connection())
""",
    "a cancelled request": """
@serve_async
async def request(handle):
    cells.append(held.opened())
    try:
        await asyncio.sleep(30)
    finally:
        expect(handle)

async def connection():
    try:
        await request(first)
    except asyncio.CancelledError:
        expect(None)
        assert not cells[0].is_live()
        raise

async def main():
    task = asyncio.ensure_future(connection())
    while not cells:
        await asyncio.sleep(0)
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        return
    raise AssertionError

cells = []
asyncio.run(main())
""",
    "requests that interleave": """
@serve_async
async def request(handle):
    for _ in range(10):
        await asyncio.sleep(0)
        expect(handle)

async def main():
    await asyncio.gather(*(request(handle) for handle in [first, None, second, first, None]))

asyncio.run(main())
""",
    "a coroutine that is thrown away in somebody else's request": """
@serve_async
async def abandoned(handle):
    await asyncio.sleep(30)

@serve_async
async def request(handle):
    coroutine = abandoned(second)
    contextvars.Context().run(coroutine.send, None)
    coroutine.close()
    expect(handle)

asyncio.run(request(first))
""",
    "a worker that a request leads and leaves": """
async def work(seen, gate):
    seen.append(held.handle())
    await gate.wait()
    seen.append(held.handle())

@serve_async
async def request(handle):
    seen, gate = [], asyncio.Event()
    cell, permit = held.current()
    child = held.Permit(permit)
    task = asyncio.ensure_future(joins.lead(cell, child, work(seen, gate)))
    while not seen:
        await asyncio.sleep(0)
    child.is_open = False
    gate.set()
    await task
    assert seen == [handle, None], seen
    expect(handle)

asyncio.run(request(first))
""",
    "a request readmitted in a bare task": """
async def answer(handle):
    expect(None)
    held.readmit(handle)
    return held.handle()

@serve_async
async def request(handle):
    assert await asyncio.ensure_future(answer(handle)) == handle
    assert await asyncio.ensure_future(answer(second)) is None
    cells.append(held.opened())
    late.append(asyncio.ensure_future(later(handle)))

async def later(handle):
    while cells[0].is_live():
        await asyncio.sleep(0)
    return await answer(handle)

async def main():
    await request(first)
    assert await late[0] is None

cells, late = [], []
asyncio.run(main())
""",
}


@pytest.mark.parametrize("program", PROGRAMS)
def test_boundary(interpreter: Interpreter, program: str) -> None:
    """A request's handle is held within its own function's run, and nowhere else."""
    command = [interpreter.program, "-c", PRELUDE + PROGRAMS[program], new_handle(), new_handle()]
    environment = {"PYTHONPATH": str(CARRIER), "PYTHONDONTWRITEBYTECODE": "1"}
    answer = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert answer.stderr == ""
    assert answer.returncode == 0


IMPORT_ALL = """
import importlib, sidecar_carrier
for name in sidecar_carrier._SERVERS:
    print(name)
    importlib.import_module(name)
"""


def test_library_of_another_shape(interpreter: Interpreter, tmp_path: Path) -> None:
    """A server or framework that lacks what is to be patched costs one line and is imported."""
    list_names = "import sidecar_carrier; print(*sidecar_carrier._SERVERS)"
    names = run(interpreter, list_names, CARRIER).stdout.split()
    for name in names:
        file = tmp_path.joinpath(*name.split("."))
        file.parent.mkdir(parents=True, exist_ok=True)
        file.with_suffix(".py").touch()
    answer = run(interpreter, IMPORT_ALL, CARRIER, tmp_path)
    assert answer.stdout.split() == names
    assert [line.rpartition(":")[0] for line in answer.stderr.splitlines()] == [
        f"sidecar carrier: {name} not patched: AttributeError" for name in names
    ]


def run(interpreter: Interpreter, program: str, *path: Path) -> "subprocess.CompletedProcess[str]":
    environment = {
        "PYTHONPATH": ":".join(str(entry) for entry in path),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    command = [interpreter.program, "-c", program]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
