"""The soak, in small: it runs, it judges, and it sees memory."""

import json
import sys
from pathlib import Path

import pytest

from bench import soak


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_a_short_soak_reports_calls_and_memory(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every request is answered for, and the last lines are what a person wants to know."""
    results = tmp_path / "soak.json"
    arguments = ["--calls", "150", "--concurrency", "8", "--results", str(results)]
    assert soak.main(arguments) == 0
    shown = capsys.readouterr().out
    assert ", wrong 0, " in shown
    assert "resident MiB: " in shown
    total = json.loads(results.read_text())["total"]
    assert total["requests"] >= 150
    assert (total["wrong"], total["ok"] > 100) == (0, True)
