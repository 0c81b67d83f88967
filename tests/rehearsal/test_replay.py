"""Recorded decisions replayed: a real sidecar process writes the log, the real command reads it."""

import asyncio
import gzip
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from sidecar.config.model import Address
from sidecar.testbed.processes import sidecar as sidecar_process
from sidecar.testbed.token_mint import TokenMint
from tests.cli.conftest import command, environment
from tests.rehearsal.conftest import rules
from tests.support.http import App, fetch

ISSUER = "https://issuer.example"
BASE = """\
version: 1
issuers:
  shop: {{issuer: "https://issuer.example", audiences: [user-service], jwks_file: keys.json}}
inbound:
  listen: 127.0.0.1:0
  app: {app}
  rules:
    # Probes carry no token.
    - {{name: health, paths: [/healthz], methods: [GET], allow: anyone}}
    - {{name: open, paths: [/open/**], allow: anyone}}
    - {{name: admin, paths: [/admin/**], require: {{roles: [ADMIN]}}}}
    - name: reports
      paths: [/reports/**]
      require:
        scopes:
          any: [profile.read, reports.read]  # the second was for the old client
    - {{name: watched, paths: [/watched], require: {{roles: [ADMIN]}}, mode: observe}}
    - {{name: calm, paths: [/calm], require: authenticated, mode: observe}}
    - {{name: own, paths: ["/users/{{id}}"], require: {{claims: {{sub: {{segment: id}}}}}}}}
outbound:
  destinations:
    profiles: {{listen: 127.0.0.1:0, upstream: {destination}}}
admin: {{listen: 127.0.0.1:0}}
log:
  access: "off"
  decisions: {{file: decisions.jsonl}}
"""


async def record(directory: Path, configuration: str) -> None:
    """Run a sidecar under *configuration* and send it one request of each kind."""
    mint = TokenMint(ISSUER, audience=["user-service"], algorithms=("ES256",))
    (directory / "keys.json").write_text(json.dumps(mint.jwks()))
    app, destination = App(automatic=True), App(automatic=True)
    async with app.running(), destination.running():
        path = directory / "sidecar.yaml"
        path.write_text(configuration.format(app=app.origin, destination=destination.origin))
        async with sidecar_process("sidecar", path) as running:
            host, _, port = running.listener("inbound").rpartition(":")
            inbound = Address(host, int(port))
            alice = mint.token("alice", azp="web", tenant="north")
            bob = mint.token("bob", azp="web", tenant="south")
            for target, token in (
                ("/healthz", None),
                ("/admin/x?secret=1", alice),
                ("/admin/x", bob),
                ("/admin/x", None),
                ("/reports/1", alice),
                ("/reports/2", bob),
                ("/watched", bob),
                ("/calm", bob),
                ("/users/alice", alice),
                ("/users/alice", bob),
                ("/nowhere", bob),
                ("/reports/..;/x", bob),
                ("/reports/1", mint.expired("alice")),
            ):
                await fetch(inbound, target, bearer=token)


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory with a log of thirteen requests, and the configuration that wrote it."""
    directory = tmp_path_factory.mktemp("recorded")
    asyncio.run(record(directory, BASE))
    return directory


def changed(directory: Path, name: str, *changes: tuple[str, str]) -> str:
    text = (directory / "sidecar.yaml").read_text()
    for before, after in changes:
        assert before in text
        text = text.replace(before, after)
    (directory / name).write_text(text)
    return name


def replayed(directory: Path, name: str, *more: str) -> tuple[int, dict[str, Any]]:
    done = rules(
        directory, "replay", "decisions.jsonl", "--config", name, "--output", "json", *more
    )
    assert done.stderr == ""
    return done.returncode, json.loads(done.stdout)


def test_a_log_holds_what_rules_ask_and_no_token(log: Path) -> None:
    """A record has the caller's rights; the file is its owner's, and has no query and no token."""
    content = (log / "decisions.jsonl").read_text()
    assert "secret" not in content
    assert "eyJ" not in content
    assert (log / "decisions.jsonl").stat().st_mode & 0o777 == 0o600
    records = [json.loads(line) for line in content.splitlines()]
    assert [each["presented"] for each in records] == [
        "none", "verified", "verified", "none", "verified", "verified", "verified", "verified",
        "verified", "verified", "unread", "unread", "refused",
    ]  # fmt: skip
    admitted = records[1]
    assert admitted["record"] == "decision/1"
    assert (admitted["path"], admitted["rule"], admitted["allowed"]) == ("/admin/x", "admin", True)
    caller = admitted["caller"]
    assert (caller["subject"], caller["client"]) == ("alice", "web")
    assert "ADMIN" in caller["roles"]
    assert caller["audiences"] == ["user-service"]
    assert caller["claims"] == {"sub": "alice"}


def test_nothing_flips_under_the_configuration_that_wrote_the_log(log: Path) -> None:
    """The requests are decided again as they were decided then."""
    code, found = replayed(log, "sidecar.yaml")
    assert (code, found["judged"], found["flips"], found["undecidable_total"]) == (0, 13, 0, 0)


def test_flips_are_counted_by_rule_and_caller(log: Path) -> None:
    """A role that is asked of more callers refuses those who lack it, who are named."""

    stricter = changed(log, "new.yaml", ("roles: [ADMIN]}, mode: observe", "roles: [ADMIN]}"))
    code, found = replayed(log, stricter)
    assert (code, found["flips"]) == (1, 1)
    [group] = found["groups"]
    assert group["before"] == "allowed"
    assert (group["after"], group["rule"], group["reason"]) == (
        "refused",
        "watched",
        "role_missing",
    )
    assert group["callers"] == [{"caller": "bob of shop by web", "count": 1}]
    ids = [json.loads(line)["id"] for line in (log / "decisions.jsonl").read_text().splitlines()]
    assert group["examples"] == [ids[6]]


def test_a_rule_that_opens_is_a_flip_too(log: Path) -> None:
    """Refused requests that would pass are counted apart."""
    looser = changed(log, "looser.yaml", ("require: {roles: [ADMIN]}}", "require: authenticated}"))
    code, found = replayed(log, looser)
    assert (code, found["flips"]) == (1, 1)
    [group] = found["groups"]
    assert (group["before"], group["reason_before"], group["after"]) == (
        "refused", "role_missing", "allowed",
    )  # fmt: skip


def test_flips_may_be_allowed(log: Path) -> None:
    """``--allow-flips`` is the number up to which the command succeeds."""
    looser = changed(log, "looser.yaml", ("require: {roles: [ADMIN]}}", "require: authenticated}"))
    assert replayed(log, looser, "--allow-flips", "1")[0] == 0


def test_observing_rules_can_be_judged_as_enforced(log: Path) -> None:
    """What an observing rule lets through is told before it is enforced."""
    code, found = replayed(log, "sidecar.yaml", "--enforced")
    assert (code, found["flips"]) == (1, 1)


def test_a_claim_that_was_not_recorded_is_undecidable(log: Path) -> None:
    """The claim is named, and what to record from now on."""
    asking = changed(
        log,
        "tenants.yaml",
        ("require: {roles: [ADMIN]}}", "require: {claims: {tenant: {equals: north}}}}"),
    )
    done = rules(log, "replay", "decisions.jsonl", "--config", asking)
    assert done.returncode == 0
    assert (
        "  2 the claim tenant is not recorded; add it to log.decisions.claims: [tenant]"
        in done.stdout
    )
    failing = rules(log, "replay", "decisions.jsonl", "--config", asking, "--fail-undecidable")
    assert failing.returncode == 1


def test_closing_what_was_open_is_decided_where_no_token_was_sent(log: Path) -> None:
    """A request without a token is refused by a rule that asks for one, for certain."""
    closed = changed(
        log, "closed.yaml", ("methods: [GET], allow: anyone", "require: authenticated")
    )
    code, found = replayed(log, closed)
    assert (code, found["flips"]) == (1, 1)
    [group] = found["groups"]
    assert (group["reason"], group["callers"][0]["caller"]) == ("token_missing", "no token")


def test_rights_that_were_read_elsewhere_are_no_evidence(log: Path) -> None:
    """With another source of roles nothing is known of the roles there."""
    elsewhere = changed(
        log,
        "elsewhere.yaml",
        ("jwks_file: keys.json", "jwks_file: keys.json, roles_from: [groups]"),
    )
    _, found = replayed(log, elsewhere)
    assert found["undecidable_total"] == 5


def test_an_issuer_that_is_gone_refuses_its_tokens(log: Path) -> None:
    """All that its callers were allowed flips."""
    other = changed(log, "other.yaml", (ISSUER, "https://other.example"))
    code, found = replayed(log, other)
    assert (code, found["flips"]) == (1, 6)


def test_files_may_be_rotated_compressed_and_mixed(log: Path) -> None:
    """Several files, gzip, standard input, and lines of other kinds, which are counted."""
    content = (log / "decisions.jsonl").read_bytes()
    (log / "decisions.jsonl.1.gz").write_bytes(gzip.compress(content))
    (log / "mixed").write_bytes(
        b'{"direction":"inbound"}\nnot json\n{"record":"decision/1"}\n'
        b'{"record":"decision/2"}\n' + b"x" * 600_000 + b"\n" + content[:-40]
    )
    done = rules(
        log, "replay", "decisions.jsonl", "decisions.jsonl.1.gz", "mixed", "-c", "sidecar.yaml"
    )
    assert done.returncode == 0
    assert done.stdout.splitlines()[0].startswith("38 requests judged again, ")
    assert done.stdout.splitlines()[-3:] == [
        "4 malformed lines passed over",
        "1 line of another kind passed over",
        "1 record of another version passed over",
    ]
    piped = subprocess.run(
        command(["rules", "replay", "-", "-c", "sidecar.yaml"]),
        check=False, input=content, timeout=60, capture_output=True, cwd=log, env=environment(),
    )  # fmt: skip
    assert piped.stdout.startswith(b"13 requests judged again")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "sidecar: no recorded request in there"),
        (b"\x1f\x8bbroken", "sidecar: broken cannot be read: "),
        (gzip.compress(b"x" * 1000, mtime=0)[:-12], "sidecar: broken cannot be read: "),
    ],
    ids=["empty", "not gzip", "breaks off"],
)
def test_a_file_that_cannot_be_read_is_told(log: Path, content: bytes, message: str) -> None:
    """It is wrong usage, never a log in which nothing flips."""
    (log / "broken").write_bytes(content)
    done = rules(log, "replay", "broken", "-c", "sidecar.yaml")
    assert done.returncode == 2
    assert done.stderr.startswith(message)
    assert "Traceback" not in done.stderr


def test_a_missing_file_and_a_broken_configuration_are_told(log: Path) -> None:
    """Each with its own message and exit code 2."""
    missing = rules(log, "replay", "missing", "-c", "sidecar.yaml")
    assert (missing.returncode, missing.stderr) == (
        2, "sidecar: missing cannot be read: No such file or directory\n",
    )  # fmt: skip
    (log / "bad.yaml").write_text("version: 2\n")
    broken = rules(log, "replay", "decisions.jsonl", "-c", "bad.yaml")
    assert broken.returncode == 2
    assert "bad.yaml:1:10: version: must be 1" in broken.stderr
