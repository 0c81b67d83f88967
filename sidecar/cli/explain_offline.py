"""What a configuration would decide about one request, without a sidecar that runs."""

import asyncio
import logging
import random
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from sidecar.config.model import Config, Issuer
    from sidecar.core.keyset import KeySet
    from sidecar.explain.known import KeyFacts

REFUSED = 1
WRONG_USAGE = 2
MAX_BYTES: Final = 1 << 20
_WAIT_SECONDS: Final = 15.0


@dataclass(frozen=True, slots=True)
class Request:
    """The request that is asked about. *token* and *claims* are files."""

    method: str
    path: str | None
    host: str
    token: str | None
    claims: str | None
    offline: bool


def judge_and_show(ctx: click.Context, asked: Request, paths: tuple[str, ...], output: str) -> None:
    """Judge, print the steps, and end *ctx* with 1 where the request would be refused."""
    from msgspec.json import encode
    from msgspec.json import format as indented

    from sidecar.cli.explain_text import lines
    from sidecar.cli.reporting import show
    from sidecar.config.load import examine

    if asked.path is None:
        raise click.UsageError("which request? Give --path, and --method unless it is GET")
    if not asked.path.startswith("/") or not asked.path.isascii():
        raise click.UsageError("--path is the path of the request, from its first slash on")
    if not paths:
        raise click.UsageError("give --config FILE: which rules is this about?")
    if asked.token is not None and asked.claims is not None:
        raise click.UsageError("give --token or --claims")
    token = None if asked.token is None else _token(asked.token)
    claims = None if asked.claims is None else _claims(asked.claims)
    found = examine(paths)
    if found.config is None:
        show((*found.errors, *found.warnings), err=True)
        ctx.exit(WRONG_USAGE)
    logging.disable(logging.CRITICAL)  # what matters of it is in the steps
    try:
        explanation = asyncio.run(_judged(found.config, asked, token, claims))
    finally:
        logging.disable(logging.NOTSET)
    if output == "json":
        click.echo(indented(encode(explanation), indent=2))
    else:
        for line in lines(explanation):
            click.echo(line)
    if not explanation.allowed:
        ctx.exit(REFUSED)


def _read(name: str) -> bytes:
    try:
        if name == "-":
            return sys.stdin.buffer.read(MAX_BYTES)
        with open(name, "rb") as file:
            return file.read(MAX_BYTES)
    except (OSError, ValueError) as error:
        cause = error.strerror if isinstance(error, OSError) else "is not a path"
        raise click.UsageError(f"{name}: {cause}") from None


def _token(name: str) -> bytes:
    """Return the token in a file, which may have it as ``Authorization`` would."""
    text = _read(name).strip()
    lower = text.lower()
    for prefix in (b"authorization:", b"bearer "):
        if lower.startswith(prefix):
            text = text[len(prefix) :].strip()
            lower = text.lower()
    return text


def _claims(name: str) -> dict[str, Any]:
    from sidecar.core.encoding import EncodingError, json_object

    try:
        return json_object(_read(name))
    except EncodingError as error:
        raise click.UsageError(f"{name}: the claims are {error}") from None


async def _judged(
    config: "Config", asked: Request, token: bytes | None, claims: dict[str, Any] | None
) -> Any:
    from sidecar import settings
    from sidecar.core.headers import identity_lines
    from sidecar.core.outcome import Denial, Reason
    from sidecar.core.policy import Policy
    from sidecar.core.verification import KeyNeeded, Verifier
    from sidecar.explain.explainer import actors_shown, explained
    from sidecar.explain.judging import judge
    from sidecar.explain.known import Known
    from sidecar.explain.near import NearRules
    from sidecar.explain.redaction import Redactor
    from sidecar.explain.rows import Explanation
    from sidecar.explain.words import instant

    now = time.time()
    policies = [settings.issuer_policy(issuer) for issuer in config.access_issuers.values()]
    verifier = Verifier(
        policies,
        render=identity_lines,
        max_token_bytes=config.inbound.max_token_bytes,
        cache_max_entries=1,
        cache_max_bytes=1 << 20,
    )
    facts: dict[str, KeyFacts] = {}
    if token is not None:
        for issuer in config.access_issuers.values():
            keys, facts[issuer.name] = await _keys(issuer, offline=asked.offline)
            if keys is not None:
                verifier.install(issuer.name, keys, now=now)

    def missing(needed: KeyNeeded) -> Denial:
        known = facts[needed.issuer_name]
        if known.age_seconds is not None:
            return Denial(
                Reason.KEY_UNKNOWN, f"the key set of {needed.issuer_name} has no such key"
            )
        return Denial(
            Reason.KEYS_UNAVAILABLE, f"issuer {needed.issuer_name}: {known.last_error or 'no keys'}"
        )

    rules = settings.policy_rules(config)
    redactor = Redactor(config.explain.redact)
    case = judge(
        method=asked.method.encode("latin-1", "replace"),
        path=(asked.path or "").partition("?")[0].encode(),
        host=asked.host.encode("latin-1", "replace"),
        token=token,
        claims=claims,
        policy=Policy(rules),
        paths=settings.inbound_settings(config).paths,
        verifier=verifier,
        issuers={policy.issuer: policy for policy in policies},
        missing=missing,
        now=now,
    )
    known = Known(
        config=config,
        rules=rules,
        near_rules=NearRules(rules),
        issuers={policy.issuer: policy for policy in policies},
        keys=facts.get,
        redactor=redactor,
        cause=lambda _decision: "",
        ledger="not looked at offline",
    )
    steps, advice = explained(case, known)
    denial, principal = case.denial, case.principal
    subject = claims if principal is None else principal.claims
    veil = redactor.over(subject or {}, "" if principal is None else principal.subject)
    hidden = redactor.hides("sub")
    return Explanation(
        seq=0, id="", time=instant(now), direction="inbound", method=asked.method,
        path=case.path.decode("latin-1"), route=case.route,
        status=200 if denial is None or not case.enforced else denial.reason.facts.status,
        allowed=denial is None or not case.enforced,
        reason="" if denial is None else denial.reason.code,
        detail="" if denial is None else veil(denial.detail),
        enforced=case.enforced,
        issuer="" if principal is None else principal.issuer_name,
        subject="" if principal is None else "[redacted]" if hidden else principal.subject,
        actors=() if principal is None else actors_shown(principal, redactor),
        steps=steps, advice=advice,
    )  # fmt: skip


async def _keys(issuer: "Issuer", *, offline: bool) -> "tuple[KeySet | None, KeyFacts]":
    """Return the keys of *issuer* from where the sidecar would have them."""
    from sidecar.config.model import JwksFile
    from sidecar.core.keyset import KeySet
    from sidecar.explain.known import KeyFacts, key_facts
    from sidecar.fetch.client import Fetcher
    from sidecar.issuers.keys import IssuerKeys

    installed: list[KeySet] = []

    def install(keys: KeySet) -> int:
        installed.append(keys)
        return 0

    def made(issuer: "Issuer", fetcher: Fetcher) -> IssuerKeys:
        # Nothing is written: what is fetched here is not the running sidecar's copy.
        return IssuerKeys(
            issuer,
            fetch=fetcher,
            install=install,
            clock=time.time,
            jitter=random.random,
            report=_NoReport(),
        )

    async with Fetcher() as fetcher:
        source = made(issuer if offline else replace(issuer, keys_cache=None), fetcher)
        if not offline or isinstance(issuer.keys, JwksFile):
            with suppress(TimeoutError):
                async with asyncio.timeout(_WAIT_SECONDS):
                    await source.obtain()
        cause = source.last_error or "its keys are fetched, which --offline forbids"
        if not installed:
            source = made(issuer, fetcher)
            source.recall()
        facts = key_facts(source, time.time())
    if not installed:
        return None, KeyFacts(state="none", last_error=cause)
    return installed[-1], facts


class _NoReport:
    def state_changed(self, state: str) -> None: ...
    def refreshed(self, result: str) -> None: ...
    def succeeded(self, at: float) -> None: ...
