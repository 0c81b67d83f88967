"""What a decision wanted and found of the transaction token, in either direction."""

from sidecar.config.model import Destination
from sidecar.core.principal import Principal
from sidecar.explain.case import Case
from sidecar.explain.known import Known
from sidecar.explain.redaction import Redactor
from sidecar.explain.steps import Look
from sidecar.explain.words import claim, listed


def came_in(case: Case, known: Known, *, anyone: bool) -> Look:
    """Say what of it was asked of a request, and what came; *anyone*: the rule asks nothing."""
    tokens, issuer = known.config.inbound.transaction_tokens, known.config.transaction_issuer
    if anyone or tokens is None or issuer is None:
        return Look(note="counts beside an access token alone", fits=None, outcome="skipped")
    wanted = f"one Txn-Token of issuers.{issuer.name}, for {listed(issuer.audiences or ())}"
    if tokens.subject == "same":
        wanted += ", with the access token's sub"
    if not tokens.require:
        wanted = f"none, or {wanted}"
    if case.transaction is not None:
        return Look(wanted, said(case.transaction, known.redactor))
    if not case.status:  # nobody sent anything: it is explained before it happens
        return Look(wanted, note="not looked at offline", fits=None, outcome="skipped")
    if case.principal is None:
        return Look(wanted, fits=None)
    return Look(wanted, "none that is good", fits=None if tokens.require else True)


def went_out(case: Case, destination: Destination | None, known: Known) -> Look:
    """Say what of it goes with a call, and what went."""
    if destination is None or not destination.carries_transaction:
        return Look(note="transaction_token: none", fits=None, outcome="skipped")
    wanted = "that of the request which caused the call, where it had one"
    if (request := destination.transaction_request) is not None:
        wanted = (
            "that of the request which caused the call, or one that the client "
            f"{request.client} asks for in its name, audience {listed(request.audience)}"
        )
    if case.transaction is None:
        return Look(wanted, "none", fits=None if case.denial is not None else True)
    return Look(wanted, said(case.transaction, known.redactor))


def said(transaction: Principal, redactor: Redactor) -> str:
    """Return what it says of its transaction, without what is hidden."""
    claims = redactor.claims(transaction.claims)
    return ", ".join(f"{name} {claim(claims, name)}" for name in ("txn", "sub", "req_wl", "scope"))
