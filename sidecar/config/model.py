"""The configuration as the program uses it: frozen, typed, every default written here once.

Reading files into it, with positions and suggestions, belongs to ``sidecar.config.parser``. A
value whose YAML form carries a unit (``30s``, ``64KiB``) has the unit in its name here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Literal

from sidecar.core.claim_paths import ClaimPath
from sidecar.core.identity import IdentityHeader
from sidecar.core.names import IDENTITY_PREFIX
from sidecar.core.profiles import ProfileName
from sidecar.core.propagation import CompatCarrier
from sidecar.core.signed_identity import IdentityAlgorithm
from sidecar.core.token_request import TokenRequest
from sidecar.core.token_sources import AUTHORIZATION_ONLY, TokenSource

Mode = Literal["enforce", "observe"]
Profile = ProfileName
Assurance = Literal["strict", "standard", "compat"]

ASYMMETRIC_ALGORITHMS = (
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
    "Ed25519", "Ed448",
)  # fmt: skip
"""RFC 7518, section 3.1, RFC 8037 and RFC 9864; the only ones, and the default."""
TRANSACTION_PROFILE = "transaction_token"
"""The profile of an issuer whose tokens are transaction tokens, and no access tokens."""
ClientAuth = Literal[
    "client_secret_basic",
    "client_secret_post",
    "private_key_jwt",
    "client_assertion_file",
    "tls_client_auth",
    "none",
]
"""How a client shows who it is (RFC 6749, 2.3; RFC 7523, 2.2; RFC 8705, 2)."""
ABSENT_TYPE = "absent"
"""Among ``token_types``: the header may have no ``typ``."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a listener binds or a peer listens. *host* is an IP literal or a DNS name."""

    host: str
    port: int
    """0 to 65535; 0 only where we bind, and then the kernel chooses."""

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Origin:
    """Scheme, host and port of an HTTP server, from a URL without path."""

    scheme: Literal["http", "https"]
    host: str
    port: int

    @property
    def address(self) -> Address:
        return Address(self.host, self.port)

    def __str__(self) -> str:
        return f"{self.scheme}://{self.address}"


# --- issuers ---


@dataclass(frozen=True, slots=True)
class JwksFile:
    """A key set on disk (RFC 7517), read again when it changes."""

    path: str


@dataclass(frozen=True, slots=True)
class JwksUri:
    """A key set at a URL, fetched and refreshed."""

    url: str


@dataclass(frozen=True, slots=True)
class Discovery:
    """Provider metadata at a URL that names the key set (OpenID Connect Discovery, RFC 8414)."""

    url: str


@dataclass(frozen=True, slots=True)
class Hygiene:
    """What is worth a warning in tokens that are good."""

    max_lifetime_seconds: float | None = None
    max_size_bytes: int | None = None
    unwanted_claims: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class IntrospectionCache:
    """How long an issuer's answers stand, and how many of its refusals are kept."""

    positive_seconds: float = 60.0
    """Never past ``exp``. Entries and bytes are those of the verified-token cache."""
    negative_seconds: float = 5.0
    max_entries: int = 10_000


@dataclass(frozen=True, slots=True)
class Introspection:
    """Where and how an issuer is asked about tokens (RFC 7662)."""

    url: str | None = None
    """``None``: the provider metadata names it."""
    auth: Literal["client_secret_basic", "client_secret_post", "none"] = "client_secret_basic"
    client_id: str = ""
    client_secret: str = field(default="", repr=False)
    about: Literal["opaque", "jwt", "all"] = "opaque"
    cache: IntrospectionCache = IntrospectionCache()
    timeout_seconds: float = 3.0
    max_concurrent: int = 16
    max_waiting: int = 256
    max_rate: int = 100
    """Questions a second."""


@dataclass(frozen=True, slots=True)
class Issuer:
    """One trusted issuer: whose tokens, for which audiences, under which keys."""

    name: str
    issuer: str
    audiences: tuple[str, ...] | None
    """``None`` means ``any``: legal and warned about."""
    keys: JwksFile | JwksUri | Discovery
    algorithms: tuple[str, ...] = ASYMMETRIC_ALGORITHMS
    profile: Profile = "generic"
    token_types: tuple[str, ...] | None = None
    """Header ``typ``, lower-cased, without ``application/``; ``None``: as the profile says."""
    roles_from: tuple[ClaimPath, ...] | None = None
    scopes_from: tuple[ClaimPath, ...] | None = None
    required_claims: tuple[str, ...] | None = None
    hygiene: Hygiene | None = None
    leeway_seconds: float = 30.0
    max_token_age_seconds: float | None = None
    """Refuse tokens whose ``iat`` is longer ago than this."""
    require_exp: bool = True
    refresh_interval_seconds: float = 300.0
    """Between two fetches of the keys where the answer does not say when to ask again."""
    refresh_min_seconds: float = 60.0
    """Bounds of what the answer may say."""
    refresh_max_seconds: float = 900.0
    stale_for_seconds: float = 86400.0
    """How long keys stay in force that could not be confirmed."""
    startup: Literal["wait", "serve"] = "wait"
    """Whether being ready takes these keys."""
    keys_cache: str | None = None
    """Directory of a copy on disk, for a start while the issuer is down."""
    ca: str | None = None
    """Authorities that vouch for where the keys are; ``None``: those of the system."""
    refresh_cooldown_seconds: float = 10.0
    """Least time between two fetches that unknown ``kid`` values may cause."""
    allow_plaintext: bool = False
    """Permit ``http://`` to something other than a loopback literal."""
    introspection: Introspection | None = None


# --- clients ---


@dataclass(frozen=True, slots=True)
class ClientTls:
    """The certificate that a client shows; read again when it changes."""

    certificate: str
    key: str


@dataclass(frozen=True, slots=True)
class Client:
    """Who this sidecar is to an authorization server when it asks for tokens."""

    name: str
    client_id: str
    issuer: str = ""
    """Name in ``Config.issuers`` whose metadata say where the token endpoint is, or else..."""
    token_endpoint: str = ""
    """...its URL. One of the two is empty."""
    auth: ClientAuth = "client_secret_basic"
    client_secret: str = field(default="", repr=False)
    key: str = ""
    """Path of the private key with which ``private_key_jwt`` signs."""
    algorithm: str = ""
    """Of that signature; empty: the usual one of such a key."""
    key_id: str = ""
    """Its ``kid``; empty: what the key's own JWK says."""
    certificate: str = ""
    """Path of a certificate of that key, for servers that know it by its thumbprint."""
    assertion_audience: str = "token_endpoint"
    """``token_endpoint`` and ``issuer`` stand for their URLs; anything else for itself."""
    assertion_file: str = ""
    """Path of an assertion that somebody else signs and renews."""
    tls: ClientTls | None = None
    ca: str | None = None
    """Authorities that vouch for the endpoint; ``None``: the issuer's, or those of the system."""
    allow_plaintext: bool = False
    """Permit ``http://`` to something other than a loopback literal; so does that of the issuer."""
    timeout_seconds: float = 3.0
    """Of one attempt, and of the wait for a turn before it."""
    retries: int = 2
    max_concurrent: int = 16
    max_waiting: int = 256


# --- TLS and forwarding fields ---


@dataclass(frozen=True, slots=True)
class ListenerTls:
    """Files with which a listener speaks TLS; read again when they change."""

    certificate: str
    key: str
    client_ca: str | None = None
    client_certificate: Literal["off", "optional", "required"] = "off"
    """What a caller must show. ``off`` exactly if there is no ``client_ca``."""


@dataclass(frozen=True, slots=True)
class DestinationTls:
    """With what a destination is verified, and what it is shown."""

    ca: str | None = None
    """``None``: the authorities of the system."""
    server_name: str | None = None
    """``None``: the host of the URL."""
    certificate: str | None = None
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Forwarded:
    """What the app is told of the way that a request took."""

    trust: tuple[str, ...] = ()
    """Networks whose proxies are believed; everybody else's fields are removed."""
    set: Literal["x-forwarded", "forwarded", "both", "off"] = "x-forwarded"


@dataclass(frozen=True, slots=True)
class Cors:
    """What browsers are told by our own answers, and what becomes of their preflights."""

    preflight: Literal["enforce", "pass"] = "enforce"
    allow_origins: tuple[str, ...] = ()
    allow_credentials: bool = False
    expose_headers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ResourceMetadata:
    """What the service says of itself to OAuth clients (RFC 9728)."""

    resource: str
    authorization_servers: tuple[str, ...] | None = None
    """``None``: the issuers."""
    scopes_supported: tuple[str, ...] | None = None
    """``None``: those that rules require."""


# --- inbound ---


class Allow(Enum):
    """What a rule asks of a caller who needs no particular right."""

    ANYONE = "anyone"
    OPTIONAL_TOKEN = "optional_token"  # noqa: S105 - a word
    """A token that is there must be good."""
    AUTHENTICATED = "authenticated"


@dataclass(frozen=True, slots=True)
class Demand:
    """Names that must be present: all of them, or at least one."""

    names: tuple[str, ...]
    match: Literal["all", "any"] = "all"


Scalar = str | int | bool


@dataclass(frozen=True, slots=True)
class ClaimCondition:
    """What one claim must say."""

    claim: ClaimPath
    test: Literal["one_of", "contains", "segment"]
    values: tuple[Scalar, ...]
    """Of ``segment`` its name, alone."""
    match: Literal["all", "any"] = "all"
    """How many ``contains`` asks for."""


@dataclass(frozen=True, slots=True)
class Require:
    """Rights a rule requires; ``None`` where it does not ask."""

    scopes: Demand | None = None
    roles: Demand | None = None
    issuers: tuple[str, ...] | None = None
    """Names in ``Config.issuers``; one of them is enough."""
    audiences: tuple[str, ...] | None = None
    """One of them is enough, beside what the issuer's own list asks for."""
    client_roles: tuple[tuple[str, Demand], ...] = ()
    """Roles apart by client: what each of these clients must have given."""
    claims: tuple[ClaimCondition, ...] = ()
    actors: tuple[str, ...] | None = None
    """Who may use a token for its subject; empty: nobody else. ``None``: whoever does."""
    acr: tuple[str, ...] = ()
    """How the subject must have been authenticated: one of these, the preferred first."""
    max_auth_age_seconds: int | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """First match wins. *name* is the metric label."""

    name: str
    paths: tuple[str, ...]
    access: Allow | Require
    methods: tuple[str, ...] | None = None
    """``None``: every method."""
    mode: Mode | None = None
    """``None``: as the listener says."""
    max_age_seconds: float | None = None
    """``None``: as ``Attribution`` says."""
    linger_seconds: float = 0.0
    """How long after its response a request may still cause calls."""
    exclusive: bool = True
    """Whether its requests take turns, where requests do."""
    hosts: tuple[str, ...] | None = None
    """Lower-case names, ``*.`` for one label; ``None``: every host."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one HTTP listener and of the connections behind it."""

    max_head_bytes: int = 32 * 1024
    """Request line and header section together; over it 431 (target alone: 414)."""
    max_fields: int = 100
    max_target_bytes: int = 8 * 1024
    max_body_bytes: int | None = None
    """``None``: unbounded. Bodies stream, so length costs no memory."""
    max_connections: int = 10_000
    max_upstream_connections: int = 1_024
    header_timeout_seconds: float = 10.0
    """First byte of a head to its end."""
    idle_timeout_seconds: float = 60.0
    """Kept-alive downstream connection without a request."""
    body_timeout_seconds: float = 30.0
    """Longest silence inside a body, in either direction."""
    min_body_bytes_per_second: int = 240
    """Of a request, in the long run and until its answer begins; 0 is no minimum."""
    connect_timeout_seconds: float = 3.0
    response_timeout_seconds: float = 60.0
    """Request sent to response head received."""
    upstream_idle_timeout_seconds: float = 4.0
    """Pooled upstream connection; under the 5 s at which many servers close theirs."""
    tunnel_idle_timeout_seconds: float = 3600.0
    """Upgraded connection, or one made by ``CONNECT``, on which nothing moves either way."""
    total_timeout_seconds: float | None = None
    """Head of a request to the end of its answer; ``None``: as long as the others allow."""
    connect_retries: int = 0


@dataclass(frozen=True, slots=True)
class DestinationLimits(Limits):
    """Bounds of the listener for one destination and of the connections to it."""

    connect_retries: int = 1
    max_concurrent: int | None = None
    """Calls under way at once; ``None``: as many as there are connections."""


@dataclass(frozen=True, slots=True)
class CircuitBreaker:
    """When a destination is left alone."""

    failures: int = 5
    """In a row."""
    pause_seconds: float = 1.0
    longest_pause_seconds: float = 30.0
    answers: Literal["gateway_errors", "server_errors", "none"] = "gateway_errors"
    """Which ones are failures."""
    fair_seconds: float = 1.0
    """What the destination must have had of a call that was cut by its own deadline."""


@dataclass(frozen=True, slots=True)
class SignedHeader:
    """Who calls, signed by this sidecar for its own app."""

    audience: str
    header: str = f"{IDENTITY_PREFIX}assertion"
    """Lower-case."""
    issuer: str = "jwt-sidecar"
    lifetime_seconds: float = 60.0
    """Never past the token's own end."""
    claims: tuple[ClaimPath, ...] = ()
    """Of the token, where they stand in it."""
    key: str | None = None
    """Path of a private key; ``None``: one is generated at the start."""
    algorithm: IdentityAlgorithm = "ES256"
    """Of a key that is generated."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What the app is told of the caller."""

    prefix: str = IDENTITY_PREFIX
    """Of the headers that are always there, and reserved as a whole."""
    headers: tuple[IdentityHeader, ...] = ()
    signed: SignedHeader | None = None
    max_bytes: int = 8 * 1024
    """Of all of it; a token that needs more is refused."""


@dataclass(frozen=True, slots=True)
class TransactionTokens:
    """What is demanded of ``Txn-Token``, and what the app is told of it."""

    issuer: str
    """Name in ``Config.issuers`` of one with the profile ``transaction_token``."""
    require: bool = False
    """Whether every request with an access token must have one."""
    subject: Literal["any", "same"] = "any"
    """Of whom it may be: of anybody, or of the access token's subject alone."""
    headers: tuple[IdentityHeader, ...] = ()
    """Besides the one with ``txn``."""


@dataclass(frozen=True, slots=True)
class Inbound:
    """The listener in front of the app."""

    listen: Address | None
    """``None``: nobody calls this pod; its app only calls others."""
    app: Origin
    rules: tuple[Rule, ...]
    mode: Mode = "enforce"
    require_fenced: bool = False
    """Be ready only while the app answers nowhere but to us."""
    token_to_app: Literal["withhold", "placeholder", "forward"] = "withhold"  # noqa: S105 - a word
    token_sources: tuple[TokenSource, ...] = AUTHORIZATION_ONLY
    """Where in a request its token may be."""
    max_token_bytes: int = 16 * 1024
    allow_encoded_slash: bool = False
    allow_semicolon: bool = False
    reuse_after_content: bool = False
    """Keep a connection to the app after a request with content. Only for an app whose server
    reads or discards all content of every request: others take the rest of it for a request."""
    limits: Limits = field(default_factory=Limits)
    tls: ListenerTls | None = None
    """``None``: plain HTTP."""
    forwarded: Forwarded | None = None
    """``None``: such fields pass as they came."""
    via: str | None = None
    """Name under which we add ourselves to ``Via``; ``None``: we do not."""
    identity: Identity = Identity()
    transaction_tokens: TransactionTokens | None = None
    """``None``: none is looked at, and each is removed."""
    cors: Cors | None = None
    resource_metadata: ResourceMetadata | None = None
    server_timing: bool = False
    deadline_headers: tuple[str, ...] = ()
    """Where callers say how long they wait; lower-case."""


# --- attribution and outbound ---


@dataclass(frozen=True, slots=True)
class Attribution:
    """How calls of the app find the request that caused them."""

    carrier: Literal["auto", "python", "opentelemetry", "none"] = "auto"
    compat_carriers: tuple[CompatCarrier, ...] = ("baggage", "tracestate", "request_id")
    """Where handles go besides the dedicated header, if some destination may use them."""
    exclusive: Literal["off", "credential", "request"] = "off"
    """Which requests may be in the app at once: all, those with one token, or a single one."""
    exclusive_wait_seconds: float = 5.0
    """Longest wait for a turn; over it 503."""
    exclusive_quiet_seconds: float = 0.05
    """Pause between the turns of two callers."""
    exclusive_queue: int = 1_000
    """Requests that may wait; one caller's at most a quarter."""
    max_age_seconds: float = 60.0
    max_calls: int = 1_000
    """Outbound attempts that one inbound request may cause."""
    ledger_capacity: int = 10_000


TokenKind = Literal["relay", "exchange", "jwt_bearer", "client_credentials", "file", "none"]
"""The first three stand for the caller, the next two for the service itself."""


@dataclass(frozen=True, slots=True)
class DestinationRule:
    """A part of a destination that gets another token than the rest; first match wins."""

    paths: tuple[str, ...]
    token: TokenKind
    methods: tuple[str, ...] | None = None
    """``None``: every method."""
    token_request: TokenRequest | None = None
    """There exactly if *token* is something that is asked for."""
    token_file: str | None = None


@dataclass(frozen=True, slots=True)
class Destination:
    """A named place the app may call, with its token rule."""

    name: str
    listen: Address
    upstream: Origin
    hosts: tuple[str, ...] = ()
    """Further values of ``Host`` that this listener accepts, besides localhost and loopback."""
    token: TokenKind = "relay"  # noqa: S105 - a word, no secret
    token_request: TokenRequest | None = None
    """With what *token* and *without_context* ask for."""
    token_file: str | None = None
    audiences: tuple[str, ...] = ()
    """What the destination takes as ``aud``; none: nobody said."""
    rules: tuple[DestinationRule, ...] = ()
    min_assurance: Assurance = "strict"
    without_context: Literal["refuse", "anonymous", "client_credentials", "file"] = "refuse"
    anonymous_origin: Literal["refuse", "anonymous"] = "refuse"
    transaction_token: Literal["none", "pass", "request"] = "none"  # noqa: S105 - a word
    """Whether calls have the transaction token of the request that caused them, and whether one is
    asked for if it had none."""
    transaction_request: TokenRequest | None = None
    """With what; there exactly if one is asked for."""
    app_credentials: Literal["refuse", "keep"] = "refuse"
    mode: Mode | None = None
    """``None``: as ``Outbound`` says."""
    allow_plaintext: bool = False
    replay_bytes: int = 64 * 1024
    limits: DestinationLimits = field(default_factory=DestinationLimits)
    circuit: CircuitBreaker | None = None
    """``None``: however often it fails, it is called."""
    deadline_header: str | None = None
    """What tells it how much time is left; lower-case."""
    tls: DestinationTls | None = None
    """``None``: the defaults of TLS, where *upstream* is https."""

    @property
    def own_audiences(self) -> frozenset[str]:
        """What a token may have as ``aud`` to be for it: what was said, or else its names."""
        names = self.name, self.upstream.host, *self.hosts
        return frozenset(self.audiences or names)

    @property
    def tokens(self) -> tuple[TokenKind, ...]:
        """What its calls get, those under a rule of their own first."""
        return (*(rule.token for rule in self.rules), self.token)

    @property
    def attaches(self) -> bool:
        """Whether some call gets a token of us, so that whose call it is must be found."""
        return self.carries_transaction or any(
            token != "none"  # noqa: S105 - a word
            for token in self.tokens
        )

    @property
    def carries_transaction(self) -> bool:
        """Whether calls have a transaction token."""
        return self.transaction_token != "none"  # noqa: S105 - a word


@dataclass(frozen=True, slots=True)
class Outbound:
    """All destinations by name."""

    destinations: Mapping[str, Destination] = field(default_factory=dict)
    mode: Mode = "enforce"
    """``observe`` attaches nothing, refuses nothing and counts what it would have done."""
    proxy: Address | None = None
    """Where the forward proxy listens; ``None``: there is none."""
    unlisted: Literal["forward", "refuse"] = "forward"
    connect_ports: tuple[int, ...] = (443,)
    """Where ``CONNECT`` may go."""
    proxy_limits: Limits = field(default_factory=Limits)
    via: str | None = None
    """As ``Inbound.via``, for calls of the app."""


# --- the rest ---


@dataclass(frozen=True, slots=True)
class AppProbe:
    """One question that the admin port asks the app on behalf of whoever probes it."""

    port: int
    path: str = "/"
    scheme: Literal["http", "https"] = "http"
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    tcp: bool = False
    """Only connect; *path*, *scheme* and *headers* mean nothing then."""
    timeout_seconds: float = 1.0


@dataclass(frozen=True, slots=True)
class Admin:
    """What the operator can ask the running sidecar, and where."""

    listen: Address
    """Metrics, probes and public keys, nothing else."""
    control: str | None = None
    """Path of the control socket, for this user and root alone; ``None``: there is none."""
    app_probes: tuple[AppProbe, ...] = ()


@dataclass(frozen=True, slots=True)
class Decisions:
    """Which decisions are recorded to be decided again, where, and what is hidden in them."""

    what: Literal["all", "refusals", "off"] = "all"
    file: str | None = None
    """``None``: standard output."""
    max_size_bytes: int = 64 * 1024 * 1024
    """Of one file; then it is rotated."""
    keep: int = 3
    """Older files that are kept."""
    claims: tuple[ClaimPath, ...] = ()
    """Recorded besides what conditions of rules ask for."""
    redact: tuple[ClaimPath, ...] = ()
    """Recorded as a hash."""
    redact_key: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Log:
    """What is written to standard output (access) and standard error (everything else)."""

    access: Literal["all", "refusals", "off"] = "all"
    level: Literal["debug", "info", "warning", "error"] = "info"
    decisions: Decisions | None = None
    """``None``: none are recorded."""


@dataclass(frozen=True, slots=True)
class Explain:
    """Which decisions are kept for ``sidecar explain``, and what of them is shown."""

    refusals: int = 1_024
    permits: int = 256
    redact: tuple[str, ...] = ()
    """Claims that are not shown."""
    decision_ids: Literal["refusals", "all"] = "refusals"
    """Which answers have the id of their decision."""


@dataclass(frozen=True, slots=True)
class TokenCache:
    """Bound of the verified-token cache."""

    max_entries: int = 10_000
    max_bytes: int = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class ObtainedTokens:
    """How many tokens of destinations are kept, and for how long."""

    max_entries: int = 10_000
    max_bytes: int = 64 * 1024 * 1024
    expiry_margin_seconds: float = 30.0
    """Not used for so long before their end, a tenth of their lifetime at most."""
    refresh_ahead: bool = True
    """Whether one in use is replaced in the background before it ends."""
    negative_seconds: float = 5.0
    """How long a refusal stands."""


@dataclass(frozen=True, slots=True)
class RedisServer:
    """Where a Redis listens: at a socket's *path*, or else at *host* and *port*."""

    host: str = ""
    port: int = 6379
    path: str = ""
    database: int = 0
    is_tls: bool = False


@dataclass(frozen=True, slots=True)
class SharingKey:
    """What shared tokens are encrypted with. *id* stands beside what was, so that keys rotate."""

    id: str
    secret: bytes = field(repr=False)
    """32 octets."""


@dataclass(frozen=True, slots=True)
class SharedTokens:
    """Where obtained tokens are shared with other pods, and how they are kept from others."""

    redis: RedisServer
    keys: tuple[SharingKey, ...]
    """The first writes, all read."""
    username: str = ""
    password: str = field(default="", repr=False)
    ca: str | None = None
    """``None``: the authorities of the system, where TLS is spoken."""
    prefix: str = "jwt-sidecar"
    timeout_seconds: float = 0.25


@dataclass(frozen=True, slots=True)
class Config:
    """One immutable snapshot of everything the operator decided."""

    issuers: Mapping[str, Issuer]
    inbound: Inbound
    admin: Admin
    clients: Mapping[str, Client] = field(default_factory=dict)
    """Who asks for tokens of destinations, by name."""
    outbound: Outbound = field(default_factory=Outbound)
    attribution: Attribution = field(default_factory=Attribution)
    log: Log = field(default_factory=Log)
    token_cache: TokenCache = field(default_factory=TokenCache)
    obtained_tokens: ObtainedTokens = field(default_factory=ObtainedTokens)
    shared_tokens: SharedTokens | None = None
    """``None``: each pod obtains its own."""
    explain: Explain = field(default_factory=Explain)
    drain_timeout_seconds: float = 25.0
    """SIGTERM to the last forced close; under Kubernetes' default 30 s."""

    @property
    def access_issuers(self) -> Mapping[str, Issuer]:
        """Those whose tokens are access tokens."""
        return {
            name: issuer
            for name, issuer in self.issuers.items()
            if issuer.profile != TRANSACTION_PROFILE
        }

    @property
    def transaction_issuer(self) -> Issuer | None:
        """The one whose tokens are transaction tokens, where they are looked at."""
        tokens = self.inbound.transaction_tokens
        return None if tokens is None else self.issuers.get(tokens.issuer)
