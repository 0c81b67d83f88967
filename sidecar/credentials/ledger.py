"""The ledger: every live inbound exchange of this process, by its handle.

The heart of the outbound half. It is exact or it is nothing: a handle that is not found here
attaches no token.
"""

import os
from collections.abc import Callable, Iterable
from mmap import mmap
from typing import Final

from sidecar.core.attribution import NOTHING_REQUESTED, CallTerms, Entry, Gone
from sidecar.core.digests import sha256
from sidecar.core.names import HANDLE_PREFIX, HANDLE_RANDOM_LENGTH
from sidecar.core.outcome import Reason
from sidecar.core.principal import Credential
from sidecar.core.propagation import Alias

_ALPHABET: Final = b"0123456789abcdefghijklmnopqrstuvwxyz"
_TO_ALPHABET: Final = bytes(_ALPHABET[octet % 36] for octet in range(256))
# 252 is the largest multiple of 36 below 256: dropping the rest keeps every character equally
# likely.
_UNEVEN: Final = bytes(range(252, 256))
_BLOCK_BYTES: Final = 8192
_PREFIX: Final = HANDLE_PREFIX.encode()

CLOSED_SLOTS: Final = 65_536
"""Closed handles that are remembered, so that ``dead`` can be told from ``unknown``."""
CLOSED_SECONDS: Final = 600.0


class HandleSource:
    """Unguessable handles, drawn from the system's randomness in blocks."""

    def __init__(self, random: Callable[[int], bytes] = os.urandom) -> None:
        self._random = random
        self._block = b""
        self._position = 0

    def draw(self, length: int) -> bytes:
        """Return *length* fresh characters of ``[0-9a-z]``."""
        start = self._position
        end = start + length
        while end > len(self._block):
            self._block = self._random(_BLOCK_BYTES).translate(_TO_ALPHABET, _UNEVEN)
            start, end = 0, length
        self._position = end
        return self._block[start:end]


class ClosedHandles:
    """Keyed digests of handles that have ended, in a table of fixed size.

    A newer digest may take the slot of an older one, which then reads ``unknown`` instead of
    ``dead``: both refuse, so the table buys an explanation and never safety.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key
        # Anonymous memory: a page costs nothing until a handle falls into it.
        self._digests = memoryview(mmap(-1, 8 * CLOSED_SLOTS)).cast("q")
        self._times = memoryview(mmap(-1, 8 * CLOSED_SLOTS)).cast("d")

    def _digest(self, handle: bytes) -> int:
        # SipHash under the interpreter's secret and ours: 64 bits are plenty where the worst that
        # a collision can do is to call an unknown handle dead.
        return hash(self._key + handle)

    def add(self, handle: bytes, now: float) -> None:
        digest = self._digest(handle)
        slot = digest % CLOSED_SLOTS
        self._digests[slot] = digest
        self._times[slot] = now

    def holds(self, handle: bytes, now: float) -> bool:
        digest = self._digest(handle)
        slot = digest % CLOSED_SLOTS
        return self._digests[slot] == digest and now - self._times[slot] <= CLOSED_SECONDS


class Ledger:
    """Bounded table of live inbound exchanges, by handle and by whatever else stands for them.

    Full means a new inbound request is refused, never that a live entry is evicted: an evicted
    entry turns a correct outbound call into a refusal that nobody can explain. Anonymous entries
    have a partition of their own, a quarter of *capacity* beside it, and one subject may hold at
    most a quarter of *capacity*, so that no caller can lock out the others.
    """

    def __init__(
        self, capacity: int, *, clock: Callable[[], float], handles: HandleSource | None = None
    ) -> None:
        self._share = max(1, capacity // 4)
        self._capacity = capacity
        self._clock = clock
        self._handles = handles or HandleSource()
        self._live: dict[bytes, Entry] = {}
        self._aliases: dict[bytes, Entry] = {}
        self._by_token: dict[bytes, dict[Entry, None]] = {}
        """By digest; several requests may come with one token, the newest last."""
        self._lingering: dict[Entry, None] = {}
        self._anonymous = 0
        self._by_subject: dict[tuple[str, str], int] = {}
        self._closed = ClosedHandles(os.urandom(32))

    def __len__(self) -> int:
        return len(self._live)

    @property
    def capacity(self) -> int:
        """Entries that fit in all, the anonymous partition included."""
        return self._capacity + self._share

    def new_handle(self) -> bytes:
        """Draw a handle for ``open``, for what must know it before the entry exists."""
        return _PREFIX + self._handles.draw(HANDLE_RANDOM_LENGTH)

    def open(
        self,
        credential: Credential | None,
        route: str,
        terms: CallTerms,
        handle: bytes,
        aliases: tuple[Alias, ...] = (),
    ) -> Entry | Reason:
        """Enter a request that is about to be forwarded; a reason means it may not be."""
        if credential is None:
            if self._anonymous >= self._share:
                return Reason.LEDGER_FULL
            self._anonymous += 1
        else:
            if len(self._live) - self._anonymous >= self._capacity:
                return Reason.LEDGER_FULL
            principal = credential.principal
            subject = (principal.issuer, principal.subject)
            held = self._by_subject.get(subject, 0)
            if held >= self._share:
                return Reason.LEDGER_SHARE
            self._by_subject[subject] = held + 1
        entry = Entry(handle, credential, route, terms, self._clock(), aliases)
        self._live[handle] = entry
        if credential is not None:
            sharing = self._by_token.get(credential.digest)
            if sharing is None:
                self._by_token[credential.digest] = {entry: None}
            else:
                sharing[entry] = None
        for alias in aliases:
            self._aliases[alias.key] = entry
        return entry

    def end(self, entry: Entry) -> None:
        """The response of *entry* is complete: close it, unless its rule lets it linger."""
        if entry.terms.linger_seconds and entry.live and entry.ended_at is None:
            entry.ended_at = self._clock()
            self._lingering[entry] = None
        else:
            self.close(entry)

    def close(self, entry: Entry) -> None:
        """Close *entry* now and wipe it; closing twice does nothing."""
        if not entry.live:
            return
        entry.live = False
        now = self._clock()
        del self._live[entry.handle]
        self._closed.add(entry.handle, now)
        for alias in entry.aliases:
            del self._aliases[alias.key]
            self._closed.add(alias.key, now)
        entry.aliases = ()
        if entry.ended_at is not None:
            self._lingering.pop(entry, None)
        credential, entry.credential = entry.credential, None
        entry.transaction = None
        entry.requested = NOTHING_REQUESTED
        if credential is None:
            self._anonymous -= 1
            return
        sharing = self._by_token[credential.digest]
        if len(sharing) == 1:
            del self._by_token[credential.digest]
        else:
            del sharing[entry]
        subject = (credential.principal.issuer, credential.principal.subject)
        held = self._by_subject[subject]
        if held == 1:
            del self._by_subject[subject]
        else:
            self._by_subject[subject] = held - 1

    def sweep(self, now: float) -> None:
        """Close what has lingered long enough; asked now and then, refusals do not wait for it."""
        over = [
            entry
            for entry in self._lingering
            if entry.ended_at is None or now - entry.ended_at > entry.terms.linger_seconds
        ]
        for entry in over:
            self.close(entry)

    def close_unless(self, holds: Callable[[Credential], bool]) -> None:
        """End every entry whose credential no longer *holds*, while its request goes on."""
        for entry in list(self._live.values()):
            if entry.credential is not None and not holds(entry.credential):
                self.close(entry)

    def close_unless_transaction(self, holds: Callable[[Credential], bool]) -> None:
        """The same for entries whose transaction token no longer *holds*."""
        for entry in list(self._live.values()):
            if entry.transaction is not None and not holds(entry.transaction):
                self.close(entry)

    def find(self, key: bytes) -> Entry | Gone | None:
        """Return the live entry of a handle or an alias, ``DEAD`` for one that ended lately."""
        entry = self._live.get(key) or self._aliases.get(key)
        if entry is not None:
            return entry
        return Gone.DEAD if self._closed.holds(key, self._clock()) else None

    def find_token(self, token: bytes) -> Iterable[Entry]:
        """Give the live entries with this very token, the newest first."""
        return reversed(self._by_token.get(sha256(token), {}))

    def original(self, key: bytes) -> Alias | None:
        """Return what the caller had in place of an id that we minted for a live entry."""
        entry = self._aliases.get(key)
        if entry is None:
            return None
        return next(alias for alias in entry.aliases if alias.key == key)
