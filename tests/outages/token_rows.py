"""The rows of docs/outages.md about tokens of destinations, each with what its test asserts."""

from dataclasses import dataclass
from typing import Final

SERVED: Final = "served"
AS_IT_IS: Final = "that answer, as it is"
NO_ANSWER: Final = "503 `exchange_unavailable`"
MISCONFIGURED: Final = "500 `exchange_misconfigured`"
REFUSED: Final = "403 `exchange_refused`"
INVALID: Final = "502 `exchange_invalid`"


@dataclass(frozen=True)
class TokenRow:
    """What becomes of each kind of call meanwhile, and what shows it."""

    outage: str
    exchange: str
    """Of a call whose caller's token must be exchanged first."""
    own: str
    """Of a call that needs a token of the service itself, and has none at hand."""
    refresh: str
    """``refreshed`` or ``refresh_failed``: of a token at hand that is in use near its end."""
    look_at: str
    """A sample that is there afterwards."""
    keys_too: bool = False
    """Whether the keys' place is as ill as the token endpoint."""

    def line(self, test: str) -> str:
        """Return the row as it stands in the document."""
        served = self.exchange == SERVED
        refreshed = "yes" if self.refresh == "refreshed" else "no, used to its end"
        after = "a new one" if served else self.exchange
        cells = (
            self.outage,
            SERVED,
            SERVED,
            SERVED,
            self.exchange,
            f"{SERVED} at hand, else {self.own}" if not served else SERVED,
            f"{refreshed}; then {after}",
            "yes",
            f"`{self.look_at}`",
            f"`{test}`",
        )
        return f"| {' | '.join(cells)} |"


def _requests(result: str) -> str:
    return f'sidecar_token_endpoint_requests_total{{client="idp",result="{result}"}}'


def _down(outage: str, look_at: str, *, keys_too: bool = False) -> TokenRow:
    return TokenRow(outage, NO_ANSWER, NO_ANSWER, "refresh_failed", look_at, keys_too)


TOKEN_ROWS: Final = {
    "test_provider_killed": _down(
        "The identity provider is killed, keys and all: connections are refused",
        _requests("network_error"),
        keys_too=True,
    ),
    "test_connections_cut": _down(
        "It ends each connection without an answer", _requests("network_error")
    ),
    "test_silent_token_endpoint": _down(
        "It takes longer than the client's `timeout`", _requests("network_error")
    ),
    "test_slow_token_endpoint": TokenRow(
        "It is slow, but within `timeout`", SERVED, SERVED, "refreshed", _requests("success")
    ),
    "test_token_endpoint_errors": _down(
        "It answers 500, 502, 503 or 404", _requests("http_error"), keys_too=True
    ),
    "test_token_endpoint_limits": _down(
        "It answers 429 with `Retry-After: 7`", _requests("rate_limited"), keys_too=True
    ),
    "test_page_for_a_token": _down(
        "It answers 200 with a page of HTML", _requests("invalid_answer"), keys_too=True
    ),
    "test_client_not_known": TokenRow(
        "It does not know the client any more: 401 `invalid_client`",
        MISCONFIGURED,
        MISCONFIGURED,
        "refresh_failed",
        _requests("misconfigured"),
    ),
    "test_target_not_allowed": TokenRow(
        "It does not give this client the audience any more: 400 `invalid_target`",
        MISCONFIGURED,
        MISCONFIGURED,
        "refresh_failed",
        _requests("misconfigured"),
    ),
    "test_callers_refused": TokenRow(
        "It refuses the callers' tokens: 400 `invalid_grant`",
        REFUSED,
        REFUSED,
        "refresh_failed",
        _requests("refused"),
    ),
    "test_token_for_somebody_else": TokenRow(
        "It answers with a token for another audience",
        INVALID,
        INVALID,
        "refresh_failed",
        _requests("invalid_answer"),
    ),
    "test_redis_killed": TokenRow(
        "Redis, where pods share tokens, refuses connections",
        SERVED,
        SERVED,
        "refreshed",
        'sidecar_shared_tokens_total{result="unavailable"}',
    ),
    "test_redis_silent": TokenRow(
        "Redis takes connections and never answers",
        SERVED,
        SERVED,
        "refreshed",
        'sidecar_shared_tokens_total{result="unavailable"}',
    ),
}


@dataclass(frozen=True)
class DestinationRow:
    """What becomes of calls to a destination that is ill itself."""

    outage: str
    app_sees: str
    questions: int
    """How often the provider is asked for the token of one caller, whatever the number of calls."""
    look_at: str
    calls_before: int = 0
    """How many of it are needed until it counts as ill."""

    def line(self, test: str) -> str:
        """Return the row as it stands in the document."""
        kept = "kept" if self.questions == 1 else "obtained once more, then kept"
        return f"| {self.outage} | {self.app_sees} | {kept} | `{self.look_at}` | `{test}` |"


def _rejected(reason: str) -> str:
    labels = f'direction="outbound",enforced="true",reason="{reason}",route="profiles"'
    return f"sidecar_rejections_total{{{labels}}}"


def _answered(code: int) -> str:
    labels = f'code="{code}",direction="outbound",method="GET",route="profiles"'
    return f"sidecar_requests_total{{{labels}}}"


DESTINATION_ROWS: Final = {
    "test_destination_killed": DestinationRow(
        "Refuses connections",
        "502 `upstream_unreachable`",
        1,
        _rejected("upstream_unreachable"),
    ),
    "test_destination_hangs_up": DestinationRow(
        "Closes connections without an answer",
        "502 `upstream_reset`",
        1,
        _rejected("upstream_reset"),
    ),
    "test_destination_silent": DestinationRow(
        "Does not answer within `total_timeout`, or within what the caller's own deadline leaves",
        "504 `deadline_exceeded`",
        1,
        _rejected("deadline_exceeded"),
    ),
    "test_destination_failing": DestinationRow(
        "Failed as often as `circuit.failures` says",
        "503 `destination_unavailable`",
        1,
        _rejected("destination_unavailable"),
        calls_before=1,
    ),
    "test_destination_errors": DestinationRow("Answers 500 or 429", AS_IT_IS, 1, _answered(500)),
    "test_destination_refuses_tokens": DestinationRow(
        "Answers 401 to every token", AS_IT_IS, 2, _answered(401)
    ),
}
