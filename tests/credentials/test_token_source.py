"""When a destination's token is asked for, and when not: time is in the test's hands."""

import asyncio
import logging
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise

import pytest

from sidecar.config import model
from sidecar.core.obtained import Failure, FailureKind, ObtainedToken
from sidecar.core.principal import Credential
from sidecar.core.token_request import TokenRequest
from sidecar.credentials.obtained_tokens import RENEWAL_SECONDS, Obtaining
from sidecar.credentials.token_source import (
    FIRST_PAUSE_SECONDS,
    LONGEST_PAUSE_SECONDS,
    MAX_REFRESHING,
    MAX_RENEWALS_PER_SECOND,
    generation_of,
)
from tests.credentials.sources import EXCHANGE, NOW, SERVICE, Bench, said, settled, subject

MARGIN = 30.0
"""Of a token that lives for 300 s, a tenth; jitter makes no difference to that."""


async def test_asked_once_then_at_hand() -> None:
    """The first call waits; the next ones have the token without a question or a task."""
    bench = Bench()
    assert isinstance(bench.source.get(subject()), Obtaining)
    assert await bench.token() == "obtained-1-for-alice"
    assert isinstance(bench.source.get(subject()), ObtainedToken)
    assert len(bench.server.asked) == 1
    assert (bench.metrics.cached, bench.count("obtained")) == (1, 1)


async def test_two_hundred_at_once_ask_once() -> None:
    """However many wait, the server is asked one question and all get the one answer."""
    bench = Bench()
    bench.server.gate.clear()
    waiting = [asyncio.create_task(bench.token()) for _ in range(200)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    bench.server.gate.set()
    assert set(await asyncio.gather(*waiting)) == {"obtained-1-for-alice"}
    assert len(bench.server.asked) == 1
    assert bench.count("joined") == 199


async def test_each_subject_has_its_own() -> None:
    """Never another's, and no question is shared between two."""
    bench = Bench()
    names = [f"user{number}" for number in range(50)]
    got = await asyncio.gather(*(bench.token(subject(name)) for name in names))
    assert [token.rpartition("-")[2] for token in got] == names
    again = await asyncio.gather(*(bench.token(subject(name)) for name in names))
    assert (again, len(bench.server.asked)) == (got, 50)


async def test_without_subject() -> None:
    """The service's own token is one for all callers."""
    bench = Bench()
    source = bench.another(SERVICE)
    first = await settled(source.get(None))
    assert source.get(None) is first
    assert bench.server.asked == [(SERVICE, None)]


@pytest.mark.parametrize(
    "other",
    [
        replace(EXCHANGE, client="other"),
        replace(EXCHANGE, grant="jwt_bearer"),
        replace(EXCHANGE, audience=("billing",)),
        replace(EXCHANGE, resource=("https://orders.test",)),
        replace(EXCHANGE, scopes=("read",)),
        replace(EXCHANGE, requested_type="urn:ietf:params:oauth:token-type:jwt"),
        replace(EXCHANGE, subject_type="urn:ietf:params:oauth:token-type:jwt"),
        replace(EXCHANGE, actor="client"),
        replace(EXCHANGE, actor="file", actor_file="/a"),
        replace(EXCHANGE, subject_may_change=True),
        replace(EXCHANGE, accepted_audiences=("orders",)),
        replace(EXCHANGE, parameters=(("requested_token_use", "on_behalf_of"),)),
        replace(EXCHANGE, audience=("a", "b")),
        replace(EXCHANGE, audience=("a, b",)),
    ],
)
async def test_another_request_has_another_token(other: TokenRequest) -> None:
    """Whatever differs in what is asked for; what is equal is shared by destinations."""
    bench = Bench()
    first = await bench.get()
    assert await bench.get(source=bench.another()) is first
    assert await bench.get(source=bench.another(other)) is not first
    assert len(bench.server.asked) == 2


async def test_another_client_has_another_token() -> None:
    """A reload that changes who asks, or where, changes what is found; others share."""
    bench = Bench()
    one, equal = model.Client("idp", "me"), model.Client("idp", "me")
    first = await bench.get(source=bench.another(generation=generation_of(one)))
    assert await bench.get(source=bench.another(generation=generation_of(equal))) is first
    changed = generation_of(model.Client("idp", "somebody else"))
    assert await bench.get(source=bench.another(generation=changed)) is not first


# --- how long ---


@pytest.mark.parametrize(
    ("after", "questions"), [(300 - MARGIN - 0.01, 1), (300 - MARGIN, 2), (300, 2)]
)
async def test_the_margin_before_the_end(after: float, questions: int) -> None:
    """Used until shortly before it ends, and never from there on."""
    bench = Bench(kept=model.ObtainedTokens(refresh_ahead=False))
    await bench.token()
    bench.clock.now += after
    await bench.token()
    assert len(bench.server.asked) == questions


@pytest.mark.parametrize(("random", "margin"), [(0.0, 5.0), (0.5, 6.25), (1.0, 7.5)])
async def test_the_margin_is_as_configured_and_varies(random: float, margin: float) -> None:
    """At least what is configured, and up to half as much more, so that pods drift apart."""
    kept = model.ObtainedTokens(expiry_margin_seconds=5, refresh_ahead=False)
    bench = Bench(kept=kept, random=lambda: random)
    await bench.token()
    bench.clock.now += 300 - margin - 0.01
    await bench.token()
    assert len(bench.server.asked) == 1
    bench.clock.now += 0.01
    await bench.token()
    assert len(bench.server.asked) == 2


async def test_a_token_that_lives_for_seconds_is_used() -> None:
    """The margin is a tenth of the lifetime at most, or such a token would never be."""
    bench = Bench()
    bench.server.lifetime = 5
    await bench.token()
    bench.clock.now += 4.4
    assert await bench.token() == "obtained-1-for-alice"
    bench.clock.now += 0.2
    assert await bench.token() == "obtained-2-for-alice"


@pytest.mark.parametrize(
    ("after", "good"), [(300 - MARGIN, True), (299.9, True), (300, False), (301, False)]
)
async def test_still_good_until_the_end(after: float, good: bool) -> None:
    """What is in hand may be sent inside the margin, and never past the end."""
    bench = Bench()
    token = await bench.get()
    assert isinstance(token, ObtainedToken)
    bench.clock.now += after
    assert bench.source.still_good(token) is good


async def test_a_token_that_comes_dead() -> None:
    """It is an answer that is no use: not given out, and not asked for again at once."""
    bench = Bench()
    bench.server.lifetime = 0
    assert await bench.token() == "invalid_answer"
    assert await bench.token() == "invalid_answer"
    assert len(bench.server.asked) == 1


async def test_a_subject_past_its_end() -> None:
    """Nobody is asked; a token that it was good for before is used to its own end."""
    bench = Bench(kept=model.ObtainedTokens(refresh_ahead=False))
    late = subject(expires_at=NOW + 10)
    assert await bench.token(late) == "obtained-1-for-alice"
    bench.clock.now += 10
    assert await bench.token(late) == "obtained-1-for-alice"
    bench.clock.now += 290
    assert await bench.token(late) == "subject_expired"
    assert len(bench.server.asked) == 1


# --- ahead ---


async def test_refreshed_in_the_background_while_in_use() -> None:
    """From three quarters of its life a use has another one fetched, and nobody waits for it."""
    bench = Bench()
    await bench.token()
    bench.clock.now += 225 - 0.1
    await bench.token()
    assert len(bench.server.asked) == 1
    bench.clock.now += 0.1
    bench.server.gate.clear()
    for _ in range(3):
        assert isinstance(bench.source.get(subject()), ObtainedToken)
        assert await bench.token() == "obtained-1-for-alice"
    await asyncio.sleep(0)
    assert len(bench.server.asked) == 2
    bench.server.gate.set()
    await bench.idle()
    assert await bench.token() == "obtained-2-for-alice"
    assert bench.count("refreshed") == 1


async def test_nobody_refreshes_what_is_not_used() -> None:
    """A token that nobody asks for ends, and that is all."""
    bench = Bench()
    await bench.token()
    bench.clock.now += 3000
    await bench.idle()
    assert len(bench.server.asked) == 1


async def test_the_moment_varies() -> None:
    """Between 65 and 85 per cent, so that pods that began together do not ask together."""
    moments = []
    for random in (0.0, 1.0):
        bench = Bench(random=lambda random=random: random)  # type: ignore[misc]
        await bench.token()
        seconds = 0
        while len(bench.server.asked) == 1:
            seconds += 1
            bench.clock.now = NOW + seconds
            await bench.token()
            await bench.idle()
        moments.append(seconds)
    assert moments == [195, 255]


async def test_the_one_before_stays_good_when_another_came() -> None:
    """A call that holds it in hand is not disturbed by a refresh."""
    bench = Bench()
    first = await bench.get()
    assert isinstance(first, ObtainedToken)
    bench.clock.now += 230
    await bench.token()
    await bench.idle()
    assert await bench.token() == "obtained-2-for-alice"
    assert bench.source.still_good(first)
    bench.tokens.forget_subject(subject().digest)
    assert not bench.source.still_good(first)


async def test_not_ahead_for_a_subject_past_its_end() -> None:
    """Without a question, and without looking again at each call."""
    bench = Bench()
    late = subject(expires_at=NOW + 100)
    await bench.token(late)
    bench.clock.now += 230
    assert await bench.token(late) == "obtained-1-for-alice"
    await bench.idle()
    assert len(bench.server.asked) == 1


async def test_a_refresh_that_fails_keeps_what_is_there() -> None:
    """It serves to its end, and another is tried after pauses that double."""
    bench = Bench()
    bench.server.lifetime = 3000
    await bench.token()
    bench.server.fail("unavailable")
    bench.clock.now += 2260
    moments = []
    for _ in range(600):
        asked = len(bench.server.asked)
        assert await bench.token() == "obtained-1-for-alice"
        await bench.idle()
        if len(bench.server.asked) > asked:
            moments.append(bench.clock.now)
        bench.clock.now += 1
    pauses = [later - earlier for earlier, later in pairwise(moments)]
    assert pauses[:5] == [5, 10, 20, 40, 60]
    assert set(pauses[5:]) == {60}
    assert bench.count("refresh_failed") == len(moments)


async def test_a_refresh_respects_retry_after() -> None:
    """The server says when, within a minute."""
    bench = Bench()
    await bench.token()
    bench.server.fail("unavailable", retry_after=30)
    bench.clock.now += 225
    await bench.token()
    await bench.idle()
    bench.clock.now += 29.9
    await bench.token()
    await bench.idle()
    assert len(bench.server.asked) == 2
    bench.clock.now += 0.1
    await bench.token()
    await bench.idle()
    assert len(bench.server.asked) == 3


async def test_few_refreshes_at_once() -> None:
    """Those for whom somebody waits must find the server free."""
    bench = Bench()
    everybody = [subject(f"user{number}") for number in range(MAX_REFRESHING * 3)]
    for each in everybody:
        await bench.token(each)
    bench.clock.now += 230
    bench.server.gate.clear()
    for each in everybody:
        await bench.token(each)
    await asyncio.sleep(0)
    assert len(bench.server.asked) == MAX_REFRESHING * 4
    bench.server.gate.set()
    while len(bench.server.asked) < MAX_REFRESHING * 6:
        await bench.idle()
        for each in everybody:
            await bench.token(each)
        await asyncio.sleep(0)
    assert bench.tokens.refreshing <= MAX_REFRESHING


async def test_a_server_that_gives_the_same_again() -> None:
    """One that caches tokens itself is not asked at every call from there on."""
    bench = Bench()
    await bench.token()
    bench.clock.now += 225
    bench.server.lifetime = 300 - 225
    for _ in range(44):
        await bench.token()
        await bench.idle()
        bench.clock.now += 1
    assert len(bench.server.asked) <= 3


# --- failures ---


@pytest.mark.parametrize(
    ("kind", "retry_after", "seconds"),
    [
        ("misconfigured", None, 5.0),
        ("refused", None, 5.0),
        ("invalid_answer", None, 5.0),
        ("unavailable", None, 1.0),
        ("unavailable", 20.0, 20.0),
        ("unavailable", 7200.0, LONGEST_PAUSE_SECONDS),
        ("circuit_open", 0.5, 0.5),
        ("circuit_open", 30.0, 1.0),
    ],
)
async def test_a_failure_stands_for_a_while(
    kind: FailureKind, retry_after: float | None, seconds: float
) -> None:
    """Nobody is asked until then, and somebody is from then on."""
    bench = Bench()
    bench.server.fail(kind, retry_after)
    assert await bench.token() == kind
    bench.clock.now += seconds - 0.01
    assert isinstance(bench.source.get(subject()), Failure)
    assert len(bench.server.asked) == 1
    assert bench.count("known_failure") == 1
    bench.clock.now += 0.01
    bench.server.fails = None
    assert await bench.token() == "obtained-2-for-alice"


@pytest.mark.parametrize("kind", ["limited", "circuit_open", "subject_expired"])
async def test_what_says_nothing_of_the_next_time(kind: FailureKind) -> None:
    """Whether there is room, the one who asks knows best."""
    bench = Bench()
    bench.server.fail(kind)
    assert await bench.token() == kind
    assert await bench.token() == kind
    assert len(bench.server.asked) == 2


async def test_one_subject_s_failure_is_its_own() -> None:
    """What one is refused another may have."""
    bench = Bench()
    bench.server.fail("refused")
    assert await bench.token() == "refused"
    bench.server.fails = None
    assert await bench.token(subject("bob")) == "obtained-2-for-bob"


async def test_a_client_that_is_not_known_is_so_for_everybody() -> None:
    """The server is not asked with a wrong secret once per caller."""
    bench = Bench()
    bench.server.fails = Failure("misconfigured", "wrong secret", is_about_client=True)
    assert await bench.token() == "misconfigured"
    assert await bench.token(subject("bob")) == "misconfigured"
    assert len(bench.server.asked) == 1
    bench.clock.now += 5
    await bench.token(subject("bob"))
    assert len(bench.server.asked) == 2


async def test_a_mistake_about_one_destination_is_no_other_s() -> None:
    """Keycloak answers ``invalid_client`` for an audience that it does not know."""
    bench = Bench()
    bench.server.fail("misconfigured", code="invalid_client")
    assert await bench.token() == "misconfigured"
    bench.server.fails = None
    assert isinstance(await bench.get(source=bench.another(SERVICE)), ObtainedToken)


async def test_failures_are_bounded() -> None:
    """The oldest is forgotten, which costs one more question."""
    bench = Bench()
    bench.tokens.failures._max_entries = 10
    bench.server.fail("refused")
    for number in range(30):
        await bench.token(subject(f"user{number}"))
    assert len(bench.tokens.failures) == 10


async def test_a_defect_of_ours_is_seen_and_answered(caplog: pytest.LogCaptureFixture) -> None:
    """Whoever waits gets a failure; the next one asks again."""
    bench = Bench()
    bench.server.breaks = RuntimeError("oops")
    with caplog.at_level(logging.ERROR):
        assert await bench.token() == "unavailable"
        await asyncio.sleep(0)
    assert "asking broke" in caplog.text
    bench.server.breaks = None
    assert await bench.token() == "obtained-2-for-alice"


async def test_a_refresh_that_breaks_is_put_off(caplog: pytest.LogCaptureFixture) -> None:
    """Like one that fails; it is not forgotten that one was wanted."""
    bench = Bench()
    await bench.token()
    bench.clock.now += 225
    bench.server.breaks = RuntimeError("oops")
    await bench.token()
    await bench.idle()
    bench.server.breaks = None
    bench.clock.now += FIRST_PAUSE_SECONDS
    await bench.token()
    await bench.idle()
    assert await bench.token() == "obtained-3-for-alice"
    assert "asking broke" in caplog.text


# --- who leaves, and what is withdrawn ---


async def test_whoever_leaves_ends_it_for_nobody() -> None:
    """Not even the one who began it; and with nobody left it still ends and is kept."""
    bench = Bench()
    bench.server.gate.clear()
    first = asyncio.create_task(bench.token())
    second = asyncio.create_task(bench.token())
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait([first])
    second.cancel()
    await asyncio.wait([second])
    bench.server.gate.set()
    await bench.idle()
    assert await bench.token() == "obtained-1-for-alice"
    assert len(bench.server.asked) == 1


async def test_a_withdrawn_subject_ends_what_is_under_way() -> None:
    """Whoever waits is answered at once, and the answer that comes later is dropped."""
    bench = Bench()
    bench.server.gate.clear()
    waiting = [asyncio.create_task(bench.token()) for _ in range(3)]
    other = asyncio.create_task(bench.token(subject("bob")))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    bench.tokens.forget_subject(subject().digest)
    assert await asyncio.gather(*waiting) == ["subject_expired"] * 3
    bench.server.gate.set()
    assert await other == "obtained-2-for-bob"
    await bench.idle()
    assert len(bench.tokens) == 1
    assert bench.count("withdrawn") == 1


async def test_who_comes_after_a_withdrawal_asks_anew() -> None:
    """At once, with the same token: somebody has vouched for it again."""
    bench = Bench()
    bench.server.gate.clear()
    first = bench.source.get(subject())
    bench.tokens.forget_subject(subject().digest)
    second = bench.source.get(subject())
    assert second is not first
    bench.server.gate.set()
    assert said(await settled(second)).startswith("obtained-")
    assert said(await settled(first)) == "subject_expired"
    await bench.idle()
    assert len(bench.tokens) == 1


async def test_an_answer_that_comes_in_spite_of_a_withdrawal() -> None:
    """Whoever asks may not notice that it is to end; its answer is dropped."""
    bench = Bench()

    async def insists(_: TokenRequest, __: Credential | None) -> ObtainedToken | Failure:
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        return ObtainedToken(b"late", NOW, NOW + 300)

    bench.source._ask = insists
    got = bench.source.get(subject())
    await asyncio.sleep(0)
    bench.tokens.forget_subject(subject().digest)
    assert said(await settled(got)) == "subject_expired"
    assert len(bench.tokens) == 0


async def test_withdrawn_as_the_answer_came() -> None:
    """Between the answer and the waiter: the token is not given out."""
    bench = Bench()
    got = bench.source.get(subject())
    assert isinstance(got, Obtaining)
    await got.settled()
    bench.tokens.forget_subject(subject().digest)
    assert said(got.outcome) == "unavailable"


async def test_a_withdrawn_subject_loses_what_is_kept() -> None:
    """In hand, too; another subject's tokens stay."""
    bench = Bench()
    token, others = await bench.get(), await bench.get(subject("bob"))
    assert isinstance(token, ObtainedToken)
    assert isinstance(others, ObtainedToken)
    bench.tokens.forget_subject(subject().digest)
    assert not bench.source.still_good(token)
    assert bench.source.still_good(others)
    assert await bench.token() == "obtained-3-for-alice"


async def test_retain_judges_kept_and_asked() -> None:
    """Each subject once, those of questions under way included; a service's token stays."""
    bench = Bench()
    service = await settled(bench.another(SERVICE).get(None))
    await bench.token()
    await bench.get(source=bench.another(replace(EXCHANGE, scopes=("read",))))
    await bench.token(subject("bob"))
    bench.server.gate.clear()
    carol = asyncio.create_task(bench.token(subject("carol")))
    await asyncio.sleep(0)
    judged = []

    def holds(credential: Credential) -> bool:
        judged.append(credential.principal.subject)
        return judged[-1] == "bob"

    bench.tokens.retain(holds)
    assert sorted(judged) == ["alice", "bob", "carol"]
    assert await carol == "subject_expired"
    bench.server.gate.set()
    asked = len(bench.server.asked)
    assert await bench.token(subject("bob")) == "obtained-4-for-bob"
    assert bench.another(SERVICE).get(None) is service
    assert len(bench.server.asked) == asked


async def test_closing_answers_whoever_waits() -> None:
    """And leaves nothing under way."""
    bench = Bench()
    bench.server.gate.clear()
    waiting = asyncio.create_task(bench.token())
    await asyncio.sleep(0)
    await bench.tokens.close()
    assert await waiting == "unavailable"
    await asyncio.sleep(0)
    assert not bench.tokens.under_way


# --- refused by its destination ---


async def test_a_refused_token_is_renewed() -> None:
    """Once; whoever else holds it learns that another is to be had."""
    bench = Bench()
    first = await bench.get()
    assert isinstance(first, ObtainedToken)
    assert bench.source.refused(first, subject())
    assert not bench.source.still_good(first)
    assert await bench.token() == "obtained-2-for-alice"


async def test_a_newer_one_stays() -> None:
    """Two calls are refused with the same token; the second finds the first one's new one."""
    bench = Bench()
    first = await bench.get()
    assert isinstance(first, ObtainedToken)
    bench.source.refused(first, subject())
    await bench.token()
    assert bench.source.refused(first, subject())
    assert await bench.token() == "obtained-2-for-alice"


async def test_a_destination_that_refuses_everything() -> None:
    """It does not make us ask at every call: once in a while per token."""
    bench = Bench()
    for _ in range(50):
        token = await bench.get()
        assert isinstance(token, ObtainedToken)
        bench.source.refused(token, subject())
        await bench.token()
        bench.clock.now += 0.1
    assert len(bench.server.asked) == 2
    bench.clock.now += RENEWAL_SECONDS
    token = await bench.get()
    assert isinstance(token, ObtainedToken)
    assert bench.source.refused(token, subject())


async def test_a_destination_that_refuses_everybody() -> None:
    """Nor does it for all subjects together."""
    bench = Bench()
    renewed = 0
    for number in range(100):
        who = subject(f"user{number}")
        token = await bench.get(who)
        assert isinstance(token, ObtainedToken)
        renewed += bench.source.refused(token, who)
    assert renewed == MAX_RENEWALS_PER_SECOND


# --- bounds ---


async def test_the_least_used_goes_first() -> None:
    """By entries; what is let go is not good in hand any more, for nobody tells its holder."""
    bench = Bench(kept=model.ObtainedTokens(max_entries=2))
    alice = await bench.get()
    bob = await bench.get(subject("bob"))
    assert await bench.get() is alice
    await bench.get(subject("carol"))
    assert isinstance(bob, ObtainedToken)
    assert not bench.source.still_good(bob)
    assert await bench.get() is alice
    assert len(bench.tokens) == 2


async def test_bytes_are_bounded() -> None:
    """Of tokens and subjects' tokens and what keeping them takes."""
    bench = Bench(kept=model.ObtainedTokens(max_bytes=10_000))
    for number in range(100):
        await bench.token(subject(f"user{number}"))
        assert bench.tokens.size_bytes <= 10_000
    assert len(bench.tokens) == 6


async def test_the_newest_is_kept_whatever_its_size() -> None:
    """Or it would be asked for at every call, and a withdrawal would not reach its user."""
    bench = Bench(kept=model.ObtainedTokens(max_bytes=100))
    await bench.token()
    await bench.token(subject("bob"))
    assert await bench.token(subject("bob")) == "obtained-2-for-bob"
    assert len(bench.tokens) == 1


async def test_other_bounds_after_a_reload() -> None:
    """They hold at once."""
    bench = Bench()
    for number in range(20):
        await bench.token(subject(f"user{number}"))
    bench.tokens.bound(max_entries=5, max_bytes=1 << 20)
    assert len(bench.tokens) == 5
    bench.tokens.forget_subject(subject("user19").digest)
    for number in range(15, 19):
        bench.tokens.forget_subject(subject(f"user{number}").digest)
    assert (len(bench.tokens), bench.tokens.size_bytes) == (0, 0)
    assert not bench.tokens._by_subject


def test_nothing_of_a_token_shows() -> None:
    """Neither token nor subject's token is in any ``repr``."""
    bench = Bench()
    token = ObtainedToken(b"obtained-secret", NOW, NOW + 1)
    assert "secret" not in repr((bench.source, bench.tokens, token, Obtaining(subject())))
