"""Keys of transaction tokens: what they become, and each way to get them wrong."""

from pathlib import Path

import pytest

import sidecar
from sidecar.config.model import TransactionTokens
from sidecar.core.identity import IdentityHeader
from sidecar.core.token_request import TRANSACTION_TOKEN, TokenRequest
from tests.config.cases import lines
from tests.config.conftest import Examine

START = """\
version: 1
issuers:
  a: {issuer: "https://a.example", audiences: [d]}
"""
TTS = '  tts: {issuer: "https://a.example", audiences: [shop.example], profile: transaction_token'
TOKENS = "inbound: {transaction_tokens: {issuer: tts"
DESTINATION = (
    "outbound: {destinations: {p: {listen: '127.0.0.1:9001', upstream: 'https://p.example', "
)


CLIENT = "clients: {c: {client_id: me, auth: none, token_endpoint: 'https://tts.example/token'}}\n"


def test_everything(examined: Examine) -> None:
    """Every key arrives; one server may issue both kinds, so its ``iss`` may be there twice."""
    found = examined(
        f"{START}{TTS}}}\n{TOKENS}, require: true, subject: same, headers: "
        "{x-txn-context: {claim: tctx, format: json}}}}\n"
        f"{DESTINATION}audiences: [d], transaction_token: pass}}}}}}\n"
    )
    assert lines(found.errors) == lines(found.warnings) == []
    assert found.config is not None
    assert found.config.inbound.transaction_tokens == TransactionTokens(
        "tts", True, "same", (IdentityHeader("x-txn-context", "claim", ("tctx",), format="json"),)
    )
    assert found.config.outbound.destinations["p"].transaction_token == "pass"
    assert list(found.config.access_issuers) == ["a"]
    assert found.config.transaction_issuer is found.config.issuers["tts"]


def test_a_request_of_one(examined: Examine) -> None:
    """What is asked for is a transaction token; none need be looked at inbound for that."""
    found = examined(
        f"{START}{CLIENT}{DESTINATION}audiences: [d], transaction_token: request, "
        "transaction_request: {client: c, audience: [shop.example], scopes: [trade], "
        "parameters: {request_details: '{}'}}}}}\n"
    )
    assert lines(found.errors) == lines(found.warnings) == []
    assert found.config is not None
    destination = found.config.outbound.destinations["p"]
    assert (destination.transaction_token, destination.carries_transaction) == ("request", True)
    assert destination.transaction_request == TokenRequest(
        "c", "exchange", audience=("shop.example",), scopes=("trade",),
        requested_type=TRANSACTION_TOKEN, parameters=(("request_details", "{}"),),
    )  # fmt: skip


def test_off_unless_written(examined: Examine) -> None:
    """None is looked at and none is passed on by default."""
    found = examined(f"{START}{DESTINATION}}}}}}}\n")
    assert found.config is not None
    assert found.config.inbound.transaction_tokens is None
    assert found.config.transaction_issuer is None
    assert found.config.outbound.destinations["p"].transaction_token == "none"


def test_an_issuer_whose_tokens_nobody_looks_at(examined: Examine) -> None:
    """Its keys would be for nothing."""
    found = examined(f"{START}{TTS}}}\n")
    assert lines(found.errors) == []
    assert lines(found.warnings) == [
        "3:3: warning: issuers.tts: issues transaction tokens that nobody looks at: "
        "`inbound.transaction_tokens: {issuer: tts}` does"
    ]


OF_ACCESS = "is for access tokens, not for `profile: transaction_token`"
CASES = {
    "no issuer": (
        f"{START}inbound: {{transaction_tokens: {{}}}}\n",
        ["4:31: inbound.transaction_tokens.issuer: is required"],
    ),
    "an issuer of access tokens": (
        f"{START}{TTS}}}\n{TOKENS.replace('tts', 'a')}}}}}\n",
        ["5:40: inbound.transaction_tokens.issuer: names no issuer with `profile: "
         "transaction_token`"],
    ),
    "a slip": (
        f"{START}{TTS}}}\n{TOKENS.replace('tts', 'ttx')}}}}}\n",
        ["5:40: inbound.transaction_tokens.issuer: names no issuer with `profile: "
         "transaction_token` (did you mean `tts`?)"],
    ),
    "two trust domains": (
        f"{START}{TTS.replace('[shop.example]', '[a, b]')}}}\n{TOKENS}}}}}\n",
        ["4:49: issuers.tts.audiences: must be one trust domain: its tokens are good in no other"],
    ),
    "any trust domain": (
        f"{START}{TTS.replace('[shop.example]', 'any')}}}\n{TOKENS}}}}}\n",
        ["4:49: issuers.tts.audiences: must be one trust domain: its tokens are good in no other"],
    ),
    "keys of access tokens": (
        f"{START}{TTS}, token_types: [JWT], required_claims: [azp], require_exp: false}}\n"
        f"{TOKENS}}}}}\n",
        [f"4:106: issuers.tts.token_types: {OF_ACCESS}",
         f"4:130: issuers.tts.required_claims: {OF_ACCESS}",
         "4:150: issuers.tts.require_exp: must be true: a transaction has an end"],
    ),
    "a rule that lets them in": (
        f"{START}{TTS}}}\ninbound: {{transaction_tokens: {{issuer: tts}}, rules: [{{paths: [/**], "
        "require: {issuers: [tts]}}]}\n",
        ["5:89: inbound.rules[0].require.issuers[0]: issues transaction tokens, and no request is "
         "let in by one of those"],
    ),
    "nothing to pass": (
        f"{START}{DESTINATION}transaction_token: pass}}}}}}\n",
        ["4:30: outbound.destinations.p: `transaction_token: pass` needs "
         "`inbound.transaction_tokens`: what nobody verified is not passed on"],
    ),
    "a request without saying what": (
        f"{START}{CLIENT}{DESTINATION}transaction_token: request}}}}}}\n",
        ["5:107: outbound.destinations.p.transaction_token: needs `transaction_request`: the "
         "client that asks, the trust domain, and the purpose"],
    ),
    "a request for nothing": (
        f"{START}{CLIENT}{DESTINATION}transaction_token: pass, transaction_request: "
        "{client: c}}}}\n",
        ["5:134: outbound.destinations.p.transaction_request: is for `transaction_token: "
         "request`"],
    ),
    "a request that lacks nearly all": (
        f"{START}{CLIENT}{DESTINATION}transaction_token: request, transaction_request: "
        "{client: c, requested_type: jwt}}}}\n",
        ["5:137: outbound.destinations.p.transaction_request: needs one `audience`: the trust "
         "domain",
         "5:137: outbound.destinations.p.transaction_request: needs `scopes`: the purpose of the "
         "transaction",
         "5:137: outbound.destinations.p.transaction_request: asks for a transaction token, "
         "whatever `requested_type`"],
    ),
    "in the clear": (
        f"{START}{TTS}}}\n{TOKENS}}}}}\n"
        f"{DESTINATION.replace('https://p', 'http://p')}token: none, "
        "transaction_token: pass}}}\n",
        ["6:67: outbound.destinations.p.upstream: a credential would be sent over http:// beyond "
         "loopback; use https:// or write `allow_plaintext: true`"],
    ),
    "headers that are taken": (
        f"{START}{TTS}}}\n{TOKENS}, headers: {{x-auth-subject: {{claim: sub}}, x-auth-transaction: "
        "{claim: txn}, x-user: {claim: sub}}}, identity: {headers: {x-user: {claim: email}}}}\n",
        ["5:55: inbound.transaction_tokens.headers.x-auth-subject: this name is taken: it is sent "
         "already",
         "5:85: inbound.transaction_tokens.headers.x-auth-transaction: this name is taken: it is "
         "sent already",
         "5:119: inbound.transaction_tokens.headers.x-user: this name is taken: it is sent "
         "already"],
    ),
    "the usual header is taken": (
        f"{START}{TTS}}}\n{TOKENS}}}, identity: {{headers: {{x-auth-transaction: {{claim: "
        "email}}}}\n",
        ["5:31: inbound.transaction_tokens: `x-auth-transaction` is a header of `identity` already,"
         " and tells of its `txn`"],
    ),
    "no issuer of access tokens": (
        f"version: 1\nissuers:\n{TTS}}}\n{TOKENS}}}}}\n",
        ["3:3: issuers: no issuer is configured, but a rule asks for a token"],
    ),
    "the header as a place of the access token": (
        f"{START}inbound: {{token_sources: [{{header: Txn-Token}}]}}\n",
        ["4:36: inbound.token_sources[0].header: `Txn-Token` has another meaning, and "
         "cannot hold a token"],
    ),
    "the header as one of identity": (
        f"{START}inbound: {{identity: {{headers: {{txn_token: {{claim: sub}}}}}}}}\n",
        ["4:32: inbound.identity.headers.txn_token: this name has another meaning, and cannot tell "
         "the app who calls"],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("text", "errors"), CASES.values(), ids=CASES)
def test_wrong(examined: Examine, text: str, errors: list[str]) -> None:
    """Each is told with line, column and what would be right."""
    assert lines(examined(text).errors) == errors


def test_the_example_of_the_page_is_accepted(examined: Examine) -> None:
    """As it stands in docs/transaction-tokens.md."""
    page = Path(sidecar.__file__).parents[1] / "docs" / "transaction-tokens.md"
    found = examined(page.read_text().split("```yaml\n")[1].split("```")[0])
    assert (lines(found.errors), lines(found.warnings)) == ([], [])
