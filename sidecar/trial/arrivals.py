"""A call that arrived at the destination, and the verdict on whose token it carried."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Arrival:
    """What one call said and carried."""

    destination: str
    method: str
    path: str
    """Without query, which may hold more than names."""
    named: frozenset[str]
    """The users whose names occur in it."""
    has_credential: bool
    subject: str | None
    """Whose token came with it; ``None`` for none, or for a credential of no user of ours."""


@dataclass(frozen=True, slots=True)
class Right:
    """The token is that of the one user the call names."""

    user: str


@dataclass(frozen=True, slots=True)
class Wrong:
    """The token is somebody else's: the one thing that must never happen."""

    user: str
    subject: str


@dataclass(frozen=True, slots=True)
class Anonymous:
    """No token came with the call."""

    user: str | None


Cause = Literal["no_name", "several_names", "foreign_credential"]


@dataclass(frozen=True, slots=True)
class Unjudged:
    """It cannot be told for whom the call was made, or whose credential it carried."""

    cause: Cause
    user: str | None
    """Some user who had to do with it, to find the endpoint by."""


Judgement = Right | Wrong | Anonymous | Unjudged


def judge(arrival: Arrival) -> Judgement:
    """Compare the token of a call with the user it names."""
    named, subject = arrival.named, arrival.subject
    one = next(iter(named)) if len(named) == 1 else None
    if not arrival.has_credential:
        return Anonymous(one)
    if subject is None:
        return Unjudged("foreign_credential", one)
    if one is None:
        return Unjudged("several_names" if named else "no_name", subject)
    return Right(one) if one == subject else Wrong(one, subject)
