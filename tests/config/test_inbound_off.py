"""``inbound.listen: off``: a pod that nobody calls."""

import pytest

from sidecar.cli.summary import summary
from sidecar.config.flags import Flags
from sidecar.config.load import load
from sidecar.config.model import Address
from tests.config.cases import VALID_START, lines
from tests.config.conftest import Examine

RELAYS = "outbound: {destinations: {d: {listen: '127.0.0.1:1', upstream: 'http://[::1]:2'%s}}}\n"


@pytest.mark.parametrize("written", ["off", "'off'"])
def test_nobody_calls(written: str, examined: Examine) -> None:
    """Without callers no issuer is needed, though rules ask for tokens, and no port is taken."""
    found = examined(
        f"version: 1\ninbound: {{listen: {written}, rules: [{{paths: [/**], require: "
        "authenticated}]}\nadmin: {listen: '0.0.0.0:15406'}\n"
        "outbound: {destinations: {d: {listen: '127.0.0.1:8080', upstream: 'http://[::1]:2', "
        "token: none}}}\n"
    )
    assert (found.errors, found.warnings) == ((), ())
    assert found.config is not None
    assert found.config.inbound.listen is None
    assert "  serve no callers (inbound.listen: off)" in list(summary(found.config))


def test_with_callers_it_is_all_different(examined: Examine) -> None:
    """The same without ``off`` is refused: a token that is asked for can come from nobody."""
    found = examined("version: 1\ninbound: {listen: '127.0.0.1:1'}\n")
    assert lines(found.errors) == [
        "1:1: issuers: no issuer is configured, but a rule asks for a token"
    ]


def test_what_is_neither(examined: Examine) -> None:
    """Other words are no address."""
    for word in ("none", "false"):
        found = examined(f"{VALID_START}inbound: {{listen: {word}}}\n")
        assert lines(found.errors) == [
            f"3:19: inbound.listen: `{word}` needs a port, as in 127.0.0.1:9001 or [::1]:9001"
        ]


@pytest.mark.parametrize(
    ("more", "is_told"),
    [("", True), (", without_context: anonymous", False), (", token: none", False)],
)
def test_calls_that_can_only_be_refused(more: str, is_told: bool, examined: Examine) -> None:
    """A destination that relays, or refuses, would refuse every call of such a pod."""
    found = examined(f"version: 1\ninbound: {{listen: off}}\n{RELAYS % more}")
    told = (
        "3:30: warning: outbound.destinations.d: `inbound.listen: off` leaves no request that "
        "could have caused a call: every one will be refused, unless it says `without_context: "
        "anonymous`, `client_credentials` or `file`"
    )
    assert lines(found.warnings) == ([told] if is_told else [])


def test_on_the_command_line() -> None:
    """``--listen off`` says the same; a port is still an address of every interface."""
    assert load([], flags=Flags(listen="off")).inbound.listen is None
    listen = load([], flags=Flags(listen="7", anyone_paths=("/**",))).inbound.listen
    assert listen == Address("0.0.0.0", 7)
