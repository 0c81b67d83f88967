"""The synthetic people and services that tokens are issued for.

Nobody here exists, and every password is derived from the name: they open nothing but the
embedded identity provider.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class User:
    """One synthetic person; *name* is the ``sub`` of their tokens."""

    name: str
    roles: frozenset[str] = frozenset({"USER"})
    scopes: frozenset[str] = frozenset({"profile.read"})

    @property
    def password(self) -> str:
        """What the ``password`` grant accepts for this user."""
        return f"{self.name}-password"


@dataclass(frozen=True, slots=True)
class Service:
    """One synthetic OAuth client; *client_id* is the ``sub`` of the tokens it gets for itself.

    Besides its secret it may show who it is with whatever is given here.
    """

    client_id: str
    roles: frozenset[str] = frozenset({"SERVICE"})
    scopes: frozenset[str] = frozenset({"profile.read"})
    audiences: frozenset[str] | None = None
    """The audiences and resources that it may ask for; ``None``: any."""
    jwks: Mapping[str, Any] | None = field(default=None, compare=False)
    """Public keys of the assertions that it signs itself (``private_key_jwt``, RFC 7523)."""
    workload: str = ""
    """``sub`` of the assertions that a platform signs for it, as Kubernetes does for a pod."""
    certificate_name: str = ""
    """DNS name or URI in its certificate (``tls_client_auth``, RFC 8705, section 2.1)."""

    @property
    def client_secret(self) -> str:
        """What the token endpoint accepts from this client."""
        return f"{self.client_id}-secret"


ALICE: Final = User("alice", roles=frozenset({"USER", "ADMIN"}))
BOB: Final = User("bob")

_OTHERS = (
    "carol", "dave", "erin", "frank", "grace", "heidi", "ivan", "judy", "kamal", "leila",
    "mallory", "niaj", "olivia", "peggy", "quentin", "rupert", "sybil", "trent", "uma", "victor",
    "walter", "xenia", "yusuf", "zoe", "amara", "bence", "chidi", "daria", "emeka", "farah",
)  # fmt: skip

USERS: Final = (ALICE, BOB, *(User(name) for name in _OTHERS))
"""Alice, who has the role ADMIN, bob, who has not, and thirty others."""

SERVICES: Final = (Service("user-service"), Service("profile-service"))
