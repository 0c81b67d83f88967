"""The benchmark's command line."""

import pytest

from bench.quick import parse_options


def test_the_defaults_are_the_published_run() -> None:
    """Five rounds of four seconds over 64 connections, all three proxies."""
    options = parse_options([])
    assert (options.rounds, options.seconds, options.connections) == (5, 4, 64)
    assert options.proxies == ("envoy-cache", "envoy", "sidecar")


@pytest.mark.parametrize(
    ("argv", "complaint"),
    [
        (["--proxies", "envoy,nginx"], "no such proxy: nginx"),
        (["--rounds", "0"], "must be at least 1"),
        (["--fresh-tokens", "100"], "must be over 100"),
    ],
)
def test_what_makes_no_sense_is_a_usage_error(
    argv: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Status 2 and a line that says which option."""
    with pytest.raises(SystemExit) as ended:
        parse_options(argv)
    assert ended.value.code == 2
    assert complaint in capsys.readouterr().err
