from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import yaml

from sidecar.config.keys import ROOT
from sidecar.config.reference import documented
from sidecar.config.schema import json_schema
from sidecar.config.sections import REQUIRED
from sidecar.config.template import render
from tests.config.cases import VALID_START, lines
from tests.config.conftest import Examine
from tests.config.examples import FULL
from tests.config.json_schema import is_valid

SCHEMA = json_schema()
TEMPLATE = render(issuer="https://idp.example", app="http://127.0.0.1:8080", audiences=())

WRONG = [
    "lgo: {}",
    "log: {level: loud}",
    "log: [info]",
    "drain_timeout: 30",
    "drain_timeout: 30 s",
    "token_cache: {max_bytes: 64KB}",
    "obtained_tokens: {max_bytes: 64KB}",
    "attribution: {max_calls: 0}",
    "attribution: {max_calls: '7'}",
    "inbound: {allow_semicolon: 'true'}",
    "inbound: {rules: []}",
    "inbound: {rules: [{paths: [], allow: anyone}]}",
    "inbound: {rules: [{allow: anyone}]}",
    "inbound: {rules: [{paths: [/a], require: {}}]}",
    "inbound: {rules: [{paths: [/a], require: {roles: {all: [x]}}}]}",
    "inbound: {rules: [{paths: [/a], require: anyone}]}",
    "inbound: {rules: [{paths: [/a], require: {issuers: []}}]}",
    "inbound: {token_sources: []}",
    "inbound: {token_sources: [cookie]}",
    "inbound: {token_sources: [{}]}",
    "inbound: {token_sources: [{cookie: a, header: b}]}",
    "inbound: {token_sources: [{websocket_protocol: bearer}]}",
    "inbound: {rules: [{paths: [/a], methods: [get], allow: anyone}]}",
    "admin: {listen: '15490'}",
    "admin: {control: '127.0.0.1:15491'}",
    "admin: {control: 'unix:'}",
    "admin: {control: 'unix://run/x'}",
    "admin: {control: 'unix:/run/'}",
    "admin: {control: {tcp: 1}}",
    "outbound: {proxy: ':1'}",
    "outbound: {unlisted: allow}",
    "outbound: {connect_ports: [0]}",
    "outbound: {destinations: {d: {listen: '127.0.0.1:1'}}}",
    "outbound: {destinations: {'a b': {listen: '127.0.0.1:1', upstream: 'http://[::1]'}}}",
    "issuers: {b: {issuer: 'https://b'}}",
    "issuers: {b: {issuer: 'https://b', audiences: [x], algorithms: [none]}}",
]


def document(text: str) -> Any:
    # YAML 1.2, which editors use, has no `off`.
    return yaml.safe_load(text.replace(": off", ": 'off'"))


def key_paths(schema: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for name, each in schema.get("properties", {}).items():
        yield f"{prefix}{name}"
        yield from key_paths(each, f"{prefix}{name}.")
    named = schema.get("additionalProperties")
    if isinstance(named, dict):
        yield from key_paths(named, f"{prefix}<name>.")
    if "items" in schema:
        yield from key_paths(schema["items"], f"{prefix.removesuffix('.')}[].")
    for each in schema.get("anyOf", ()):
        yield from key_paths(each, prefix)


@pytest.mark.parametrize("text", [FULL, TEMPLATE, VALID_START], ids=["full", "template", "least"])
def test_accepts_what_the_parser_accepts(text: str, examined: Examine) -> None:
    """The examples and the template meet the schema and are accepted."""
    assert lines(examined(text).errors) == []
    assert is_valid(document(text), SCHEMA, SCHEMA)


@pytest.mark.parametrize("text", WRONG)
def test_refuses_what_the_parser_refuses(text: str, examined: Examine) -> None:
    """Mistakes of form are seen by an editor as they are by the parser."""
    merged = {**document(VALID_START), **document(text)}
    assert examined(yaml.safe_dump(merged)).errors
    assert not is_valid(merged, SCHEMA, SCHEMA)


def test_knows_nothing_planned() -> None:
    """The schema of this version describes this version."""
    planned = VALID_START + "attribution: {carrier: node}\n"
    assert not is_valid(document(planned), SCHEMA, SCHEMA)


def test_references_are_strings_of_any_kind() -> None:
    """Where a form is demanded, a reference to it will do."""
    text = "drain_timeout: ${GRACE}\nadmin: {listen: 'file:listen'}\nlog: {level: '${LEVEL}'}\n"
    assert is_valid(document(VALID_START + text), SCHEMA, SCHEMA)


def test_the_schema_is_a_schema() -> None:
    """It names its dialect, and describes every key."""
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert sorted(key_paths(SCHEMA)) == sorted(path for path, _ in documented(ROOT, ""))


def test_defaults_meet_their_own_schema() -> None:
    """A default could be written out and would be accepted."""
    for path, key in documented(ROOT, ""):
        assert key.meaning, path
        if (
            key.has_default
            and key.default not in (None, (), "", {})
            and key.default is not REQUIRED
        ):
            assert is_valid(key.kind.show(key.default), key.kind.schema(), SCHEMA), path
