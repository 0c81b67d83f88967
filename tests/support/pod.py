"""One pod in this process: identity provider, sidecar, app and a destination, on real sockets."""

import json
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sidecar.assembly import Bound, Sidecar
from sidecar.config.model import (
    Address,
    Admin,
    Allow,
    Attribution,
    Client,
    Config,
    Demand,
    Destination,
    Explain,
    Inbound,
    Introspection,
    Issuer,
    JwksFile,
    Log,
    Outbound,
    Require,
    Rule,
    SharedTokens,
    TransactionTokens,
)
from sidecar.testbed.token_mint import TokenMint
from sidecar.wiring import Wiring
from tests.support.http import App, Response, fetch

ISSUER = "https://issuer.example"
AUDIENCE = "user-service"
TRUST_DOMAIN = "shop.example"
LOOPBACK = Address("127.0.0.1", 0)
RULES = (
    Rule("health", ("/healthz",), Allow.ANYONE, ("GET",)),
    Rule("open", ("/open/**",), Allow.ANYONE),
    Rule("admin", ("/admin/**",), Require(roles=Demand(("ADMIN",)))),
    Rule("scoped", ("/scoped",), Require(scopes=Demand(("billing.write",)))),
    Rule("watched", ("/watched",), Require(roles=Demand(("ADMIN",))), mode="observe"),
    Rule("users", ("/users/**",), Allow.AUTHENTICATED),
)


@dataclass
class Pod:
    """The pieces a test talks to."""

    mint: TokenMint
    jwks_file: Path
    app: App
    destination: App
    bound: Bound
    sidecar: Sidecar
    wiring: Wiring
    log: list[bytes]
    """Batches of access log lines, complete once the pod has stopped."""

    def publish(self) -> None:
        """Write the mint's current key set to where the sidecar reads it."""
        self.jwks_file.write_text(json.dumps(self.mint.jwks()))

    async def call_out(self, handle: str | None, target: str = "/profiles/x") -> Response:
        """Call the destination as an app with the strict carrier would."""
        fields = [("x-sidecar-carrier", "python/0.1; grade=strict")]
        if handle is not None:
            fields.append(("x-sidecar-context", handle))
        return await fetch(self.bound.outbound["profiles"], target, fields=fields)

    async def metrics(self) -> str:
        """Return the exposition."""
        return (await fetch(self.bound.admin, "/metrics")).body.decode()


@asynccontextmanager
async def pod(
    directory: Path,
    *,
    rules: tuple[Rule, ...] = RULES,
    inbound: Mapping[str, object] | None = None,
    attribution: Attribution | None = None,
    destination: Mapping[str, object] | None = None,
    cooldown_seconds: float = 10.0,
    publish: bool = True,
    mint: TokenMint | None = None,
    other_mint: TokenMint | None = None,
    transactions: TokenMint | None = None,
    introspection: Introspection | None = None,
    automatic: bool = True,
    control: Path | None = None,
    outbound: Mapping[str, object] | None = None,
    refuses_address: Callable[[str], str | None] = lambda _address: None,
    issuer: Mapping[str, object] | None = None,
    wall_clock: Callable[[], float] = time.time,
    explain: Explain | None = None,
    log_keys: Log | None = None,
    admin: Mapping[str, object] | None = None,
    addresses: Sequence[str] | None = None,
    app_ends_too: bool = False,
    clients: Sequence[Client] = (),
    shared_tokens: SharedTokens | None = None,
) -> AsyncIterator[Pod]:
    """Run a pod; *inbound*, *destination*, *outbound* and *issuer* replace fields of the model.

    With *automatic* the app and the destination answer ``ok`` at once. Pods that share a *mint*
    trust the same issuer; *other_mint* is a second one that is trusted too. *introspection* is how
    the first is asked about tokens; *transactions* issues transaction tokens. *addresses* and
    *app_ends_too* are the sidecar's own. *clients* ask for tokens.
    """
    mint = mint or TokenMint(ISSUER, audience=[AUDIENCE], algorithms=("ES256",))
    shop = _issuer("shop", mint, directory, cooldown_seconds, introspection)
    issuers = {"shop": replace(shop, **(issuer or {}))}  # type: ignore[arg-type]
    if other_mint is not None:
        issuers["other"] = _issuer("other", other_mint, directory, cooldown_seconds)
    if transactions is not None:
        issuers["tts"] = transaction_issuer(transactions, directory, cooldown_seconds)
        inbound = {"transaction_tokens": TransactionTokens("tts"), **(inbound or {})}
    jwks_file = directory / "shop.json"
    if not publish:
        jwks_file.unlink()
    app, elsewhere = App(automatic=automatic), App(automatic=automatic)
    async with app.running(), elsewhere.running():
        config = Config(
            issuers=issuers,
            inbound=replace(Inbound(LOOPBACK, app.origin, rules), **(inbound or {})),  # type: ignore[arg-type]
            admin=replace(
                Admin(LOOPBACK, None if control is None else str(control)),
                **(admin or {}),  # type: ignore[arg-type]
            ),
            attribution=attribution or Attribution(),
            clients={client.name: client for client in clients},
            outbound=replace(
                Outbound(
                    {
                        "profiles": replace(
                            Destination("profiles", LOOPBACK, elsewhere.origin),
                            **(destination or {}),  # type: ignore[arg-type]
                        )
                    }
                ),
                **(outbound or {}),  # type: ignore[arg-type]
            ),
            shared_tokens=shared_tokens,
            log=log_keys or Log(level="error"),
            explain=explain or Explain(),
            drain_timeout_seconds=2.0,
        )
        log: list[bytes] = []
        wiring = Wiring(
            config,
            write_access_log=log.append,
            refuses_address=refuses_address,
            wall_clock=wall_clock,
        )
        sidecar = Sidecar(wiring, addresses=addresses, app_ends_too=app_ends_too)
        async with sidecar.running(lambda _line: None) as bound:
            yield Pod(mint, jwks_file, app, elsewhere, bound, sidecar, wiring, log)


def _issuer(
    name: str,
    mint: TokenMint,
    directory: Path,
    cooldown_seconds: float,
    introspection: Introspection | None = None,
) -> Issuer:
    """Trust *mint*, whose keys are published in *directory*."""
    jwks_file = directory / f"{name}.json"
    jwks_file.write_text(json.dumps(mint.jwks()))
    return Issuer(
        name,
        mint.issuer,
        (AUDIENCE,),
        JwksFile(str(jwks_file)),
        refresh_cooldown_seconds=cooldown_seconds,
        profile="keycloak",
        introspection=introspection,
    )


def transaction_issuer(mint: TokenMint, directory: Path, cooldown_seconds: float) -> Issuer:
    """Have *mint* issue transaction tokens of ``TRUST_DOMAIN``."""
    made = replace(_issuer("tts", mint, directory, cooldown_seconds), audiences=(TRUST_DOMAIN,))
    return replace(made, profile="transaction_token")


def soon(seconds: float) -> int:
    """Return the epoch second that is *seconds* from now."""
    return int(time.time() + seconds)


def records(pod: Pod) -> list[dict[str, Any]]:
    """Return the access log of a pod that has stopped."""
    return [json.loads(line) for batch in pod.log for line in batch.splitlines()]
