"""What is not shown to whoever may ask: the values of the claims that the operator named."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from sidecar.core.attribution import HANDLE_PATTERN

REDACTED: Final = "[redacted]"
_LEAST: Final = 3
"""Characters of a value that is looked for in sentences: shorter ones are parts of words."""
_MOST: Final = 200
_HANDLE: Final = re.compile(HANDLE_PATTERN.decode())
_TOKEN: Final = re.compile(r"eyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*)*")


class Redactor:
    """Hides the claims *names*, wherever their values turn up in what is told."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = frozenset(names)

    def hides(self, claim: str) -> bool:
        return claim in self._names

    def claims(self, claims: Mapping[str, Any]) -> dict[str, Any]:
        """Return *claims* with what is hidden replaced, whatever its type."""
        return {key: REDACTED if key in self._names else value for key, value in claims.items()}

    def over(self, claims: Mapping[str, Any], subject: str = "") -> "Veil":
        """Return what takes the hidden values of *claims* out of sentences."""
        hidden: set[str] = set()
        for name in self._names:
            if name in claims:
                hidden.update(_strings(claims[name]))
        if "sub" in self._names and subject:
            hidden.add(subject)
        long = sorted((each for each in hidden if len(each) >= _LEAST), key=len, reverse=True)
        return Veil(long[:_MOST])


class Veil:
    """Takes certain values out of sentences, and what looks like a handle or a token."""

    def __init__(self, hidden: list[str]) -> None:
        self._pattern = re.compile("|".join(map(re.escape, hidden))) if hidden else None

    def __call__(self, text: str) -> str:
        if self._pattern is not None:
            text = self._pattern.sub(REDACTED, text)
        return _TOKEN.sub("[token]", _HANDLE.sub("[handle]", text))


def _strings(value: object) -> Iterator[str]:
    match value:
        case str():
            yield value
            yield from value.split()
        case list():
            for each in value:
                yield from _strings(each)
        case dict():
            for key, each in value.items():
                yield str(key)
                yield from _strings(each)
        case bool() | None:
            return
        case int() | float():
            yield str(value)
