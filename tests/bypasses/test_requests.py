"""Each published bypass as a request on a real connection: decided, and what the app then saw."""

from pathlib import Path

import pytest

from sidecar.config.model import Rule
from tests.bypasses.cases import BYPASSES, OVERRIDES, Bypass
from tests.bypasses.sending import send
from tests.support.pod import RULES, pod


def spellings(name: bytes) -> tuple[bytes, ...]:
    """Return what a WSGI server folds to the same key, and some more."""
    dashed = name.replace(b"_", b"-")
    first = dashed.replace(b"-", b"_", 1)
    return (dashed, dashed.upper(), dashed.title(), first, dashed.replace(b"-", b"_").upper())


@pytest.mark.parametrize("published", sorted({each.published for each in BYPASSES}))
async def test_what_was_published_is_decided_and_forwarded_as_it_was_matched(
    published: str, tmp_path: Path
) -> None:
    """The status and reason are as listed; what reaches the app is the path that was matched."""
    wrong = []
    async with pod(tmp_path) as running:
        for each in BYPASSES:
            if each.published != published:
                continue
            before = len(running.app.received)
            got = await send(
                running.bound.inbound, each.target, method=each.method, fields=each.fields
            )
            reached = [request.target for request in running.app.received[before:]]
            if got[:2] != (each.status, each.reason) or reached != _expected(each):
                wrong.append((str(each), got[:2], reached))
    assert wrong == []


def _expected(bypass: Bypass) -> list[str]:
    return [bypass.forwarded] if bypass.forwarded else []


@pytest.mark.parametrize(("published", "name"), OVERRIDES)
async def test_no_field_moves_a_permitted_request_elsewhere(
    published: str, name: bytes, tmp_path: Path
) -> None:
    """In no spelling does such a field reach the app, and the request itself is served."""
    assert published
    async with pod(tmp_path) as running:
        for spelling in spellings(name):
            got = await send(
                running.bound.inbound, b"/open/x", fields=[(spelling, b"/admin/x"), (b"a", b"b")]
            )
            assert got[:2] == (200, "")
        sent = [value for request in running.app.received for _, value in request.fields]
        assert "/admin/x" not in sent
        assert sent.count("b") == len(spellings(name))


@pytest.mark.parametrize(
    "named",
    [b"authorization", b"x-auth-subject", b"x-sidecar-context", b"x-forwarded-for", b"host"],
)
async def test_connection_strips_nothing_that_somebody_relies_on(
    named: bytes, tmp_path: Path
) -> None:
    """CVE-2025-48865, CVE-2022-1388: fields of ours cannot be named in ``Connection``."""
    async with pod(tmp_path) as running:
        got = await send(running.bound.inbound, b"/open/x", fields=[(b"connection", named)])
        assert got[:2] == (400, "connection_protected")
        assert running.app.received == []


async def test_an_encoded_slash_that_is_allowed_hides_no_dot_segment(tmp_path: Path) -> None:
    """With ``allow_encoded_slash`` the parts of a segment are still looked at for dots."""
    rules: tuple[Rule, ...] = RULES
    async with pod(tmp_path, rules=rules, inbound={"allow_encoded_slash": True}) as running:
        for target in (b"/open/..%2fadmin", b"/open/x%2F..%2fadmin", b"/open/x%2f%2e%2e"):
            assert (await send(running.bound.inbound, target))[:2] == (400, "path_ambiguous")
        assert (await send(running.bound.inbound, b"/open/a%2fb..c"))[0] == 200
        assert [request.target for request in running.app.received] == ["/open/a%2Fb..c"]
