"""Under any interleaving no token is given out past its end, for another, or after a withdrawal.

The machine plays callers, the authorization server and the clock: tokens are got, questions are
answered late or never, callers leave, subjects are withdrawn, destinations refuse, bounds evict,
and what was waited for is looked at whenever the waiter comes round to it.
"""

import asyncio
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass, replace
from hashlib import sha256
from random import Random
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from sidecar.config import model
from sidecar.core.obtained import Failure, FailureKind, ObtainedToken
from sidecar.core.principal import Credential, Principal
from sidecar.core.token_request import TokenRequest
from sidecar.credentials.obtained_tokens import ObtainedTokens, Obtaining
from sidecar.credentials.token_source import TokenSource
from sidecar.telemetry.token_exchanges import TokenExchangeMetrics
from tests.credentials.sources import EXCHANGE, NOW, SERVICE, Clock

MAX_ENTRIES = 5
KINDS: tuple[FailureKind, ...] = (
    "unavailable", "limited", "circuit_open", "misconfigured", "refused", "invalid_answer",
)  # fmt: skip
REQUESTS = (EXCHANGE, replace(EXCHANGE, scopes=("read",)), SERVICE)


@dataclass(eq=False)
class Question:
    """One that the server was asked and has not answered."""

    place: tuple[int, int | None]
    asked: int
    answer: "asyncio.Future[ObtainedToken | Failure]"


@dataclass(eq=False)
class Waiting:
    """Somebody who was told to wait."""

    place: tuple[int, int | None]
    since: int
    obtaining: Obtaining


class Play:
    """The cache and everybody around it. Steps are counted, and stand for the order of events."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.step = 0
        self.withdrawn_at: dict[int, int] = {}
        self.subjects = [self._subject(number) for number in range(3)]
        self.tokens = ObtainedTokens(max_entries=MAX_ENTRIES, max_bytes=20_000, max_remembered=3)
        self.metrics = TokenExchangeMetrics("orders")
        self.random = Random(1)
        self.questions: list[Question] = []
        self.waiting: list[Waiting] = []
        self.in_hand: list[tuple[TokenSource, int | None, ObtainedToken]] = []
        self.given: Counter[str] = Counter()
        self.faults: list[str] = []
        self.sources = [self._source(number) for number in range(len(REQUESTS))]

    def _subject(self, number: int) -> Credential:
        token = b"subject-%d" % number
        ends = NOW + (1e9, 1e9, 5000)[number]
        principal = Principal("shop", "https://idp.test", f"subject-{number}")
        return Credential(principal, token, sha256(token).digest(), ends, NOW)

    def _source(self, number: int) -> TokenSource:
        async def ask(request: TokenRequest, who: Credential | None) -> ObtainedToken | Failure:
            assert request is REQUESTS[number]
            place = number, None if who is None else self.subjects.index(who)
            if any(each.place == place for each in self.questions):
                self.faults.append("two questions for one key are under way")
            question = Question(place, self.step, asyncio.get_running_loop().create_future())
            self.questions.append(question)
            try:
                return await question.answer
            finally:
                self.questions.remove(question)

        return TokenSource(
            REQUESTS[number],
            generation=b"",
            tokens=self.tokens,
            ask=ask,
            kept=model.ObtainedTokens(expiry_margin_seconds=10),
            clock=self.clock,
            wall_clock=self.clock,
            random=self.random.random,
            report=self.metrics,
        )

    # --- what happens ---

    async def get(self, request: int, subject: int) -> None:
        source = self.sources[request]
        number = None if REQUESTS[request] is SERVICE else subject
        got = source.get(None if number is None else self.subjects[number])
        if isinstance(got, Obtaining):
            self.waiting.append(Waiting((request, number), self.step, got))
            self.given["waiting"] += 1
        else:
            if isinstance(got, ObtainedToken):
                assert self.clock() < got.expires_at, "past its end"
            self._given((request, number), got)

    async def answer(self, which: int, lifetime: float | FailureKind, retry: float | None) -> None:
        """The server answers one question, in whatever order."""
        if not self.questions:
            return
        question = self.questions[which % len(self.questions)]
        if question.answer.done():
            return
        if isinstance(lifetime, str):
            question.answer.set_result(Failure(lifetime, "", retry))
            return
        request, subject = question.place
        token = b"%d-%s-%d" % (request, str(subject).encode(), question.asked)
        now = self.clock()
        question.answer.set_result(ObtainedToken(token, now - min(lifetime, 1), now + lifetime))

    async def breaks(self, which: int) -> None:
        """Asking ends in a way that it never should."""
        if self.questions:
            self.questions[which % len(self.questions)].answer.cancel()

    async def look(self, which: int) -> None:
        """One who waits comes round, if there is something to see."""
        if not self.waiting:
            return
        waiting = self.waiting[which % len(self.waiting)]
        if waiting.obtaining._task is None or not (
            waiting.obtaining._task.done() or waiting.obtaining.withdrawn
        ):
            return
        self.waiting.remove(waiting)
        self._given(waiting.place, waiting.obtaining.outcome)

    async def withdraw(self, subject: int, *, by_judging: bool) -> None:
        who = self.subjects[subject]
        self.withdrawn_at[subject] = self.step
        if by_judging:
            self.tokens.retain(lambda credential: credential is not who)
        else:
            self.tokens.forget_subject(who.digest)

    async def refuse(self, which: int) -> None:
        """A destination answers 401 to a token that somebody has in hand."""
        if self.in_hand:
            source, subject, token = self.in_hand[which % len(self.in_hand)]
            source.refused(token, None if subject is None else self.subjects[subject])

    async def send(self, which: int) -> None:
        """Whoever has a token in hand asks once more before it goes out."""
        if self.in_hand:
            source, subject, token = self.in_hand.pop(which % len(self.in_hand))
            if source.still_good(token):
                assert self.clock() < token.expires_at
                self._is_of((self.sources.index(source), subject), token)
                self.given["sent"] += 1

    async def wait(self, seconds: float) -> None:
        self.clock.now += seconds

    async def settle(self) -> None:
        """Let everything happen that can without another input."""
        for _ in range(4):
            await asyncio.sleep(0)
        self.step += 1

    # --- what must hold ---

    def _given(self, place: tuple[int, int | None], got: ObtainedToken | Failure) -> None:
        if isinstance(got, Failure):
            self.given["failure"] += 1
            return
        self._is_of(place, got)
        self.in_hand.append((self.sources[place[0]], place[1], got))
        del self.in_hand[:-8]
        self.given["token"] += 1

    def _is_of(self, place: tuple[int, int | None], token: ObtainedToken) -> None:
        request, subject, asked = token.token.decode().split("-")
        assert (request, subject) == (str(place[0]), str(place[1])), "somebody else's"
        if place[1] is not None:
            assert int(asked) > self.withdrawn_at.get(place[1], -1), "of before a withdrawal"

    def nothing_is_out_of_step(self) -> None:
        tokens = self.tokens
        assert not self.faults
        assert len(tokens) <= MAX_ENTRIES
        assert tokens.size_bytes == sum(held.cost_bytes for held in tokens._entries.values())
        kept = {key for key, held in tokens._entries.items() if held.subject is not None}
        assert kept == {key for keys in tokens._by_subject.values() for key in keys}
        assert all(held.token.hold.live for held in tokens._entries.values())
        assert len(tokens.failures) <= 3
        assert len(tokens.renewed) <= 3
        assert len(tokens.under_way) == len(self.questions)
        assert 0 <= tokens.refreshing <= len(self.questions)


LIFETIMES = st.sampled_from([0.0, 1.0, 30.0, 300.0, 3000.0])
NUMBER = st.integers(0, 7)


class ObtainedTokenMachine(RuleBasedStateMachine):
    """One step at a time, each followed by whatever comes of it."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.play = Play()

    def teardown(self) -> None:
        self.loop.run_until_complete(self.play.tokens.close())
        self.loop.close()

    def do(self, work: Coroutine[Any, Any, None]) -> None:
        async def one() -> None:
            await work
            await self.play.settle()

        self.loop.run_until_complete(one())

    @rule(request=st.integers(0, 2), subject=st.integers(0, 2))
    def get(self, request: int, subject: int) -> None:
        self.do(self.play.get(request, subject))

    @rule(
        which=NUMBER, lifetime=LIFETIMES | st.sampled_from(KINDS), retry=st.sampled_from([None, 9])
    )
    def answer(self, which: int, lifetime: float | FailureKind, retry: float | None) -> None:
        self.do(self.play.answer(which, lifetime, retry))

    @rule(which=NUMBER)
    def breaks(self, which: int) -> None:
        self.do(self.play.breaks(which))

    @rule(which=NUMBER)
    def look(self, which: int) -> None:
        self.do(self.play.look(which))

    @rule(subject=st.integers(0, 2), by_judging=st.booleans())
    def withdraw(self, subject: int, by_judging: bool) -> None:
        self.do(self.play.withdraw(subject, by_judging=by_judging))

    @rule(which=NUMBER)
    def refuse(self, which: int) -> None:
        self.do(self.play.refuse(which))

    @rule(which=NUMBER)
    def send(self, which: int) -> None:
        self.do(self.play.send(which))

    @rule(seconds=st.sampled_from([0.5, 5.0, 20.0, 290.0]))
    def wait(self, seconds: float) -> None:
        self.do(self.play.wait(seconds))

    @invariant()
    def nothing_is_out_of_step(self) -> None:
        self.play.nothing_is_out_of_step()


STEPS = ("get", "answer", "fail", "breaks", "look", "withdraw", "refuse", "send", "wait")
WEIGHTS = (40, 30, 4, 1, 20, 3, 3, 20, 25)


@pytest.mark.parametrize("seed", range(4))
async def test_a_long_walk_gives_many_and_never_wrongly(seed: int) -> None:
    """The same play without a search for the smallest example: many more tokens are given."""
    random, play = Random(seed), Play()
    for _ in range(3_000):
        which = random.randrange(8)
        match random.choices(STEPS, WEIGHTS)[0]:
            case "get":
                await play.get(random.randrange(3), random.randrange(3))
            case "answer":
                await play.answer(which, random.choice([0.0, 60.0, 300.0, 300.0]), None)
            case "fail":
                await play.answer(which, random.choice(KINDS), random.choice([None, 9]))
            case "breaks":
                await play.breaks(which)
            case "look":
                await play.look(which)
            case "withdraw":
                await play.withdraw(random.randrange(3), by_judging=random.random() < 0.5)
            case "refuse":
                await play.refuse(which)
            case "send":
                await play.send(which)
            case _:
                await play.wait(random.choice([0.5, 5.0, 20.0]))
        await play.settle()
        play.nothing_is_out_of_step()
    await play.tokens.close()
    assert play.given["token"] > 400
    assert play.given["sent"] > 200
    assert play.metrics.results["refreshed"] > 5
    assert play.metrics.results["withdrawn"] > 5


TestObtainedTokens = ObtainedTokenMachine.TestCase
TestObtainedTokens.settings = settings(
    max_examples=40, stateful_step_count=40, deadline=None, derandomize=True
)
