"""The table of what a pod's sidecar takes."""

import ssl
from pathlib import Path

from bench.operating import Taken, render_operating, write_certificate
from bench.processes import Memory


def taken(rate: int, cores: float, p99: float | None) -> Taken:
    return Taken("sidecar", rate, cores, Memory(resident_kib=60 * 1024, anonymous_kib=1024), p99)


def test_medians_and_the_range_of_rounds() -> None:
    """One line for each rate; nothing waits for an answer where nothing is asked."""
    rounds = [taken(0, 0.001, None), taken(10, 0.002, 1.0), taken(10, 0.009, 3.0)]
    heading, idle, paced = render_operating([*rounds, taken(10, 0.004, 2.0)]).splitlines()
    assert heading.split("  ")[-1].strip() == "p99 ms"
    assert idle.split() == ["sidecar", "0", "1.0", "1.0,", "1.0", "60.0", "1.0"]
    assert paced.split() == ["sidecar", "10", "4.0", "2.0,", "9.0", "60.0", "1.0", "2.0"]


def test_the_certificate_can_be_served_with(tmp_path: Path) -> None:
    """With the key that belongs to it."""
    certificate, key = write_certificate(tmp_path)
    ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(certificate, key)
