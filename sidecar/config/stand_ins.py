"""References where they cannot be followed: each stands for itself.

A configuration is also examined on another machine than the one it is for, where neither its
variables nor its files are.
"""

from collections.abc import Iterator, Mapping

from sidecar.config.references import resolve


def stand_in(text: str) -> tuple[str, bool]:
    """Return *text* as far as it is known here, and whether it holds a reference.

    One that is malformed raises ``ReferenceProblem``, as it does everywhere.
    """
    if text.startswith("file:") and not text.startswith("file://"):
        return text, True
    names = _Names()
    return resolve(text, names, ""), bool(names.asked)


class _Names(Mapping[str, str]):
    """An environment in which every variable is set, to a reference to itself."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str)

    def __getitem__(self, name: str) -> str:
        self.asked.append(name)
        return f"${{{name}}}"

    def __iter__(self) -> Iterator[str]:
        return iter(self.asked)

    def __len__(self) -> int:
        return len(self.asked)
