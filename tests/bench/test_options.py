"""The benchmark's command line."""

from collections.abc import Callable

import pytest

from bench import full, quick
from bench.sections import SECTIONS


def test_the_defaults_are_the_published_run() -> None:
    """Five rounds of four seconds over 64 connections, all three proxies."""
    options = quick.parse_options([])
    assert (options.rounds, options.seconds, options.connections) == (5, 4, 64)
    assert options.proxies == ("envoy-cache", "envoy", "sidecar")


def test_everything_is_measured_unless_said_otherwise() -> None:
    """Every section runs, in the order of the page that publishes them."""
    assert full.parse_options([]).sections == tuple(SECTIONS)
    assert full.parse_options(["--sections", "pace,bodies"]).sections == ("pace", "bodies")


@pytest.mark.parametrize(
    ("parse", "argv", "complaint"),
    [
        (quick.parse_options, ["--proxies", "envoy,nginx"], "no such proxy: nginx"),
        (quick.parse_options, ["--rounds", "0"], "must be at least 1"),
        (quick.parse_options, ["--fresh-tokens", "100"], "must be over 100"),
        (full.parse_options, ["--sections", "pace,tea"], "no such section: tea"),
        (full.parse_options, ["--connections", "0"], "must be at least 1"),
    ],
)
def test_what_makes_no_sense_is_a_usage_error(
    parse: Callable[[list[str]], object],
    argv: list[str],
    complaint: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Status 2 and a line that says which option."""
    with pytest.raises(SystemExit) as ended:
        parse(argv)
    assert ended.value.code == 2
    assert complaint in capsys.readouterr().err
