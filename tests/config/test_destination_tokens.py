"""Which token a destination gets: what must be said together, and what is wrong with the rest."""

import pytest

from sidecar.config.load import Examination
from sidecar.config.model import Config
from sidecar.core.token_request import ACCESS_TOKEN, JWT, TokenRequest
from tests.config.cases import VALID_START, lines
from tests.config.conftest import Examine

START = VALID_START + (
    'clients: {idp: {token_endpoint: "https://idp.example/t", client_id: us, '
    "client_secret: '${SECRET}'}}\n"
)
ENVIRONMENT = {"SECRET": "s3cret"}
AT = "listen: 127.0.0.1:1, upstream: https://d.example"


def seen(examined: Examine, destination: str) -> Examination:
    """Examine a configuration whose one destination, on line 4, has these keys, too."""
    text = f"outbound: {{destinations: {{d: {{{AT}, {destination}}}}}}}\n"
    return examined(START + text, ENVIRONMENT)


def accepted(examined: Examine, destination: str) -> Config:
    found = seen(examined, destination)
    assert lines(found.errors) == []
    assert found.config is not None
    return found.config


def test_exchange(examined: Examine) -> None:
    """What is asked for arrives where the program looks for it, and the rest has defaults."""
    config = accepted(
        examined,
        "token: exchange, token_request: {client: idp, audience: [d], resource: ['https://d/x'], "
        "scopes: [a, b], requested_type: jwt, actor: client, subject_may_change: true, "
        "accepted_audiences: [e], parameters: {tenant: north}}",
    )
    destination = config.outbound.destinations["d"]
    assert destination.token == "exchange"
    assert destination.token_request == TokenRequest(
        "idp", "exchange", audience=("d",), resource=("https://d/x",), scopes=("a", "b"),
        requested_type=JWT, actor="client", subject_may_change=True, accepted_audiences=("e",),
        parameters=(("tenant", "north"),),
    )  # fmt: skip
    least = accepted(examined, "token: exchange, token_request: {client: idp}")
    assert least.outbound.destinations["d"].token_request == TokenRequest("idp", "exchange")
    assert TokenRequest("idp", "exchange").subject_type == ACCESS_TOKEN


@pytest.mark.parametrize("grant", ["jwt_bearer", "client_credentials"])
def test_other_grants(grant: str, examined: Examine) -> None:
    """``token`` says which grant is asked for."""
    config = accepted(
        examined,
        f"token: {grant}, token_request: {{client: idp, scopes: ['api://d/.default'], "
        "parameters: {requested_token_use: on_behalf_of}}",
    )
    request = config.outbound.destinations["d"].token_request
    assert request is not None
    assert request.grant == grant


def test_files(examined: Examine) -> None:
    """Paths start at the configuration's own directory."""
    config = accepted(examined, "token: file, token_file: t/token, without_context: file")
    path = config.outbound.destinations["d"].token_file
    assert path is not None
    assert path.startswith("/")
    assert path.endswith("/t/token")
    config = accepted(
        examined,
        "token: exchange, token_request: {client: idp, actor: file, actor_file: sa/token}",
    )
    request = config.outbound.destinations["d"].token_request
    assert request is not None
    assert request.actor_file.startswith("/")


def test_the_services_own_token(examined: Examine) -> None:
    """A destination that relays may have one asked for where there is nothing to relay."""
    config = accepted(examined, "without_context: client_credentials, token_request: {client: idp}")
    request = config.outbound.destinations["d"].token_request
    assert request == TokenRequest("idp", "client_credentials")


def test_rules(examined: Examine) -> None:
    """Each part of a destination has a token of its own; methods and order are kept."""
    config = accepted(
        examined,
        "token: none, rules: [{paths: [/a/**], methods: [GET, PUT], token: relay}, "
        "{paths: [/b], token: exchange, token_request: {client: idp, scopes: [b]}}, "
        "{paths: [/c], token: file, token_file: /c}]",
    )
    destination = config.outbound.destinations["d"]
    assert [rule.token for rule in destination.rules] == ["relay", "exchange", "file"]
    assert destination.rules[0].methods == ("GET", "PUT")
    assert destination.rules[1].token_request == TokenRequest("idp", "exchange", scopes=("b",))
    assert destination.tokens == ("relay", "exchange", "file", "none")
    assert destination.attaches


WRONG = {
    "nothing asked for": (
        "token: exchange",
        "token: needs `token_request`, at least `token_request: {client: NAME}`",
    ),
    "nothing asked for the service": (
        "without_context: client_credentials",
        "without_context: needs `token_request`, at least `token_request: {client: NAME}`",
    ),
    "no client": ("token: exchange, token_request: {}", "token_request.client: is required"),
    "an unknown client": (
        "token: exchange, token_request: {client: ipd}",
        "token_request.client: `ipd` is none of `clients` (did you mean `idp`?)",
    ),
    "asked for and not used": (
        "token_request: {client: idp}",
        "token_request: is for a token that is obtained: `token: exchange`, `jwt_bearer` or "
        "`client_credentials`",
    ),
    "no file": ("token: file", "token: needs `token_file`, the path of the token"),
    "no file for the service": (
        "without_context: file",
        "without_context: needs `token_file`, the path of the token",
    ),
    "a file that is not read": ("token_file: /x", "token_file: is read with `token: file`"),
    "another kind": (
        "token: swap",
        "token: `swap` is not one of relay, exchange, jwt_bearer, client_credentials, file, none",
    ),
    "an actor without exchange": (
        "token: client_credentials, token_request: {client: idp, actor: client}",
        "token_request: `actor` is for `token: exchange`",
    ),
    "a type without exchange": (
        "token: jwt_bearer, token_request: {client: idp, requested_type: jwt}",
        "token_request: `requested_type` is for `token: exchange`",
    ),
    "no type": (
        "token: exchange, token_request: {client: idp, requested_type: jtw}",
        "token_request.requested_type: `jtw` is neither a URI nor one of access_token, jwt, "
        "id_token, txn_token (did you mean `jwt`?)",
    ),
    "an actor without file": (
        "token: exchange, token_request: {client: idp, actor: file}",
        "token_request.actor: needs `actor_file`, the path of the actor's token",
    ),
    "a file without actor": (
        "token: exchange, token_request: {client: idp, actor_file: /x}",
        "token_request.actor_file: is read with `actor: file`",
    ),
    "a resource with fragment": (
        "token: exchange, token_request: {client: idp, resource: ['https://d/#x']}",
        "token_request.resource[0]: `https://d/#x` must be an absolute URI without fragment "
        "(RFC 8707, section 2)",
    ),
    "two scopes in one": (
        "token: exchange, token_request: {client: idp, scopes: ['a b']}",
        "token_request.scopes[0]: `a b` must be one scope; give each its own entry",
    ),
    "a parameter with a key of its own": (
        "token: exchange, token_request: {client: idp, parameters: {audience: x}}",
        "token_request.parameters.audience: has a key of its own, or follows from `token` and the "
        "client",
    ),
    "a parameter without a name": (
        "token: exchange, token_request: {client: idp, parameters: {'a b': x}}",
        "token_request.parameters.a b: this name must be 1 to 64 letters, digits, `_`, `.` or `-`",
    ),
    "a list of parameters": (
        "token: exchange, token_request: {client: idp, parameters: [x]}",
        "token_request.parameters: must be a map of parameters, as {requested_token_use: "
        "on_behalf_of}",
    ),
    "a rule without token": ("rules: [{paths: [/a]}]", "rules[0].token: is required"),
    "a rule without its file": (
        "rules: [{paths: [/a], token: file}]",
        "rules[0].token: needs `token_file`, the path of the token",
    ),
    "a rule of another kind": (
        "rules: [{paths: [a], token: relay}]",
        "rules[0].paths[0]: `a` must start with `/` (did you mean `/a`?)",
    ),
}


@pytest.mark.parametrize(("destination", "expected"), WRONG.values(), ids=WRONG.keys())
def test_wrong(destination: str, expected: str, examined: Examine) -> None:
    """One problem, said at its place with what to write."""
    found = [line.split(": ", 1)[1] for line in lines(seen(examined, destination).errors)]
    assert found == [f"outbound.destinations.d.{expected}"]


def test_places(examined: Examine) -> None:
    """A problem has line and column of what is wrong."""
    (line,) = lines(seen(examined, "token: exchange, token_request: {client: ipd}").errors)
    assert line.startswith("4:122: ")


@pytest.mark.parametrize(
    "more",
    [
        "token: exchange, token_request: {client: idp}",
        "token: none, rules: [{paths: [/a], token: relay}]",
        "token: none, without_context: file, token_file: /x",
    ],
)
def test_a_token_in_the_clear(more: str, examined: Examine) -> None:
    """Whatever token it is, it goes over plain HTTP beyond loopback only where that is said."""
    at = "listen: 127.0.0.1:1, upstream: http://d.example"
    text = f"outbound: {{destinations: {{d: {{{at}, {more}%s}}}}}}\n"
    (line,) = lines(examined(START + text % "", ENVIRONMENT).errors)
    assert "a credential would be sent over http:// beyond loopback" in line
    found = examined(START + text % ", allow_plaintext: true", ENVIRONMENT)
    assert lines(found.errors) == []


def test_relaying_where_it_is_not_for(examined: Examine) -> None:
    """Said at the start, unless somebody said what the destination takes, or its name is in aud."""
    text = f"outbound: {{destinations: {{their: {{{AT}%s}}}}}}\n"
    told = (
        "4:34: warning: outbound.destinations.their: relays tokens that are for `d`, and nobody "
        "said that this destination takes them: write `token: exchange`, or under `audiences` "
        "what it takes (RFC 9700, section 2.3)"
    )
    for more, expected in (
        ("", [told]),
        (", audiences: [d]", []),
        (", audiences: [their]", []),
        (", hosts: [d]", []),
        (", token: none", []),
        (", token: none, rules: [{paths: [/a], token: relay}]", [told]),
        (", token: exchange, token_request: {client: idp}", []),
    ):
        assert lines(examined(START + text % more, ENVIRONMENT).warnings) == expected, more


def test_a_borrowed_identity(examined: Examine) -> None:
    """Where anyone may call, an app without carrier cannot tell its own calls from theirs."""
    destination = "without_context: client_credentials, token_request: {client: idp}"
    text = f"outbound: {{destinations: {{d: {{{AT}, {destination}}}}}}}\n"
    for rules, expected in (
        ("{paths: [/**], require: authenticated}", False),
        ("{paths: [/a], allow: anyone}, {paths: [/**], require: authenticated}", True),
        ("{paths: [/**], allow: optional_token}", True),
    ):
        found = examined(f"{START}inbound: {{rules: [{rules}]}}\n{text}", ENVIRONMENT)
        told = [line for line in lines(found.warnings) if "borrows that token" in line]
        assert bool(told) is expected, rules


def test_a_public_client_has_no_token_of_its_own(examined: Examine) -> None:
    """Said beforehand, where nothing but a refusal can come; an exchange for callers may do."""
    start = START.replace("client_secret: '${SECRET}'", "auth: none")
    for more, expected in (
        ("token: client_credentials, token_request: {client: idp}", True),
        ("token: exchange, token_request: {client: idp, actor: client}", True),
        ("without_context: client_credentials, token_request: {client: idp}", True),
        ("rules: [{paths: [/a], token: client_credentials, token_request: {client: idp}}]", True),
        ("token: exchange, token_request: {client: idp}", False),
    ):
        text = f"outbound: {{destinations: {{d: {{{AT}, {more}}}}}}}\n"
        found = examined(start + text)
        assert found.errors == ()
        told = [line for line in lines(found.warnings) if "shows nobody who it is" in line]
        assert bool(told) is expected, more
