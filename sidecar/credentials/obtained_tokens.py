"""Tokens of destinations that are kept, and the questions for them that are under way.

Owns how much is kept, and that nothing outlives the token of its subject. When to ask, and how
long an answer may be used, belong to ``sidecar.credentials.token_source``.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, Protocol

from sidecar.core.obtained import Failure, Hold, ObtainedToken
from sidecar.core.principal import Credential
from sidecar.core.token_request import TokenRequest
from sidecar.credentials.lately import Lately

COST_PER_ENTRY: Final = 1_500
"""Bytes besides the tokens: measured, with names and digests of usual length."""
MAX_REMEMBERED: Final = 10_000
"""Failures, and renewals that a destination caused, by key."""
RENEWAL_SECONDS: Final = 10.0
"""Least time between two renewals of one token that its destination's 401 may cause."""

Key = bytes
"""What a token was asked for and the digest of its subject's token."""


class Shared(Protocol):
    """Tokens that other pods have obtained. Whatever is wrong there is a token not found.

    Only ``find`` is waited for; the others are done in the background, as far as possible.
    """

    async def find(
        self, key: Key, request: TokenRequest, subject: Credential | None
    ) -> ObtainedToken | None: ...
    def keep(self, key: Key, subject: Credential | None, token: ObtainedToken) -> None: ...
    def forget(self, key: Key, token: ObtainedToken) -> None:
        """Delete *token*, unless there is another under *key* already."""

    def delete(self, keys: set[Key]) -> None: ...
    async def close(self) -> None: ...


class Held:
    """One token, and until when it may be used."""

    __slots__ = ("cost_bytes", "failures", "refresh_at", "subject", "token", "usable_until")

    def __init__(
        self,
        token: ObtainedToken,
        subject: Credential | None,
        *,
        usable_until: float,
        refresh_at: float,
    ) -> None:
        self.token = token
        self.subject = subject
        self.usable_until = usable_until
        """In seconds since the epoch, as is *refresh_at*."""
        self.refresh_at = refresh_at
        """From then on a use has another one obtained meanwhile."""
        self.failures = 0
        """Attempts of that which failed in a row."""
        subject_bytes = 0 if subject is None else len(subject.token)
        self.cost_bytes: int = len(token.token) + subject_bytes + COST_PER_ENTRY


class Obtaining:
    """One question for a token, shared by everybody who waits for what comes of it."""

    def __init__(self, subject: Credential | None) -> None:
        self.subject = subject
        self.withdrawn = False
        """The token of its subject is not good any more, so nothing may come of it."""
        self._task: asyncio.Task[ObtainedToken | Failure] | None = None

    def begin(self, task: asyncio.Task[ObtainedToken | Failure]) -> None:
        self._task = task

    def withdraw(self) -> None:
        """End it: whoever waits is answered now, and what is still to come is dropped."""
        self.withdrawn = True
        self.give_up()

    def give_up(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def settled(self) -> None:
        """Return when the outcome is there; whoever leaves early ends it for nobody."""
        assert self._task is not None  # begun by whoever made it
        await asyncio.wait((self._task,))

    @property
    def outcome(self) -> ObtainedToken | Failure:
        """What came of it, once it is settled."""
        task = self._task
        if self.withdrawn:
            return WITHDRAWN
        if task is None or task.cancelled() or task.exception() is not None:
            return Failure("unavailable", "the question was given up")
        result = task.result()
        if isinstance(result, ObtainedToken) and not result.hold.live:
            return Failure("unavailable", "the token was withdrawn as soon as it was there")
        return result


WITHDRAWN: Final = Failure(
    "subject_expired", "the caller's token was withdrawn while another was asked for with it"
)


class ObtainedTokens:
    """Bounded by entries and by bytes; the least recently used token goes first.

    The newest is always kept, whatever its size: its user must learn of a withdrawal. One that is
    let go is not ``live`` any more for whoever has it in hand, and is then asked for again.
    """

    def __init__(
        self, *, max_entries: int, max_bytes: int, max_remembered: int = MAX_REMEMBERED
    ) -> None:
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._entries: OrderedDict[Key, Held] = OrderedDict()
        self._by_subject: dict[bytes, set[Key]] = {}
        self.size_bytes = 0
        self.under_way: dict[Key, Obtaining] = {}
        self.refreshing = 0
        """Questions under way that nobody waits for yet."""
        self.failures: Lately[Failure] = Lately(max_remembered)
        self.renewed: Lately[bytes] = Lately(max_remembered)
        """Digests of the tokens that a destination refused."""
        self.shared: Shared | None = None
        """What other pods have obtained, if it is shared."""
        self.on_withdrawal: Callable[[bytes, set[Key]], None] = lambda _digest, _keys: None
        """Told the digest of a subject's token and what was kept or asked for with it."""

    def __len__(self) -> int:
        return len(self._entries)

    def bound(self, *, max_entries: int, max_bytes: int) -> None:
        """Keep to other bounds from now on."""
        self._max_entries, self._max_bytes = max_entries, max_bytes
        self._evict()

    def find(self, key: Key) -> Held | None:
        """Return what is kept under *key* and mark it as used."""
        held = self._entries.get(key)
        if held is not None:
            self._entries.move_to_end(key)
        return held

    def peek(self, key: Key) -> Held | None:
        return self._entries.get(key)

    def put(self, key: Key, held: Held) -> None:
        """Keep *held*; whoever has the one before it in hand may still use that."""
        before = self._entries.pop(key, None)
        if before is not None:
            self.size_bytes -= before.cost_bytes
            held.token.hold = before.token.hold
        else:
            held.token.hold = Hold()
        self._entries[key] = held
        self.size_bytes += held.cost_bytes
        if held.subject is not None:
            self._by_subject.setdefault(held.subject.digest, set()).add(key)
        self._evict()

    def discard(self, key: Key) -> None:
        """Forget what is kept under *key*, if anything is."""
        held = self._entries.pop(key, None)
        if held is None:
            return
        held.token.hold.live = False
        self.size_bytes -= held.cost_bytes
        if held.subject is not None:
            keys = self._by_subject[held.subject.digest]
            keys.discard(key)
            if not keys:
                del self._by_subject[held.subject.digest]

    def forget_subject(self, digest: bytes) -> None:
        """Forget what was obtained with the token of this *digest*, and end what is under way."""
        keys = set(self._by_subject.get(digest, ()))
        asked = {
            key: question
            for key, question in self.under_way.items()
            if question.subject is not None and question.subject.digest == digest
        }
        for key in keys:
            self.discard(key)
        for key, question in asked.items():
            # Not there any more for the next one, who may have a better token.
            del self.under_way[key]
            question.withdraw()
        keys.update(asked)
        if keys:
            self.on_withdrawal(digest, keys)

    def retain(self, holds: Callable[[Credential], bool]) -> None:
        """Forget what was obtained with a token that no longer *holds*."""
        subjects: dict[bytes, Credential] = {}
        for keys in self._by_subject.values():
            subject = self._entries[next(iter(keys))].subject
            assert subject is not None  # else it had no place there
            subjects[subject.digest] = subject
        for question in self.under_way.values():
            if question.subject is not None:
                subjects[question.subject.digest] = question.subject
        for digest, subject in subjects.items():
            if not holds(subject):
                self.forget_subject(digest)

    async def close(self) -> None:
        """Give up every question; whoever waits for one is answered."""
        questions = list(self.under_way.values())
        for question in questions:
            question.give_up()
        for question in questions:
            await question.settled()

    def _evict(self) -> None:
        while len(self._entries) > 1 and (
            len(self._entries) > self._max_entries or self.size_bytes > self._max_bytes
        ):
            self.discard(next(iter(self._entries)))
