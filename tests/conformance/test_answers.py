"""Answers of the app and of a destination: relayed as one good answer, or replaced by our 502."""

import asyncio

import pytest

from tests.conformance.answer_cases import CUT, REFUSED, RELAYED, AnswerCase, Relayed
from tests.conformance.front import Front, Side
from tests.support.strict_backend import Script
from tests.support.wire_peer import Message, Peer, connected

IN_ONE_PROCESS = pytest.mark.asyncio(loop_scope="module")
SIDES = pytest.mark.parametrize("direction", ["inbound", "outbound"])


def by_name(cases: list[AnswerCase]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", cases, ids=lambda case: case.name)


async def ask(side: Side, client: Peer, case: AnswerCase) -> None:
    """Send the request that the backend will answer by *case*."""
    side.backend.scripts[b"/case"] = Script(case.raw, close=case.close)
    await client.send(
        side.fill(b"%b /case HTTP/%b\r\nHost: {H}\r\n{A}\r\n" % (case.method, case.version))
    )


async def check_the_next(side: Side, case: AnswerCase, *clients: Peer) -> None:
    """The next requests, of *clients* and of somebody else, get their own answers, and on the same
    connection to the backend only if that is in order."""
    used = side.backend.received[-1].connection
    followers = [await side.innocent(client) for client in clients]
    async with connected(*side.address) as somebody_else:
        followers.append(await side.innocent(somebody_else))
    assert {each.connection == used for each in followers} == {case.reused}
    side.check_faults()


@IN_ONE_PROCESS
@SIDES
@by_name(REFUSED)
async def test_a_bad_answer_is_replaced(case: AnswerCase, direction: str, front: Front) -> None:
    """The caller gets our 502, nothing of the answer, and keeps its connection; the one to the
    backend is given up."""
    side: Side = getattr(front, direction)
    async with connected(*side.address) as client:
        await ask(side, client, case)
        answer = await client.message()
        assert (answer.status, answer.get(b"x-sidecar-reason")) == (502, b"upstream_malformed")
        assert answer.get(b"x") is None
        await check_the_next(side, case, client)


@IN_ONE_PROCESS
@SIDES
@by_name(RELAYED)
async def test_an_odd_answer_is_relayed(case: AnswerCase, direction: str, front: Front) -> None:
    """The caller reads one answer that says the same, and where it ends."""
    side: Side = getattr(front, direction)
    assert case.relayed is not None
    async with connected(*side.address) as client:
        await ask(side, client, case)
        answer = await client.message(head_only=case.method == b"HEAD", until_close=True)
        check(case.relayed, answer)
        if case.version == b"1.0":
            assert await client.rest() == b""
        await check_the_next(side, case, *([client] if case.version == b"1.1" else []))


def check(relayed: Relayed, answer: Message) -> None:
    assert answer.start == b"HTTP/1.1 %d %b" % (relayed.status, relayed.phrase)
    assert (answer.body, answer.framing) == (relayed.body, relayed.framing)
    for name, value in relayed.has:
        assert answer.get(name) == value
    names = {name.lower() for name, _ in answer.fields}
    assert not set(relayed.lacks) & names - (
        {b"connection"} if relayed.framing == "close" else set()
    )


@IN_ONE_PROCESS
@SIDES
@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
@by_name(CUT)
async def test_an_answer_that_is_cut_looks_cut(
    case: AnswerCase, version: bytes, direction: str, front: Front
) -> None:
    """Before its head is complete: 502. After: the end of the connection, and no end of content."""
    side: Side = getattr(front, direction)
    side.backend.scripts[b"/case"] = Script(case.raw, close=True)
    async with connected(*side.address) as client:
        await client.send(side.fill(b"GET /case HTTP/%b\r\nHost: {H}\r\n{A}\r\n" % version))
        try:
            answer = await client.message(until_close=True)
        except (asyncio.IncompleteReadError, ConnectionError):
            assert b"\r\n\r\n" in case.raw
        else:
            cut_in_its_head = b"\r\n\r\n" not in case.raw
            assert (answer.status == 502) is cut_in_its_head
            assert cut_in_its_head or client.was_reset, answer
    await check_the_next(side, case)
