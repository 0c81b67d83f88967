"""Any accepted path has one form and one reading, whoever reads it."""

import posixpath
from urllib.parse import unquote, unquote_to_bytes, urlsplit

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sidecar.core.outcome import Denial
from sidecar.core.paths import PathOptions, canonical

STRICT = PathOptions()
PIECES = (
    b"/", b"a", b"B", b".", b"..", b"%2e", b"%2E", b"%2f", b"%5c", b"\\", b";", b"%3b", b"%25",
    b"%20", b"%c3%a9", b"%c0%af", b"%00", b"%3f", b"%23", b"%41", b"~", b"%7e", b"+", b":", b"@",
    b"admin", b"*", b"%", b"%zz",
)  # fmt: skip
PATHS = st.lists(st.sampled_from(PIECES), max_size=10).map(lambda parts: b"/" + b"".join(parts))


def accepted(path: bytes, options: PathOptions = STRICT) -> bytes | None:
    found = canonical(path, options)
    return None if isinstance(found, Denial) else found


def segments(path: bytes) -> list[str]:
    """Return what was matched, as an app names it."""
    return [unquote_to_bytes(segment).decode() for segment in path.split(b"/")]


@pytest.mark.parametrize(
    "options",
    [PathOptions(slash, semicolon) for slash in (False, True) for semicolon in (False, True)],
)
@given(path=PATHS | st.binary(max_size=24).map(lambda rest: b"/" + rest))
def test_the_canonical_form_is_its_own_canonical_form(options: PathOptions, path: bytes) -> None:
    """Whoever reads it again, a second sidecar for instance, sees the same."""
    found = accepted(path, options)
    if found is not None:
        assert accepted(found, options) == found


@settings(deadline=None)  # the first example imports the frameworks
@given(path=PATHS)
@example(path=b"/open/%3fx")
@example(path=b"/open/x%23y")
def test_every_reader_sees_the_segments_that_were_matched(path: bytes) -> None:
    """``urllib``, normalization after decoding, Werkzeug, Starlette and Django agree with us."""
    found = accepted(path)
    if found is None:
        return
    matched = segments(found)
    text = found.decode("ascii")
    decoded = "/".join(matched)
    assert unquote(urlsplit(text).path).split("/") == matched
    assert posixpath.normpath(decoded) == (decoded.rstrip("/") or "/")
    environ: dict[str, object] = {
        "REQUEST_METHOD": "GET", "SCRIPT_NAME": "", "PATH_INFO": decoded.encode().decode("latin-1"),
        "SERVER_NAME": "x", "SERVER_PORT": "80", "wsgi.url_scheme": "http", "wsgi.input": None,
    }  # fmt: skip
    scope: dict[str, object] = {
        "type": "http", "method": "GET", "path": decoded, "raw_path": found, "query_string": b"",
        "headers": [(b"host", b"x")], "scheme": "http", "server": ("x", 80), "root_path": "",
    }  # fmt: skip
    for read in (_werkzeug(environ), _starlette(scope), _django(environ)):
        assert read is None or read.split("/") == matched


def _werkzeug(environ: dict[str, object]) -> str | None:
    try:
        from werkzeug.wrappers import Request
    except ImportError:
        return None
    return str(Request(environ).path)


def _starlette(scope: dict[str, object]) -> str | None:
    try:
        from starlette.requests import Request
    except ImportError:
        return None
    path: str = Request(scope).url.path
    return unquote(path)


def _django(environ: dict[str, object]) -> str | None:
    try:
        from django.core.handlers.wsgi import get_path_info
    except ImportError:
        return None
    return str(get_path_info(environ))
