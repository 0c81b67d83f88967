"""The error answers of a token endpoint (RFC 6749, section 5.2)."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TokenError:
    """An error answer; *basic* asks for HTTP Basic because Basic was tried."""

    code: str
    description: str
    status: int = 400
    basic: bool = False


def invalid_client(description: str, *, basic: bool = False) -> TokenError:
    """The error of a client that did not show who it is."""
    return TokenError("invalid_client", description, 401, basic)
