"""``${NAME}`` and ``file:`` references inside the strings of a configuration.

Owns what a reference looks like and what it stands for. A message about a value quotes
the reference and never what it stood for, which may be a secret.
"""

import os
import re
import stat
from collections.abc import Callable, Mapping
from typing import Final

MAX_REFERENCED_BYTES: Final = 64 * 1024

PATTERN: Final = r"\$\{[A-Za-z_][A-Za-z0-9_]*\}|^file:(?!//)"
"""A string that holds a reference, for the JSON Schema."""

_FORM: Final = re.compile(r"\$\$\{|\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)\}|\$\{")


class ReferenceProblem(Exception):  # noqa: N818 - a finding about the input, like Complaint
    """A reference that stands for nothing. The text names it and no value."""


def resolve(
    text: str,
    environ: Mapping[str, str],
    directory: str,
    seen: Callable[[str, bytes], None] = lambda _path, _content: None,
) -> str:
    """Return *text* with its references replaced, once: a value is not read for more.

    ``${NAME}`` anywhere is a variable of *environ*; ``$${`` is a literal ``${``. A text that
    is ``file:PATH`` as a whole becomes the file's content without the last line end; a
    relative path starts at *directory*, and *seen* is told what was in it. Raises
    ``ReferenceProblem``.
    """
    if text.startswith("file:") and not text.startswith("file://"):
        return _content(os.path.join(directory, text.removeprefix("file:")), seen)
    if "${" not in text:
        return text
    return _FORM.sub(lambda match: _variable(match, environ), text)


def read_regular_file(path: str, limit: int) -> bytes:
    """Return the content of a file of at most *limit* bytes.

    Devices and pipes are refused, because reading one may never end. Raises
    ``ReferenceProblem`` with the cause.
    """
    try:
        # Opening a pipe for reading waits for a writer unless told not to.
        with open(path, "rb", opener=_without_waiting) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise ReferenceProblem("is not a regular file")
            content = file.read(limit + 1)
    except OSError as error:
        raise ReferenceProblem(f"cannot be read: {error.strerror}") from None
    except ValueError:
        raise ReferenceProblem("is not a path") from None
    if len(content) > limit:
        raise ReferenceProblem(f"is larger than {limit // 1024}KiB")
    return content


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def _variable(match: re.Match[str], environ: Mapping[str, str]) -> str:
    if match[0] == "$${":
        return "${"
    name = match["name"]
    if name is None:
        raise ReferenceProblem("holds `${` without a variable name and `}`; `$${` is a literal one")
    if name not in environ:
        raise ReferenceProblem(f"names the environment variable {name}, which is not set")
    return environ[name]


def _content(path: str, seen: Callable[[str, bytes], None]) -> str:
    seen(path, b"")  # one that is missing now may be there later
    try:
        content = read_regular_file(path, MAX_REFERENCED_BYTES)
        seen(path, content)
        text = content.decode()
    except ReferenceProblem as problem:
        raise ReferenceProblem(f"names a file that {problem}") from None
    except UnicodeDecodeError:
        raise ReferenceProblem("names a file that is not UTF-8") from None
    return text.removesuffix("\n").removesuffix("\r")
