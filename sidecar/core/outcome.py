"""The stable enumeration of refusals, and what each one says to whom.

A reason's code is public: it is a metric label, a header value, part of the problem
type and a key in people's dashboards. Codes are added, never renamed or reused.
Writing the answer on a socket belongs to ``sidecar.wire``.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final, Literal

Fault = Literal["caller", "app", "peer", "sidecar", "issuer"]
"""Who has to act for a refusal to go away. ``peer``: the app inbound, the destination outbound."""

BearerError = Literal[
    "invalid_request", "invalid_token", "insufficient_scope", "insufficient_user_authentication"
]
"""Error codes of RFC 6750, section 3.1, and RFC 9470, section 3."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is fixed about a reason: HTTP status, safe text, who must act."""

    status: int
    title: str
    fault: Fault
    error: BearerError | None = None
    """``error`` of the Bearer challenge; ``None`` where RFC 6750 wants none."""
    challenge: bool = False
    """Whether an inbound answer carries ``WWW-Authenticate`` (RFC 6750, section 3)."""
    retry_after_seconds: int | None = None


class Reason(Enum):
    """Why a request was not forwarded. The member's value is its public code."""

    code: str

    def __new__(cls, code: str, facts: Facts) -> "Reason":
        member = object.__new__(cls)
        member._value_ = code
        member.facts = facts
        member.code = code
        return member

    facts: Facts

    # --- the message itself (RFC 9110, 9112) ---
    MESSAGE_MALFORMED = "message_malformed", Facts(400, "The HTTP message is malformed", "caller")
    HEAD_TOO_LARGE = "head_too_large", Facts(431, "The header section is too large", "caller")
    TARGET_TOO_LONG = "target_too_long", Facts(414, "The request target is too long", "caller")
    BODY_TOO_LARGE = "body_too_large", Facts(413, "The content is too large", "caller")
    VERSION_UNSUPPORTED = (
        "version_unsupported",
        Facts(505, "This HTTP version is not supported", "caller"),
    )
    CODING_UNSUPPORTED = (
        "coding_unsupported",
        Facts(501, "This transfer coding is not supported", "caller"),
    )
    EXPECTATION_UNSUPPORTED = (
        "expectation_unsupported",
        Facts(417, "This expectation is not supported", "caller"),
    )
    UPGRADE_UNSUPPORTED = (
        "upgrade_unsupported",
        Facts(501, "Upgrade and CONNECT are not supported", "caller"),
    )
    METHOD_UNSUPPORTED = (
        "method_unsupported",
        Facts(501, "This method is not supported", "caller"),
    )
    REQUEST_TIMEOUT = "request_timeout", Facts(408, "The request did not arrive in time", "caller")
    PATH_AMBIGUOUS = (
        "path_ambiguous",
        Facts(400, "The path could be read in more than one way", "caller"),
    )
    CONNECTION_PROTECTED = (
        "connection_protected",
        Facts(400, "Connection names a field that must not be removed", "caller"),
    )
    DESTINATION_UNKNOWN = (
        "destination_unknown",
        Facts(421, "This listener does not serve that host", "caller"),
    )

    # --- the token (RFC 6750, 7515, 7519) ---
    TOKEN_REPEATED = (
        "token_repeated",
        Facts(400, "More than one credential was sent", "caller", "invalid_request", True),
    )
    TOKEN_MISSING = "token_missing", Facts(401, "A bearer token is required", "caller", None, True)
    TOKEN_MALFORMED = (
        "token_malformed",
        Facts(401, "The token is not a well-formed signed JWT", "caller", "invalid_token", True),
    )
    TOKEN_TOO_LARGE = (
        "token_too_large",
        Facts(401, "The token is too large", "caller", "invalid_token", True),
    )
    TOKEN_TYPE = (
        "token_type",
        Facts(401, "This type of token is not accepted here", "caller", "invalid_token", True),
    )
    TOKEN_EXPIRED = (
        "token_expired",
        Facts(401, "The token has expired", "caller", "invalid_token", True),
    )
    TOKEN_NOT_YET_VALID = (
        "token_not_yet_valid",
        Facts(401, "The token is not valid yet", "caller", "invalid_token", True),
    )
    TOKEN_TOO_OLD = (
        "token_too_old",
        Facts(401, "The token was issued too long ago", "caller", "invalid_token", True),
    )
    TOKEN_REVOKED = (
        "token_revoked",
        Facts(401, "The token was revoked", "caller", "invalid_token", True),
    )
    TOKEN_INACTIVE = (
        "token_inactive",
        Facts(401, "The issuer says the token is not active", "caller", "invalid_token", True),
    )
    ALGORITHM_REFUSED = (
        "algorithm_refused",
        Facts(401, "The token's algorithm is not allowed", "caller", "invalid_token", True),
    )
    CRITICAL_UNKNOWN = (
        "critical_unknown",
        Facts(401, "The token needs an extension we do not know", "caller", "invalid_token", True),
    )
    SIGNATURE_INVALID = (
        "signature_invalid",
        Facts(401, "The token's signature is not valid", "caller", "invalid_token", True),
    )
    KEY_UNKNOWN = (
        "key_unknown",
        Facts(401, "The token's key is not among its issuer's", "caller", "invalid_token", True),
    )
    CLAIMS_MALFORMED = (
        "claims_malformed",
        Facts(401, "A claim of the token has the wrong type", "caller", "invalid_token", True),
    )
    CLAIM_MISSING = (
        "claim_missing",
        Facts(401, "The token lacks a required claim", "caller", "invalid_token", True),
    )
    ISSUER_MISMATCH = (
        "issuer_mismatch",
        Facts(401, "The token's issuer is not trusted here", "caller", "invalid_token", True),
    )
    AUDIENCE_MISMATCH = (
        "audience_mismatch",
        Facts(401, "The token was not issued for this service", "caller", "invalid_token", True),
    )
    IDENTITY_TOO_LARGE = (
        "identity_too_large",
        Facts(431, "What the token says of the caller is too large for the app", "sidecar"),
    )

    # --- the rules ---
    NO_RULE = "no_rule", Facts(403, "No rule allows this request", "caller")
    SCOPE_MISSING = (
        "scope_missing",
        Facts(403, "The token lacks a required scope", "caller", "insufficient_scope", True),
    )
    ROLE_MISSING = (
        "role_missing",
        Facts(403, "The caller lacks a required role", "caller", "insufficient_scope", True),
    )
    CLAIM_CONDITION = (
        "claim_condition",
        Facts(403, "A claim does not meet the rule's condition", "caller"),
    )
    AUTHENTICATION_INSUFFICIENT = (
        "authentication_insufficient",
        Facts(
            401,
            "A stronger or more recent authentication is required",
            "caller",
            "insufficient_user_authentication",
            True,
        ),
    )
    ACTOR_REFUSED = (
        "actor_refused",
        Facts(403, "The token is used by somebody whom the rule does not take", "caller"),
    )

    # --- the transaction token, beside an access token that is good. The caller has shown who it
    # is, so that no challenge would help (draft-ietf-oauth-transaction-tokens) ---
    TRANSACTION_TOKEN_REPEATED = (
        "transaction_token_repeated",
        Facts(400, "More than one transaction token was sent", "caller"),
    )
    TRANSACTION_TOKEN_MISSING = (
        "transaction_token_missing",
        Facts(403, "A transaction token is required", "caller"),
    )
    TRANSACTION_TOKEN_INVALID = (
        "transaction_token_invalid",
        Facts(403, "The transaction token is not accepted here", "caller"),
    )
    TRANSACTION_TOKEN_EXPIRED = (
        "transaction_token_expired",
        Facts(403, "The transaction token has expired", "caller"),
    )

    # --- attribution of an outbound call (ATTRIBUTION, section 6) ---
    ATTRIBUTION_MISSING = (
        "attribution_missing",
        Facts(403, "The call does not say which request caused it", "app"),
    )
    ATTRIBUTION_DEAD = (
        "attribution_dead",
        Facts(403, "The request that caused the call has ended", "app"),
    )
    ATTRIBUTION_UNKNOWN = (
        "attribution_unknown",
        Facts(403, "The call names a request this sidecar does not know", "app"),
    )
    ATTRIBUTION_AMBIGUOUS = (
        "attribution_ambiguous",
        Facts(403, "The call names more than one request", "app"),
    )
    ATTRIBUTION_ASSURANCE = (
        "attribution_assurance",
        Facts(403, "The evidence is weaker than the destination demands", "app"),
    )
    ATTRIBUTION_MAX_AGE = (
        "attribution_max_age",
        Facts(403, "The request that caused the call is too old for new calls", "app"),
    )
    ATTRIBUTION_CALL_LIMIT = (
        "attribution_call_limit",
        Facts(403, "The request has made as many calls as it may", "app"),
    )
    ANONYMOUS_ORIGIN = (
        "anonymous_origin",
        Facts(403, "The request that caused the call had no token", "app"),
    )
    FOREIGN_CREDENTIAL = (
        "foreign_credential",
        Facts(403, "The app sent a credential of its own", "app"),
    )
    TARGET_FORBIDDEN = "target_forbidden", Facts(403, "That address may not be called", "app")
    DESTINATION_UNLISTED = (
        "destination_unlisted",
        Facts(403, "That destination is not listed", "app"),
    )
    PEER_REFUSED = "peer_refused", Facts(403, "Only this pod may use this listener", "caller")

    # --- the other side ---
    UPSTREAM_UNREACHABLE = (
        "upstream_unreachable",
        Facts(502, "No connection could be made", "peer"),
    )
    UPSTREAM_RESET = (
        "upstream_reset",
        Facts(502, "The connection was lost before the answer was complete", "peer"),
    )
    UPSTREAM_MALFORMED = "upstream_malformed", Facts(502, "The answer was not valid HTTP", "peer")
    UPSTREAM_TIMEOUT = "upstream_timeout", Facts(504, "The answer did not arrive in time", "peer")
    DEADLINE_EXCEEDED = (
        "deadline_exceeded",
        Facts(504, "The time for the request was over", "peer"),
    )

    # --- ours or the issuer's ---
    KEYS_UNAVAILABLE = (
        "keys_unavailable",
        Facts(
            503,
            "The issuer's keys are not available",
            "issuer",
            retry_after_seconds=5,
        ),
    )
    INTROSPECTION_UNAVAILABLE = (
        "introspection_unavailable",
        Facts(503, "The issuer could not be asked", "issuer", retry_after_seconds=5),
    )
    EXCHANGE_UNAVAILABLE = (
        "exchange_unavailable",
        Facts(
            503,
            "No token could be obtained for the destination",
            "issuer",
            retry_after_seconds=5,
        ),
    )
    EXCHANGE_MISCONFIGURED = (
        "exchange_misconfigured",
        Facts(500, "The sidecar may not ask for a token for the destination", "sidecar"),
    )
    EXCHANGE_REFUSED = (
        "exchange_refused",
        Facts(403, "The caller gets no token for the destination", "caller"),
    )
    EXCHANGE_INVALID = (
        "exchange_invalid",
        Facts(502, "What was obtained for the destination is not what was asked for", "issuer"),
    )
    LEDGER_FULL = (
        "ledger_full",
        Facts(503, "Too many requests are in flight", "sidecar", retry_after_seconds=1),
    )
    LEDGER_SHARE = (
        "ledger_share",
        Facts(
            503,
            "This caller has too many requests in flight",
            "sidecar",
            retry_after_seconds=1,
        ),
    )
    ADMISSION_TIMEOUT = (
        "admission_timeout",
        Facts(503, "The request waited too long for its turn", "sidecar", retry_after_seconds=1),
    )
    ADMISSION_FULL = (
        "admission_full",
        Facts(
            503,
            "Too many requests are waiting for their turn",
            "sidecar",
            retry_after_seconds=1,
        ),
    )
    OVERLOADED = (
        "overloaded",
        Facts(503, "Too many connections are open", "sidecar", retry_after_seconds=1),
    )
    DESTINATION_UNAVAILABLE = (
        "destination_unavailable",
        Facts(503, "The destination failed too often", "peer", retry_after_seconds=1),
    )
    DESTINATION_BUSY = (
        "destination_busy",
        Facts(503, "Too many calls to the destination", "peer", retry_after_seconds=1),
    )
    DRAINING = (
        "draining",
        Facts(503, "The sidecar is shutting down", "sidecar", retry_after_seconds=1),
    )


REASONS_BY_CODE: Final = {reason.code: reason for reason in Reason}


@dataclass(frozen=True, slots=True)
class Denial:
    """A refusal: the reason, and one sentence for whoever may see the details.

    *detail* is for the operator's log and, where ``public`` is true, for the answer. It never
    contains a token, a handle, a query string or a cookie.
    """

    reason: Reason
    detail: str = ""
    public: bool = False
    scope: str = ""
    """``scope`` attribute of the challenge: the scopes that would do (RFC 6750, section 3)."""
    challenge: tuple[tuple[str, str], ...] = ()
    """Further attributes of the challenge, with values that fit in a quoted string."""
    retry_after_seconds: int | None = None
    """When it may be otherwise, where more is known of that than the reason says."""
