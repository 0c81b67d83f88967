"""``sidecar.telemetry.log``: one event, one line, and logging as before afterwards."""

import io
import logging
import re

import pytest

from sidecar.telemetry.log import MAX_FRAMES, MAX_LINE_LENGTH, Level, operator_log

STAMP = re.compile(r"\A\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z ")


def logged(message: str, *args: object, level: Level = "info", **how: BaseException) -> list[str]:
    stream = io.StringIO()
    with operator_log(level, stream):
        logging.getLogger("sidecar.issuers").warning(message, *args, exc_info=how.get("error"))
    return stream.getvalue().splitlines()


def test_a_line_says_when_how_bad_who_and_what() -> None:
    """A line is time, level, logger and message in plain text."""
    (line,) = logged("keys of %s not loaded", "shop")
    assert STAMP.match(line)
    assert STAMP.sub("", line) == "warning sidecar.issuers: keys of shop not loaded"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\nb", "a\\nb"),
        ("a\r\nb", "a\\r\\nb"),
        ("\x1b[2J", "\\x1b[2J"),
        ("\x85\u2028", "\\x85\\u2028"),
        ("ü \\n", "ü \\n"),
    ],
)
def test_what_a_message_quotes_cannot_begin_a_line(text: str, shown: str) -> None:
    """Control characters and line separators are escaped, other text is left alone."""
    (line,) = logged("got %s", text)
    assert line.endswith(f"got {shown}")


def test_an_exception_stays_on_the_line() -> None:
    """Type, message and innermost frames follow the message, newlines of the error included."""

    def fail(depth: int) -> None:
        if depth == 0:
            raise RuntimeError("first\nsecond")
        fail(depth - 1)

    with pytest.raises(RuntimeError) as caught:
        fail(20)
    (line,) = logged("refresh failed", error=caught.value)
    assert "refresh failed: RuntimeError: first\\nsecond [" in line
    assert line.count(" fail <") + line.endswith(" fail]") == MAX_FRAMES


def test_a_line_is_bounded() -> None:
    """A huge message is cut and says so."""
    (line,) = logged("x" * 100_000)
    assert len(line) == MAX_LINE_LENGTH
    assert line.endswith("x…")


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        ("debug", ["debug", "info", "warning", "error"]),
        ("info", ["info", "warning", "error"]),
        ("warning", ["warning", "error"]),
        ("error", ["error"]),
    ],
)
def test_the_level_is_ours_alone(level: Level, expected: list[str]) -> None:
    """The level chooses among our events; of other libraries only warnings and worse are shown."""
    stream = io.StringIO()
    with operator_log(level, stream):
        for name in ("debug", "info", "warning", "error"):
            logging.getLogger("sidecar.x").log(getattr(logging, name.upper()), "ours")
            logging.getLogger("asyncio").log(getattr(logging, name.upper()), "theirs")
    events = [line.split(" ", 2)[1:] for line in stream.getvalue().splitlines()]
    assert [severity for severity, rest in events if rest.endswith("ours")] == expected
    theirs = [severity for severity, rest in events if rest.endswith("theirs")]
    assert theirs == ["warning", "error"]


def test_standard_error_is_where_it_goes(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a stream events go to standard error and nothing to standard output."""
    with operator_log("info"):
        logging.getLogger("sidecar").info("hello")
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.endswith("sidecar: hello\n")


def test_logging_is_as_before_afterwards() -> None:
    """Handlers and levels are put back, also after an error."""

    def state() -> tuple[list[logging.Handler], int, int]:
        root = logging.getLogger()
        return root.handlers[:], root.level, logging.getLogger("sidecar").level

    before = state()
    context = operator_log("debug", io.StringIO())
    context.__enter__()
    during = state()
    assert not context.__exit__(KeyError, KeyError(), None)
    assert state() == before != during
