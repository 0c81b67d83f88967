"""Whatever the bytes of a file are, the answer is a configuration or problems."""

from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st

from sidecar.config.flags import Flags
from sidecar.config.load import Examination, examine
from sidecar.config.model import Config
from tests.config.examples import FULL

FRAGMENTS = [
    *FULL.split(),
    *("\n", "\n  ", "\n    ", " ", ": ", "- ", "[", "]", "{", "}", ",", "&a", "*a", "<<", "!!int"),
    *("${", "}", "${HOME}", "file:", "\t", "#", "'", '"', "|", ">", "\\", "\x00", "\ud7ff", "null"),
    *("---", "...", "%YAML 1.1", "?", "~", "0x1", "1_0", "yes", "any", "[]", "{}", "\u2028"),
]


def outcome(content: bytes) -> Examination:
    with TemporaryDirectory() as directory:
        path = Path(directory) / "sidecar.yaml"
        path.write_bytes(content)
        return examine([str(path)], environ={"HOME": "a\x00b"})


def check(found: Examination) -> None:
    assert isinstance(found.config, Config) == (not found.errors)
    for problem in (*found.errors, *found.warnings):
        assert str(problem).isprintable()
        assert problem.line >= 0
        assert problem.column >= 0


@given(st.binary(max_size=300))
def test_any_bytes(content: bytes) -> None:
    """Bytes at random never raise."""
    check(outcome(content))


@given(st.lists(st.sampled_from(FRAGMENTS), max_size=60))
def test_any_fragments(fragments: list[str]) -> None:
    """Pieces of YAML and of configurations in any order never raise."""
    check(outcome("".join(fragments).encode()))


@given(st.integers(0, len(FULL)), st.integers(0, 40), st.sampled_from(FRAGMENTS))
def test_any_damage(start: int, length: int, inserted: str) -> None:
    """A configuration with any part of it replaced never raises."""
    check(outcome((FULL[:start] + inserted + FULL[start + length :]).encode()))


TEXT = st.text(max_size=12) | st.sampled_from(FRAGMENTS)
TEXTS = st.lists(TEXT, max_size=3).map(tuple)


@given(
    st.builds(
        Flags,
        app=st.none() | TEXT,
        issuer=st.none() | TEXT,
        audiences=TEXTS,
        jwks_uri=st.none() | TEXT,
        destinations=TEXTS | TEXTS.map(lambda urls: tuple(f"9001={url}" for url in urls)),
        listen=st.none() | TEXT,
        admin=st.none() | TEXT,
        anyone_paths=TEXTS,
        allow_plaintext=st.booleans(),
    )
)
def test_any_flags(flags: Flags) -> None:
    """Flags at random never raise."""
    check(examine([], flags=flags, environ={}))
