"""The rows of docs/outages.md, each with what its test asserts: the document is held to them."""

from dataclasses import dataclass
from typing import Final

SERVED: Final = "served"
UNKNOWN: Final = "401 `key_unknown`"
SIGNATURE: Final = "401 `signature_invalid`"
UNAVAILABLE: Final = "503 `keys_unavailable`"
NOBODY: Final = "—"


@dataclass(frozen=True)
class Row:
    """What happens to each kind of caller meanwhile, and how long until all are served again."""

    outage: str
    known: str
    """Of tokens that were verified before."""
    fresh: str
    """Of new tokens under a key that was in force before."""
    new_key: str
    """Of tokens under a key that the issuer made meanwhile."""
    ready: bool
    recovers_within_seconds: float | None
    """By the clock of the keys, once the issuer is well; ``None``: nothing was refused."""

    def line(self, test: str) -> str:
        """Return the row as it stands in the document."""
        recovery = self.recovers_within_seconds
        after = "nothing to recover" if recovery is None else f"{recovery:g} s"
        ready = "yes" if self.ready else "no"
        cells = (self.outage, self.known, self.fresh, self.new_key, ready, after, f"`{test}`")
        return f"| {' | '.join(cells)} |"


def _kept(outage: str, recovers_within_seconds: float = 30) -> Row:
    return Row(outage, SERVED, SERVED, UNAVAILABLE, True, recovers_within_seconds)


def _without(outage: str, *, known: str = NOBODY, ready: bool = False) -> Row:
    return Row(outage, known, UNAVAILABLE, UNAVAILABLE, ready, 30)


ROWS: Final = {
    "test_down_at_the_start": _without("Down at the start, no copy on disk"),
    "test_down_at_the_start_and_serving": _without(
        "Down at the start, no copy, `startup: serve`", ready=True
    ),
    "test_down_at_the_start_with_a_copy": Row(
        "Down at the start, with a copy on disk", NOBODY, SERVED, UNAVAILABLE, True, 30
    ),
    "test_down_at_the_start_with_a_bad_copy": _without(
        "Down at the start, the copy is too old, from the future, of another issuer or source, "
        "damaged, or others may write it"
    ),
    "test_killed": _kept("Killed later: connections are refused"),
    "test_killed_for_longer_than_stale_for": _without(
        "Killed later, for longer than `stale_for`", known=UNAVAILABLE
    ),
    "test_slow": Row("Slow, but it answers within 5 s", SERVED, SERVED, SERVED, True, None),
    "test_silent": _kept("Takes the connection and sends a byte a second, or nothing"),
    "test_errors": _kept("Answers 500, 502, 503 or 404"),
    "test_too_many_requests": _kept("Answers 429 with `Retry-After: 120`", 120),
    "test_too_many_requests_for_a_day": _kept(
        "Answers 429 with `Retry-After: 86400`, which is not believed beyond 300 s", 300
    ),
    "test_not_a_key_set": _kept(
        "Answers 200 with HTML, an error object, nothing, a compressed or a huge document"
    ),
    "test_emptied": _kept('Answers 200 with `{"keys": []}`, or with private keys only'),
    "test_exposed": _without(
        "Answers 200 with the private halves of the keys in force", known=UNAVAILABLE
    ),
    "test_rotated": Row(
        "Keys rotated: a new one, the old one still there", SERVED, SERVED, SERVED, True, None
    ),
    "test_rotated_hard": Row(
        "Keys rotated hard: the old one is gone, and the sidecar has fetched that",
        UNKNOWN,
        UNKNOWN,
        SERVED,
        True,
        None,
    ),
    "test_kid_reused": Row(
        "Another key under the old `kid`, not fetched yet", SERVED, SERVED, SIGNATURE, True, 330
    ),
    "test_metadata_moved": Row(
        "Metadata name another place for the keys", SERVED, SERVED, SERVED, True, None
    ),
    "test_metadata_of_another_issuer": _kept("Metadata are gone, or say another `issuer`"),
    "test_names_do_not_resolve": _kept("Its name does not resolve, or to a metadata address"),
    "test_certificate_expired": _kept("Its TLS certificate expired"),
}
