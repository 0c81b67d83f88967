"""Our reading of a message against three other parsers'.

Whatever we accept, each of them that accepts it too reads in the same way: start line, fields,
content and end. Whatever all of them refuse, we refuse. What we pass on, all of them accept and
read as we did.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import partial
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
from tests.conformance import answer_cases, framing_cases, head_cases, hop_cases
from tests.support.wire_messages import (
    BAD_CHUNKS,
    BAD_FIELDS,
    BAD_LINES,
    GOOD_CHUNKS,
    with_fields,
)
from tests.support.wire_mutations import REQUESTS, RESPONSES, near_misses
from tests.support.wire_oracles import (
    AiohttpOracle,
    Oracle,
    Reading,
    forwarded_request,
    forwarded_response,
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
    max_examples=300,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
"""In CI Hypothesis makes up the same messages every time; a failure says how to repeat it."""

LLHTTP_METHODS = {b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH"}
AIOHTTP_SINGLETONS = {
    b"content-location", b"content-range", b"content-type", b"etag", b"max-forwards", b"server",
    b"user-agent",
}  # fmt: skip


def has_a_method_of_its_own(ours: Reading) -> bool:
    return len(ours.start) == 2 and ours.start[0] not in LLHTTP_METHODS


def repeats_a_singleton(ours: Reading) -> bool:
    names = Counter(name for name, _ in ours.fields)
    return any(names[name] > 1 for name in AIOHTTP_SINGLETONS)


DIFFERENCES: dict[str, Callable[[Reading], bool]] = {
    # llhttp knows a closed set of methods. A method is any token (RFC 9110, 9.1), and one that an
    # app does not know is for the app to refuse.
    "llhttp": has_a_method_of_its_own,
    # aiohttp refuses some fields when they come twice. None of them has a say in framing or
    # routing, so both are passed on, in order, as they came: which counts is the app's business.
    "aiohttp": repeats_a_singleton,
}
"""Messages that we pass on although this parser refuses them, by parser. There are no others."""


@pytest.fixture(scope="module")
def aiohttp_oracle() -> Iterator[AiohttpOracle]:
    """aiohttp's parser, on a loop that never runs."""
    loop = asyncio.new_event_loop()
    yield AiohttpOracle(loop)
    loop.close()


# --- comparing ---


def check(raw: bytes, ours: Reading | None, oracles: Mapping[str, Oracle]) -> None:
    """Assert the first two rules for *raw*."""
    if ours is None:
        return
    theirs = [reading for oracle in oracles.values() if (reading := oracle(raw)) is not None]
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


OURS_TO_WRITE = {
    (b"host", b"h"), (b"transfer-encoding", b"chunked"), (b"te", b"trailers"),
    (b"connection", b"te"),
}  # fmt: skip
"""Between two hops these are their business: framing, a Host for HTTP/1.0, what we can take."""


def never(_ours: Reading) -> bool:
    return False


def check_onward(raw: bytes, ours: Reading, oracles: Mapping[str, Oracle]) -> None:
    """Assert that *raw*, what the next hop gets, is one whole message to everybody, and ours."""
    for parser, oracle in oracles.items():
        if DIFFERENCES.get(parser, never)(ours):
            continue
        theirs = oracle(raw)
        assert theirs is not None, (parser, raw)
        assert (theirs.start, theirs.body, theirs.end) == (ours.start, ours.body, len(raw))
        for name, value in theirs.fields:
            assert (name, value) in ours.fields or (name, value) in OURS_TO_WRITE


# --- both directions ---


def check_request(raw: bytes, aiohttp_oracle: AiohttpOracle) -> bool:
    """Assert all three rules for the request *raw*; return whether it is accepted."""
    oracles: Mapping[str, Oracle] = {
        "h11": h11_request,
        "llhttp": llhttp_request,
        "aiohttp": aiohttp_oracle.request,
    }
    ours = ours_request(raw)
    check(raw, ours, oracles)
    if ours is None:
        return False
    check_onward(forwarded_request(raw), ours, oracles)
    return True


def check_response(raw: bytes, aiohttp_oracle: AiohttpOracle) -> bool:
    """Assert all three rules for *raw*, as the answer to GET and HEAD, whole or cut off by its
    end; return whether it is accepted as an answer to GET."""
    for method in ("GET", "HEAD"):
        for ends in (False, True):
            theirs: Mapping[str, Oracle] = {
                "h11": partial(h11_response, method=method, ends=ends),
                "aiohttp": partial(aiohttp_oracle.response, method=method, ends=ends),
            }
            check(raw, ours_response(raw, method, ends=ends), theirs)
    oracles: Mapping[str, Oracle] = {
        "h11": h11_response,
        "llhttp": llhttp_response,
        "aiohttp": aiohttp_oracle.response,
    }
    ours = ours_response(raw)
    check(raw, ours, oracles)
    if ours is None:
        return False
    check_onward(forwarded_response(raw), ours, oracles)
    return True


# --- a corpus ---


def corpus() -> list[bytes]:
    """Every request of the public cases, of the conformance cases and of our own tables."""
    public = [case["raw"].encode("latin-1") for case in CASES]
    own = [
        case.raw
        for module in (framing_cases, head_cases, hop_cases)
        for case in module.REFUSED + module.PASSED
    ]
    whole = [each.replace(b"{H}", b"h").replace(b"{A}", b"") for each in public + own]
    lines = [with_fields(start=line) + b"\r\n" for line in BAD_LINES]
    fields = [with_fields(each) + b"\r\n" for each in BAD_FIELDS]
    chunked = with_fields(b"Transfer-Encoding: chunked") + b"\r\n"
    chunks = [chunked + each for each in BAD_CHUNKS + [good for good, _ in GOOD_CHUNKS]]
    return [each for each in whole + lines + fields + chunks if len(each) < 2_000]


def test_the_corpus_of_requests(aiohttp_oracle: AiohttpOracle) -> None:
    """Hard requests, good and bad; some of each are accepted by us."""
    accepted = 0
    for raw in corpus():
        accepted += check_request(raw, aiohttp_oracle)
    assert 50 < accepted < len(corpus()) - 50


def test_the_corpus_of_answers(aiohttp_oracle: AiohttpOracle) -> None:
    """Hard answers, good and bad."""
    cases = [*answer_cases.REFUSED, *answer_cases.RELAYED, *answer_cases.CUT]
    accepted = [
        case.name
        for case in cases
        if len(case.raw) < 2_000 and check_response(case.raw, aiohttp_oracle)
    ]
    assert len(accepted) > 20
    assert not set(accepted) & {case.name for case in answer_cases.REFUSED}


# --- made-up messages ---


@EXAMPLES
@given(raw=requests())
@example(raw=b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabcGET")
def test_requests_are_read_as_others_read_them(raw: bytes, aiohttp_oracle: AiohttpOracle) -> None:
    """Both rules, for requests that nobody would send."""
    check_request(raw, aiohttp_oracle)


@EXAMPLES
@given(raw=responses())
@example(raw=b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcHTTP")
def test_responses_are_read_as_others_read_them(raw: bytes, aiohttp_oracle: AiohttpOracle) -> None:
    """Both rules, for answers that nobody should give."""
    check_response(raw, aiohttp_oracle)


# --- near misses ---


@EXAMPLES
@given(raw=near_misses(REQUESTS))
@example(raw=REQUESTS[0])
def test_requests_that_are_nearly_right(raw: bytes, aiohttp_oracle: AiohttpOracle) -> None:
    """All three rules, a few bytes or lines away from requests that anybody would send."""
    check_request(raw, aiohttp_oracle)


@EXAMPLES
@given(raw=near_misses(RESPONSES))
@example(raw=b"HTTP/1.1 200 OK\r\n\r\nuntil close")
def test_responses_that_are_nearly_right(raw: bytes, aiohttp_oracle: AiohttpOracle) -> None:
    """All three rules, a few bytes or lines away from answers that anybody would give."""
    check_response(raw, aiohttp_oracle)


@pytest.mark.parametrize("raw", REQUESTS)
def test_the_requests_to_start_from_are_right(raw: bytes, aiohttp_oracle: AiohttpOracle) -> None:
    """Near misses of something wrong would show nothing."""
    assert check_request(raw, aiohttp_oracle)


@pytest.mark.parametrize("raw", RESPONSES)
def test_the_responses_to_start_from_are_right(raw: bytes, aiohttp_oracle: AiohttpOracle) -> None:
    """Near misses of something wrong would show nothing."""
    assert check_response(raw, aiohttp_oracle)
