"""How the tour looks to whoever reads it."""

import io

import pytest

from sidecar.demo.story import Look, Story, render_table

COLUMNS = ("call", "status")
ROWS = [("no token", "401"), ("role missing", "403")]


class Terminal(io.TextIOWrapper):
    def __init__(self, encoding: str) -> None:
        super().__init__(io.BytesIO(), encoding=encoding)

    def isatty(self) -> bool:
        return True


def told(look: Look) -> str:
    output = io.StringIO()
    story = Story(output, look)
    story.heading("A heading")
    story.say("one two three four five six seven eight nine ten")
    story.progress("service", "http://127.0.0.1:1")
    story.held("as it should be")
    story.failed("not as it should be")
    story.table(COLUMNS, ROWS)
    story.verbatim("curl -s http://127.0.0.1:1/a/line/that/is/far/too/long/for/this/narrow/look")
    return output.getvalue()


def test_a_pipe_gets_plain_aligned_text() -> None:
    """In a pipe there is neither colour nor box, and columns are aligned."""
    assert render_table(COLUMNS, ROWS) == [
        "call          status",
        "------------  ------",
        "no token         401",
        "role missing     403",
    ]
    text = told(Look.of(io.StringIO()))
    assert text.isascii()
    assert "\x1b" not in text


def test_a_terminal_gets_a_box() -> None:
    """On a terminal the table is drawn."""
    assert render_table(COLUMNS, ROWS, boxes=True) == [
        "┌──────────────┬────────┐",
        "│ call         │ status │",
        "├──────────────┼────────┤",
        "│ no token     │    401 │",
        "│ role missing │    403 │",
        "└──────────────┴────────┘",
    ]


@pytest.mark.parametrize("boxes", [False, True])
@pytest.mark.parametrize("width", [40, 50, 79])
def test_a_table_fits_the_terminal(boxes: bool, width: int) -> None:
    """Long cells are broken between words, and nothing of them is lost."""
    challenge = 'Bearer error="invalid_token", error_description="The token has expired"'
    lines = render_table(
        ("call", "WWW-Authenticate"), [("expired", challenge)], boxes=boxes, width=width
    )
    assert max(map(len, lines)) <= width
    words = " ".join(lines).replace("│", " ").split()
    assert [word for word in words if word in challenge.split()] == challenge.split()


def test_a_table_without_rows_shows_its_columns() -> None:
    """Nothing to tell is told, without an error."""
    assert render_table(COLUMNS, []) == ["call  status", "----  ------"]


def test_running_text_is_broken_and_commands_are_not() -> None:
    """Prose fits the width; a line to copy stays one line."""
    lines = told(Look(width=40)).splitlines()
    assert max(len(line) for line in lines if "curl" not in line) <= 40
    assert sum("curl" in line for line in lines) == 1


def test_colour_is_for_terminals_that_want_it() -> None:
    """NO_COLOR and a dumb terminal are respected; a pipe never gets colour."""
    terminal = Terminal("utf-8")
    assert Look.of(terminal, {"TERM": "xterm"}).colour
    assert not Look.of(terminal, {"TERM": "xterm", "NO_COLOR": "1"}).colour
    assert Look.of(terminal, {"TERM": "xterm", "NO_COLOR": "1"}).boxes
    assert Look.of(terminal, {"TERM": "dumb"}) == Look(width=Look.of(terminal, {}).width)
    assert Look.of(io.StringIO(), {"TERM": "xterm"}) == Look()


def test_a_terminal_that_cannot_draw_gets_no_boxes() -> None:
    """An encoding without the characters of a box is not sent any."""
    assert not Look.of(Terminal("ascii"), {}).boxes


def test_colour_marks_success_and_failure() -> None:
    """Green and red say at a glance what held."""
    text = told(Look(colour=True))
    assert "\x1b[32mok\x1b[0m" in text
    assert "\x1b[31mFAILED\x1b[0m" in text
