"""What each reason means, which step of the decision it ends, who can do something about it, how.

For operators: ``docs/reasons.md``, ``sidecar reasons`` and ``sidecar explain`` are made of this.
Nothing that serves a request imports it. What callers are told is in ``sidecar.core.outcome``.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal, get_args

from sidecar.core.outcome import Fault, Reason

Who = Literal["caller", "app", "peer", "issuer", "operator"]

WHO: Final[Mapping[Who, str]] = {
    "caller": "the caller",
    "app": "the app",
    "peer": "the other side",
    "issuer": "whoever runs the issuer",
    "operator": "whoever configures this sidecar",
}
"""``peer`` is the app inbound, the destination outbound."""

Step = Literal[
    "message", "path", "rule", "token", "issuer", "type", "signature", "audience", "claims",
    "times", "transaction", "rights", "admission", "host", "credential", "evidence", "entry",
    "obtain", "target", "forward",
]  # fmt: skip
"""What a decision consists of; ``sidecar.explain`` shows those of a direction in their order."""
STEPS: Final[tuple[Step, ...]] = get_args(Step)


@dataclass(frozen=True, slots=True)
class ReasonText:
    """What an operator is told. Links are Markdown, relative to ``docs/``."""

    step: Step
    meaning: str
    remedies: tuple[tuple[Who, str], ...]


RESERVED: Final = frozenset(
    {
        Reason.TOKEN_REVOKED,
    }
)
"""Codes kept for what a later version will refuse; nothing gives these answers yet."""

_RESEND: Final = "send the request again after `Retry-After`"

TEXTS: Final[Mapping[Reason, ReasonText]] = {
    # --- the message itself ---
    Reason.MESSAGE_MALFORMED: ReasonText(
        "message",
        "The bytes break RFC 9110 or 9112, or two parsers could read them differently: "
        "[http-conformance.md](http-conformance.md) says where that is stricter than others. The "
        "connection closes.",
        (("caller", "send what the detail names as the RFC has it"),),
    ),
    Reason.HEAD_TOO_LARGE: ReasonText(
        "message",
        "`limits.max_head` or `limits.max_fields` was exceeded.",
        (
            ("caller", "look for a cookie or a token that grew"),
            ("operator", "raise the limit if such heads are meant to pass"),
        ),
    ),
    Reason.TARGET_TOO_LONG: ReasonText(
        "message",
        "`limits.max_target` was exceeded.",
        (
            ("caller", "move what is long from the query into the content"),
            ("operator", "raise the limit if such targets are meant to pass"),
        ),
    ),
    Reason.BODY_TOO_LARGE: ReasonText(
        "message",
        "`limits.max_body` was exceeded, by the declared length or while a chunked body came in.",
        (
            ("caller", "send less content"),
            ("operator", "raise the limit if such content is meant to pass"),
        ),
    ),
    Reason.VERSION_UNSUPPORTED: ReasonText(
        "message",
        "Only HTTP/1.1 and 1.0 are served; a client that begins with HTTP/2 gets this too.",
        (("caller", "use HTTP/1.1"),),
    ),
    Reason.CODING_UNSUPPORTED: ReasonText(
        "message",
        "Only `Transfer-Encoding: chunked` is served.",
        (("caller", "use `chunked` alone, or `Content-Length`"),),
    ),
    Reason.EXPECTATION_UNSUPPORTED: ReasonText(
        "message",
        "Only `Expect: 100-continue` is served, and passed on.",
        (("caller", "leave the field out"),),
    ),
    Reason.UPGRADE_UNSUPPORTED: ReasonText(
        "message",
        "Of upgrades only a WebSocket of version 13 is served, by `GET` without content (an offer "
        "of h2c is ignored), and `CONNECT` only by the forward proxy.",
        (("caller", "use a WebSocket of version 13, or no upgrade"),),
    ),
    Reason.METHOD_UNSUPPORTED: ReasonText(
        "message",
        "`TRACE`, because its answer would show what the sidecar told the app.",
        (("caller", "use another method"),),
    ),
    Reason.REQUEST_TIMEOUT: ReasonText(
        "message",
        "`limits.header_timeout` or `limits.body_timeout` passed, or the content came more slowly "
        "than `limits.min_body_rate`.",
        (
            ("caller", "look for a connection that stalls, or a client that announces content it "
             "does not send"),
            ("operator", "raise the timeout, or lower the rate, for callers on slow lines"),
        ),
    ),
    Reason.PATH_AMBIGUOUS: ReasonText(
        "path",
        "The proxy and the app could read the path differently: encoded slash, double encoding, "
        "dot or empty segments, backslash, semicolon. The detail names it.",
        (
            ("caller", "send the path in its plain form"),
            ("operator", "`inbound.allow_encoded_slash` and `inbound.allow_semicolon` exist for "
             "apps that need these two"),
        ),
    ),
    Reason.CONNECTION_PROTECTED: ReasonText(
        "message",
        "`Connection` named a field that carries identity or routing, or one of "
        "`inbound.token_sources`.",
        (("caller", "look at the proxy in front that writes `Connection`"),),
    ),
    Reason.DESTINATION_UNKNOWN: ReasonText(
        "host",
        "`Host` is neither loopback nor in the destination's `hosts`; or a path alone was sent to "
        "the forward proxy.",
        (
            ("app", "call `http://localhost:PORT`"),
            ("operator", "list the name under `outbound.destinations.NAME.hosts`"),
        ),
    ),
    # --- the token ---
    Reason.TOKEN_REPEATED: ReasonText(
        "token",
        "Two tokens are refused even if they are equal. The log names the places "
        "([tokens](tokens.md)).",
        (("caller", "send one token, in one place"),),
    ),
    Reason.TOKEN_MISSING: ReasonText(
        "token",
        "No token came where the rule asks for one; another scheme than `Bearer` counts as none.",
        (
            ("caller", "send `Authorization: Bearer …`, or the token where `inbound.token_sources` "
             "has it"),
            ("operator", "`allow: anyone` is the rule for what needs no token"),
        ),
    ),
    Reason.TOKEN_MALFORMED: ReasonText(
        "token",
        "Not three base64url parts of JSON (RFC 7515), or JSON with duplicate names; a header, "
        "cookie, subprotocol or parameter that is there and holds no token; or an opaque token "
        "where no issuer is asked about them ([introspection](introspection.md)).",
        (
            ("caller", "send the access token exactly as the issuer gave it"),
            ("operator", "configure `issuers.NAME.introspection` if tokens are opaque"),
        ),
    ),
    Reason.TOKEN_TOO_LARGE: ReasonText(
        "token",
        "`inbound.max_token` was exceeded.",
        (
            ("issuer", "put fewer groups and roles into the token"),
            ("operator", "raise `inbound.max_token`, and `limits.max_head` with it"),
        ),
    ),
    Reason.TOKEN_TYPE: ReasonText(
        "type",
        "An ID token, a logout token, an encrypted or nested token, one that is bound to its "
        "holder's key (`cnf`), or a `typ` that the [profile](profiles.md) does not take.",
        (
            ("caller", "send the access token, not the ID token"),
            ("operator", "`issuers.NAME.token_types` says which `typ` are accepted"),
        ),
    ),
    Reason.TOKEN_EXPIRED: ReasonText(
        "times",
        "`exp` has passed, `leeway` included. Outbound: it expired while its request was running; "
        "nothing is sent past `exp`.",
        (
            ("caller", "get a fresh token, before the old one ends"),
            ("operator", "compare the clocks where fresh tokens are refused; `leeway` forgives "
             "small differences"),
        ),
    ),
    Reason.TOKEN_NOT_YET_VALID: ReasonText(
        "times",
        "`nbf` or `iat` is in the future by more than `leeway`.",
        (
            ("operator", "compare the clocks: `sidecar status` says how far the issuer's is from "
             "ours"),
        ),
    ),
    Reason.TOKEN_TOO_OLD: ReasonText(
        "times",
        "`iat` is longer ago than `max_token_age`.",
        (
            ("caller", "get a fresh token"),
            ("operator", "raise `issuers.NAME.max_token_age` if such tokens are meant to pass"),
        ),
    ),
    Reason.TOKEN_REVOKED: ReasonText(
        "token", "The token was revoked.", (("caller", "log in again"),)
    ),
    Reason.TOKEN_INACTIVE: ReasonText(
        "token",
        "Asked about it, the issuer said no: expired, revoked, or never issued. Said again from "
        "memory for `cache.negative` ([introspection](introspection.md)).",
        (
            ("caller", "get a fresh token"),
            ("operator", "check that this issuer is the one that issued it: one issuer at most is "
             "asked about opaque tokens"),
        ),
    ),
    Reason.ALGORITHM_REFUSED: ReasonText(
        "type",
        "The `alg` is not in `algorithms`, not among those of the [profile](profiles.md), or does "
        "not fit the key.",
        (
            ("issuer", "sign with an asymmetric algorithm, and publish the key for it"),
            ("operator", "list it under `issuers.NAME.algorithms`"),
        ),
    ),
    Reason.CRITICAL_UNKNOWN: ReasonText(
        "type",
        "The token's header has `crit` or `b64`.",
        (("issuer", "issue tokens without extensions that receivers must know"),),
    ),
    Reason.SIGNATURE_INVALID: ReasonText(
        "signature",
        "Another key signed it, or it was changed. Tokens of another environment look like this.",
        (
            ("caller", "check from which environment the token comes, and that nothing cut it"),
            ("operator", "check that the keys are those of the issuer that the token names"),
        ),
    ),
    Reason.KEY_UNKNOWN: ReasonText(
        "signature",
        "The issuer's key set has no such `kid`, and was fetched within `refresh_cooldown`, or to "
        "look for it within three of them ([outages](outages.md)).",
        (
            ("caller", "get a fresh token: the old key may have been withdrawn"),
            ("issuer", "publish a key before signing with it"),
            ("operator", "check from which environment the token comes, and that `jwks_uri` is the "
             "one of its issuer"),
        ),
    ),
    Reason.CLAIMS_MALFORMED: ReasonText(
        "claims",
        "A claim has the wrong type, such as `exp` as a string.",
        (("issuer", "issue the claim that the detail names as RFC 7519 has it"),),
    ),
    Reason.CLAIM_MISSING: ReasonText(
        "claims",
        "`sub`, `exp` or a claim that the [profile](profiles.md) or `required_claims` asks for is "
        "absent.",
        (
            ("issuer", "add the claim that the detail names to access tokens"),
            ("operator", "another `profile`, or `required_claims`, if these tokens never have it"),
        ),
    ),
    Reason.ISSUER_MISMATCH: ReasonText(
        "issuer",
        "`iss` equals no configured `issuer`, to the letter: internal against public URL, or a "
        "trailing slash; the log names both, and what to write where they are nearly alike. Or the "
        "rule takes tokens of other `issuers`; another token is needed, so this is no 403.",
        (
            ("caller", "get the token from the issuer that this service trusts"),
            ("operator", "write `issuers.NAME.issuer` exactly as the token has it"),
        ),
    ),
    Reason.AUDIENCE_MISMATCH: ReasonText(
        "audience",
        "`aud` names none of the issuer's `audiences`, or none of those that the rule asks for "
        "besides; the log says what it names, which of the two it is, and how tokens of that "
        "[profile](profiles.md) come by another.",
        (
            ("caller", "ask the issuer for a token for this service"),
            ("issuer", "add this service to the client's audiences; with Keycloak, by an audience "
             "mapper"),
            ("operator", "list the audience under `issuers.NAME.audiences` if tokens for it are "
             "meant for this service, too"),
        ),
    ),
    Reason.IDENTITY_TOO_LARGE: ReasonText(
        "claims",
        "The token is good, but the headers made of it would exceed `inbound.identity.max_size`; "
        "the log says by how much ([identity](identity.md)).",
        (
            ("issuer", "put fewer roles into the token"),
            ("operator", "choose fewer claims, or raise the bound and that of the app's server"),
        ),
    ),
    # --- the rules ---
    Reason.NO_RULE: ReasonText(
        "rule",
        "No rule's path and method match; `allow: anyone` matches to the letter.",
        (
            ("caller", "check path and method"),
            ("operator", "add a rule if the app is meant to get such requests"),
        ),
    ),
    Reason.SCOPE_MISSING: ReasonText(
        "rights",
        "The token lacks a scope that the rule requires; the challenge and the log name them.",
        (
            ("caller", "ask the issuer for a token with the scope"),
            ("issuer", "allow the client to have it"),
            ("operator", "`scopes_from` decides where scopes are looked for"),
        ),
    ),
    Reason.ROLE_MISSING: ReasonText(
        "rights",
        "The log names the roles required and held, with `client_roles` also of which client.",
        (
            ("issuer", "give the role to the caller, and have it put into access tokens"),
            ("operator", "[`profile`](profiles.md) and `roles_from` decide where roles are looked "
             "for"),
        ),
    ),
    Reason.CLAIM_CONDITION: ReasonText(
        "rights",
        "The rule's `require.claims` ask for something else, or for the name that stands in the "
        "path; the log says for what, not what the token has ([rules](rules.md)).",
        (
            ("caller", "call what belongs to the token's subject"),
            ("issuer", "put the claim into access tokens"),
            ("operator", "look at the rule's `require.claims`"),
        ),
    ),
    Reason.AUTHENTICATION_INSUFFICIENT: ReasonText(
        "rights",
        "The token's `acr` is none of the rule's, or `auth_time` is longer ago than "
        "`max_auth_age`; the challenge says what to ask the issuer for (RFC 9470).",
        (
            ("caller", "log in again, with the `acr_values` or `max_age` of the challenge"),
            ("issuer", "put `acr` and `auth_time` into access tokens"),
        ),
    ),
    Reason.ACTOR_REFUSED: ReasonText(
        "rights",
        "`act` in the token (RFC 8693) names somebody who is not in the rule's `actor`, or nobody "
        "where one is asked for.",
        (
            ("caller", "use a token of its own, or one exchanged by a service that the rule takes"),
            ("operator", "list the service under the rule's `actor`"),
        ),
    ),
    # --- the transaction token ---
    Reason.TRANSACTION_TOKEN_REPEATED: ReasonText(
        "transaction",
        "`Txn-Token` came twice, in whatever spelling, or is a list: the request may have one "
        "([transaction tokens](transaction-tokens.md)).",
        (("caller", "send one `Txn-Token`, as it was received"),),
    ),
    Reason.TRANSACTION_TOKEN_MISSING: ReasonText(
        "transaction",
        "`inbound.transaction_tokens.require` is set, and the request came with an access token "
        "alone.",
        (
            ("caller", "pass on the `Txn-Token` that it was called with, or have its trust "
             "domain's token service issue one"),
            ("operator", "`require: false` takes requests without one, too"),
        ),
    ),
    Reason.TRANSACTION_TOKEN_INVALID: ReasonText(
        "transaction",
        "What came as `Txn-Token` is not a transaction token of this trust domain; the log says "
        "why, in the words of the reason that an access token would be refused for.",
        (
            ("caller", "send the transaction token, unmodified, and not an access token"),
            ("issuer", "issue it with the claims of the draft, for this trust domain"),
            ("operator", "compare the token with the issuer that `inbound.transaction_tokens` "
             "names: its keys, `audiences` and `algorithms`"),
        ),
    ),
    Reason.TRANSACTION_TOKEN_EXPIRED: ReasonText(
        "transaction",
        "`exp` of the transaction token has passed, with the issuer's `leeway`. It is meant to "
        "live as long as its transaction and no longer.",
        (
            ("caller", "call while the transaction goes on; a new transaction gets a token of its "
             "own"),
            ("issuer", "issue transaction tokens for as long as the longest transaction takes"),
        ),
    ),
    # --- attribution of an outbound call ---
    Reason.ATTRIBUTION_MISSING: ReasonText(
        "evidence",
        "The call carries no handle: see [attribution](attribution.md).",
        (
            ("app", "start it with the carrier (`sidecar carrier env python`), or relay "
             "`Authorization` itself"),
            ("operator", "`without_context: anonymous` lets calls out that belong to no request"),
        ),
    ),
    Reason.ATTRIBUTION_DEAD: ReasonText(
        "entry",
        "The request that caused the call had ended, or its caller had left.",
        (
            ("app", "finish calls before answering the request that needs them"),
            ("operator", "`linger` of the rule gives its requests time after their response"),
        ),
    ),
    Reason.ATTRIBUTION_UNKNOWN: ReasonText(
        "evidence",
        "The handle is not of this process: from before a restart, from another pod, or ended long "
        "ago.",
        (("app", "keep no request's context beyond the request, in no cache and no queue"),),
    ),
    Reason.ATTRIBUTION_AMBIGUOUS: ReasonText(
        "evidence",
        "The call names two requests, or what it carries is no handle.",
        (("app", "look for headers that are copied from more than one request into the call"),),
    ),
    Reason.ATTRIBUTION_ASSURANCE: ReasonText(
        "evidence",
        "The evidence is weaker than `min_assurance`.",
        (
            ("app", "start it with the carrier, or with its strict grade"),
            ("operator", "lower `min_assurance` of the destination, after reading what "
             "[attribution](attribution.md) says that risks"),
        ),
    ),
    Reason.ATTRIBUTION_MAX_AGE: ReasonText(
        "entry",
        "The request is older than `attribution.max_age`, or than its rule's.",
        (
            ("app", "call sooner, or answer the request and do long work without it"),
            ("operator", "`max_age` of the rule, for requests that are meant to take long"),
        ),
    ),
    Reason.ATTRIBUTION_CALL_LIMIT: ReasonText(
        "entry",
        "The request made `attribution.max_calls` calls.",
        (
            ("app", "look for a loop of calls or retries"),
            ("operator", "raise `attribution.max_calls` if requests are meant to make that many"),
        ),
    ),
    Reason.ANONYMOUS_ORIGIN: ReasonText(
        "entry",
        "The request that caused the call had no token, so the call has no identity either.",
        (
            ("caller", "send a token with the request that needs the call"),
            ("operator", "`anonymous_origin: anonymous` lets such calls out, without a token"),
        ),
    ),
    Reason.FOREIGN_CREDENTIAL: ReasonText(
        "credential",
        "The app sent an `Authorization` that is no live request's token.",
        (
            ("app", "send none: the sidecar attaches the caller's"),
            ("operator", "`app_credentials: keep` lets the app's own credential pass"),
        ),
    ),
    Reason.TARGET_FORBIDDEN: ReasonText(
        "target",
        "Through the forward proxy: an address of this pod, link-local or of a metadata service, "
        "or a `CONNECT` to a port that is not in `outbound.connect_ports`.",
        (
            ("app", "call this pod directly, not through the proxy (`no_proxy=localhost`)"),
            ("operator", "`outbound.connect_ports` lists further ports"),
        ),
    ),
    Reason.DESTINATION_UNLISTED: ReasonText(
        "target",
        "Through the forward proxy, with `outbound.unlisted: refuse`: no destination has this "
        "name, host or upstream.",
        (("operator", "list it under `outbound.destinations`, or its name under `hosts`"),),
    ),
    Reason.PEER_REFUSED: ReasonText(
        "message",
        "An outbound listener was called from outside this pod.",
        (("caller", "go through a sidecar of your own"),),
    ),
    # --- the other side ---
    Reason.UPSTREAM_UNREACHABLE: ReasonText(
        "forward",
        "No connection to the app or destination. With `https://`, also a handshake that failed; "
        "the detail says why ([TLS](tls.md)).",
        (
            ("peer", "be up, and listen at the address that the detail names"),
            ("operator", "check the address, and the certificate's authority and name"),
        ),
    ),
    Reason.UPSTREAM_RESET: ReasonText(
        "forward",
        "It closed the connection before its answer was complete, or behind TLS without saying so. "
        "Where a kept connection is closed before any answer, GET, HEAD, OPTIONS, PUT and DELETE "
        "are sent once more; other methods are not.",
        (
            ("peer", "look in its log for a worker that ended or was killed"),
            ("operator", "keep `limits.upstream_idle_timeout` under the server's own"),
        ),
    ),
    Reason.UPSTREAM_MALFORMED: ReasonText(
        "forward",
        "Its answer was not HTTP that can be passed on.",
        (("peer", "answer in HTTP/1.1 as RFC 9112 has it; the detail names what is not"),),
    ),
    Reason.UPSTREAM_TIMEOUT: ReasonText(
        "forward",
        "No connection within `limits.connect_timeout`, or no answer within "
        "`limits.response_timeout`, to the whole request or to `Expect: 100-continue`.",
        (
            ("peer", "look for what it waits for"),
            ("operator", "raise the timeout if answers are meant to take that long"),
        ),
    ),
    Reason.DEADLINE_EXCEEDED: ReasonText(
        "forward",
        "What the request was given in all is over: `limits.total_timeout`, or what its caller "
        "said, and for a call of the app what is left of the request that caused it. Nothing is "
        "sent where next to nothing is left ([deadlines](deadlines.md)).",
        (
            ("peer", "look for what it waits for"),
            ("caller", "give it more time"),
            ("operator", "raise `limits.total_timeout` if answers are meant to take that long"),
        ),
    ),
    # --- ours or the issuer's ---
    Reason.KEYS_UNAVAILABLE: ReasonText(
        "signature",
        "The issuer's key set could not be loaded, or not confirmed for `stale_for`; `sidecar "
        "status` says why ([outages](outages.md)). Never acceptance.",
        (
            ("issuer", "serve the key set"),
            ("operator", "check that the issuer can be reached from this pod; `keys_cache` keeps a "
             "copy for a start while it is down"),
        ),
    ),
    Reason.INTROSPECTION_UNAVAILABLE: ReasonText(
        "signature",
        "The introspection endpoint gave no usable answer, or too many tokens are asked about at "
        "once; the detail says which ([introspection](introspection.md)). Never acceptance.",
        (
            ("issuer", "answer introspection requests"),
            ("operator", "check URL, client and secret; `max_rate` and `max_concurrent` bound the "
             "questions"),
        ),
    ),
    Reason.EXCHANGE_UNAVAILABLE: ReasonText(
        "obtain",
        "The destination gets a token of its own (`token: exchange`, `client_credentials`, "
        "`jwt_bearer` or `file`), none is held that is still good, and none could be had: the "
        "token endpoint does not answer, or too often did not, too many wait for it, or the file "
        "has none; the detail says which ([outages.md](outages.md)). A token that has ended is "
        "never sent.",
        (
            ("issuer", "answer token requests"),
            ("app", "call again after `Retry-After`"),
            ("operator", "look at `sidecar_token_endpoint_requests_total` and "
             "`sidecar_circuit_state`; `max_concurrent` bounds the requests"),
        ),
    ),
    Reason.EXCHANGE_MISCONFIGURED: ReasonText(
        "obtain",
        "The token endpoint does not accept who asks, or for what: `invalid_client`, "
        "`unauthorized_client`, `invalid_target`, `invalid_scope` and their kin. Asking again does "
        "not mend that, so it is asked anew only now and then; the log says it once, loudly.",
        (
            ("operator", "correct `clients` (id, secret or key) or the destination's "
             "`token_request` (audience, resource, scopes); the detail has the error's code"),
            ("issuer", "permit this client the grant, the audience and the scopes"),
        ),
    ),
    Reason.EXCHANGE_REFUSED: ReasonText(
        "obtain",
        "The token endpoint gives no token for this caller: `invalid_grant` or `access_denied`. "
        "The caller's token may have been revoked, its session may have ended, or the caller may "
        "not use the destination.",
        (
            ("caller", "sign in again"),
            ("issuer", "see why the exchange was refused for this subject"),
        ),
    ),
    Reason.EXCHANGE_INVALID: ReasonText(
        "obtain",
        "The token endpoint answered with a token that is not what was asked for: another type, "
        "audience or subject, no end, or one that is over. It is not used.",
        (
            ("operator", "say what is expected: `accepted_audiences`, `subject_may_change`, "
             "`requested_type`"),
            ("issuer", "issue the audience that was asked for, for the same subject"),
        ),
    ),
    Reason.LEDGER_FULL: ReasonText(
        "admission",
        "`attribution.ledger_capacity` requests are in flight; a quarter as many may be anonymous.",
        (
            ("caller", _RESEND),
            ("app", "look for requests that never end"),
            ("operator", "raise `attribution.ledger_capacity`"),
        ),
    ),
    Reason.LEDGER_SHARE: ReasonText(
        "admission",
        "This caller alone has a quarter of the ledger in flight.",
        (
            ("caller", "keep fewer requests open at once"),
            ("operator", "raise `attribution.ledger_capacity`"),
        ),
    ),
    Reason.ADMISSION_TIMEOUT: ReasonText(
        "admission",
        "With `attribution.exclusive`, other callers' requests were in the app for longer than "
        "`exclusive_wait`.",
        (
            ("caller", _RESEND),
            ("operator", "load the carrier, which makes turns unnecessary; or raise "
             "`exclusive_wait`, or `exclusive: false` for rules whose requests call nobody"),
        ),
    ),
    Reason.ADMISSION_FULL: ReasonText(
        "admission",
        "With `attribution.exclusive`, `exclusive_queue` requests wait already.",
        (
            ("caller", _RESEND),
            ("operator", "load the carrier, which makes turns unnecessary"),
        ),
    ),
    Reason.OVERLOADED: ReasonText(
        "forward",
        "`limits.max_connections` or `limits.max_upstream_connections` was reached.",
        (
            ("caller", _RESEND),
            ("peer", "answer faster, so that connections become free"),
            ("operator", "raise the limit, or run more pods"),
        ),
    ),
    Reason.DESTINATION_UNAVAILABLE: ReasonText(
        "forward",
        "Calls to the destination failed one after the other (`circuit`), and nothing is sent "
        "until one is tried again; the detail and `Retry-After` say when "
        "([deadlines](deadlines.md)).",
        (
            ("peer", "look at why it fails: `sidecar explain --last` has the calls before"),
            ("app", "do without its answer for so long"),
        ),
    ),
    Reason.DESTINATION_BUSY: ReasonText(
        "forward",
        "As many calls to the destination as `limits.max_concurrent` allows are under way.",
        (
            ("peer", "answer faster"),
            ("app", _RESEND),
            ("operator", "raise `limits.max_concurrent`"),
        ),
    ),
    Reason.DRAINING: ReasonText(
        "message",
        "The sidecar is stopping.",
        (("caller", "send the request again, to another pod"),),
    ),
}  # fmt: skip

_FAULTS: Final[Mapping[Fault, str]] = {
    "caller": "the caller",
    "app": "the app",
    "peer": "the other side",
    "sidecar": "the sidecar's limits",
    "issuer": "the issuer",
}
_LINK: Final = re.compile(r"\[([^\]]+)\]\(([^)]+)\)")


def plain(text: str) -> str:
    """Return *text* for a terminal: links become paths from the root of the tree."""

    def path(match: re.Match[str]) -> str:
        shown, page = match[1].strip("`"), f"docs/{match[2]}"
        return (
            page
            if match[2].removesuffix(".md") == shown.lower().removesuffix(".md")
            else (f"{shown} ({page})")
        )

    return _LINK.sub(path, text)


def remedies(reason: Reason) -> tuple[str, ...]:
    """Return one sentence for each who can do something, those who must first."""
    return tuple(f"{WHO[who]}: {plain(how)}" for who, how in TEXTS[reason].remedies)


_PAGE_HEAD: Final = """\
# Reasons

<!-- Made by `sidecar reasons --markdown`; a test holds this page to what that prints. -->

Every answer that the sidecar writes itself has one of these codes: in `x-sidecar-reason`, in the problem document's `type`
(`urn:jwt-sidecar:reason:<code>`), in the label of `sidecar_rejections_total`, and in the access log, where `decision` is the
id that the caller was shown and `detail` says more than callers are told. `sidecar explain ID` shows that decision step by step
([explain](explain.md)), `sidecar reasons CODE` prints one row of this page. Codes are added, never renamed.

*Lies with*: whose side the cause is on: `caller`, `app` (ours), `peer` (the app inbound, the destination outbound), `issuer`, or
`sidecar` (its limits). *Step*: the step of the decision that it ends.

| Code | Status | Title | Lies with | Step | Meaning | Who can fix it, and how |
| --- | --- | --- | --- | --- | --- | --- |
"""  # noqa: E501 - a page


def markdown() -> str:
    """Return ``docs/reasons.md``."""
    rows = "".join(_row(reason) for reason in Reason if reason not in RESERVED)
    reserved = ", ".join(f"`{reason.code}`" for reason in Reason if reason in RESERVED)
    return f"{_PAGE_HEAD}{rows}\nReserved for later versions: {reserved}.\n"


def _row(reason: Reason) -> str:
    text, facts = TEXTS[reason], reason.facts
    how = "; ".join(f"*{WHO[who]}*: {said}" for who, said in text.remedies)
    cells = (
        f"`{reason.code}`", str(facts.status), facts.title, facts.fault, text.step, text.meaning,
        f"{how}.",
    )  # fmt: skip
    return f"| {' | '.join(cells)} |\n"


def described(reason: Reason) -> Iterator[str]:
    """Yield what a terminal shows of one reason."""
    text, facts = TEXTS[reason], reason.facts
    yield f"{reason.code}: {facts.status} {facts.title}"
    if reason in RESERVED:
        yield "Reserved for a later version: nothing gives this answer yet."
        return
    yield ""
    yield plain(text.meaning)
    yield f"It ends the step `{text.step}` of a decision, and lies with {_FAULTS[facts.fault]}."
    if facts.retry_after_seconds is not None:
        yield f"The answer has `Retry-After: {facts.retry_after_seconds}`."
    yield ""
    yield "Who can fix it, and how:"
    for remedy in remedies(reason):
        yield f"  {remedy}"
