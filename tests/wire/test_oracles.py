"""Our reading of a message against three other parsers'.

Whatever we accept, each of them that accepts it too reads in the same way: start line, fields,
content and end. Whatever all of them refuse, we refuse.
"""

import asyncio
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings

from sidecar.wire.fields import (
    CONNECTION,
    HOP_BY_HOP,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    NameTable,
)
from tests.support.wire_messages import (
    BAD_CHUNKS,
    BAD_FIELDS,
    BAD_LINES,
    GOOD_CHUNKS,
    with_fields,
)
from tests.support.wire_oracles import (
    AiohttpOracle,
    Oracle,
    Reading,
    h11_request,
    h11_response,
    llhttp_request,
    llhttp_response,
    ours_request,
    ours_response,
)
from tests.support.wire_strategies import requests, responses

CASES = json.loads(
    (Path(__file__).parent.parent / "vectors" / "http1_public.json").read_text("utf-8")
)
EXAMPLES = settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module")
def aiohttp_oracle() -> Iterator[AiohttpOracle]:
    """aiohttp's parser, on a loop that never runs."""
    loop = asyncio.new_event_loop()
    yield AiohttpOracle(loop)
    loop.close()


# --- comparing ---


def check(raw: bytes, ours: Reading | None, oracles: Sequence[Oracle]) -> None:
    """Assert both rules for *raw*."""
    if ours is None:
        return
    theirs = [reading for oracle in oracles if (reading := oracle(raw)) is not None]
    assert theirs, f"we alone accept {raw!r}"
    for reading in theirs:
        assert same_start(ours, reading), (ours, reading)
        assert ours.body == reading.body, (ours, reading)
        assert ours.end == reading.end, (ours, reading)
        assert_same_fields(ours, reading)


def same_start(ours: Reading, theirs: Reading) -> bool:
    """Absolute form is understood as its path, which is how we forward it."""
    if ours.start == theirs.start:
        return True
    return (
        ours.start[0] == theirs.start[0]
        and theirs.start[1].lower().startswith(b"http://")
        and (theirs.start[1].endswith(ours.start[1]) or ours.start[1] in (b"/", b"*"))
    )


def assert_same_fields(ours: Reading, theirs: Reading) -> None:
    """Every field that we pass on is read alike; the ones we do not are hop-by-hop."""
    left = list(theirs.fields)
    for one in ours.fields:
        assert one in left, (one, theirs.fields)
        left.remove(one)
    named = {
        option.strip(b" \t")
        for name, value in left
        if name == b"connection"
        for option in value.lower().split(b",")
    }
    names = NameTable()
    here = (CONNECTION, HOP_BY_HOP, TE, TRAILER, TRANSFER_ENCODING, UPGRADE)
    for name, _ in left:
        ends_here = names[name] in here
        assert ends_here or name in named or name == b"expect", (name, ours.fields)


# --- a corpus ---


def corpus() -> list[bytes]:
    """Every request of the public cases and of our own tables."""
    public = [
        case["raw"].replace("{H}", "h").replace("{A}", "").encode("latin-1")
        for case in CASES
        if len(case["raw"]) < 2_000
    ]
    lines = [with_fields(start=line) + b"\r\n" for line in BAD_LINES]
    fields = [with_fields(each) + b"\r\n" for each in BAD_FIELDS]
    chunked = with_fields(b"Transfer-Encoding: chunked") + b"\r\n"
    chunks = [chunked + each for each in BAD_CHUNKS + [good for good, _ in GOOD_CHUNKS]]
    return public + lines + fields + chunks


def test_the_corpus_of_requests(aiohttp_oracle: AiohttpOracle) -> None:
    """Hard requests, good and bad; some of each are accepted by us."""
    accepted = 0
    for raw in corpus():
        ours = ours_request(raw)
        accepted += ours is not None
        check(raw, ours, (h11_request, llhttp_request, aiohttp_oracle.request))
    assert 50 < accepted < len(corpus()) - 50


# --- made-up messages ---


@EXAMPLES
@given(raw=requests())
@example(raw=b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabcGET")
def test_requests_are_read_as_others_read_them(raw: bytes, aiohttp_oracle: AiohttpOracle) -> None:
    """Both rules, for requests that nobody would send."""
    check(raw, ours_request(raw), (h11_request, llhttp_request, aiohttp_oracle.request))


@EXAMPLES
@given(raw=responses())
@example(raw=b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcHTTP")
def test_responses_are_read_as_others_read_them(raw: bytes, aiohttp_oracle: AiohttpOracle) -> None:
    """Both rules, for answers that nobody should give."""
    check(raw, ours_response(raw), (h11_response, llhttp_response, aiohttp_oracle.response))
