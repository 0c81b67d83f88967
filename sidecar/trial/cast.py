"""The synthetic users, by whose names a call tells for whom it is made.

A name is a marker: unguessable, so that no app makes one up, and unique to one run, so that what
an app remembers of another run names nobody. Each endpoint has users of its own, so that a name
found anywhere tells the endpoint too.
"""

import re
import secrets
import string
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from sidecar.trial.plan import Endpoint

_PREFIX: Final = "sdu"
_ALPHABET: Final = string.ascii_lowercase + string.digits
_RANDOM_LENGTH: Final = 20
_PATTERN: Final = rf"{_PREFIX}[a-z0-9]{{{_RANDOM_LENGTH}}}"
_ANY_NAME: Final = re.compile(_PATTERN, re.IGNORECASE)
# Looking ahead finds a name behind another text that begins like one.
_NAME: Final = re.compile(f"(?=({_PATTERN}))")


@dataclass(frozen=True, slots=True)
class Member:
    """One synthetic user: who calls which endpoint with which token."""

    name: str
    endpoint: Endpoint
    token: str = field(repr=False)


class Cast:
    """Everybody of one run."""

    def __init__(
        self, endpoints: Sequence[Endpoint], users: int, mint_token: Callable[[str], str]
    ) -> None:
        """Make *users* members, at least two for each endpoint, with one token each."""
        each = max(2, users // len(endpoints))
        members = (
            Member(name, endpoint, mint_token(name))
            for endpoint in endpoints
            for name in (_new_name() for _ in range(each))
        )
        self._by_name = {member.name: member for member in members}
        self._by_token = {member.token: member.name for member in self._by_name.values()}

    @property
    def members(self) -> list[Member]:
        return list(self._by_name.values())

    def of(self, endpoint: Endpoint) -> list[Member]:
        return [member for member in self._by_name.values() if member.endpoint == endpoint]

    def member(self, name: str) -> Member | None:
        return self._by_name.get(name)

    def named_in(self, texts: Iterable[str]) -> frozenset[str]:
        """The members whose names occur in *texts*, in whatever case."""
        found = (name for text in texts for name in _NAME.findall(text.lower()))
        return frozenset(name for name in found if name in self._by_name)

    def subject_of(self, token: str) -> str | None:
        """Whose *token* it is; ``None`` if no member's."""
        return self._by_token.get(token)


def without_names(text: str) -> str:
    """Replace whatever looks like a user's name, so that the calls of all users look the same."""
    return _ANY_NAME.sub("{user}", text)


def _new_name() -> str:
    return _PREFIX + "".join(secrets.choice(_ALPHABET) for _ in range(_RANDOM_LENGTH))
