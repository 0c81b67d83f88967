"""What keeping permitted requests for ``sidecar explain`` costs each of them.

Run as ``python -m bench.explanation`` it measures that alone, in some seconds. What is measured
runs as a process of its own (``bench.explaining``), on one core.
"""

from collections.abc import Mapping
from typing import Any, Final

from bench.report import columns, progress
from bench.scripted import run_script
from bench.stage import choose_cores
from bench.tokens import AUDIENCE, ISSUER, Signer

REQUESTS: Final = 5_000
"""In one round, on each side."""
LEAST_ROUNDS: Final = 31


def run_explanation(
    signer: Signer, *, rounds: int, core: int, requests: int = REQUESTS
) -> dict[str, Any]:
    """Measure on *core*; raise ``BenchError`` if that failed."""
    progress(f"{requests} requests in memory, {rounds} times with the ring and without")
    order = {
        "issuer": ISSUER,
        "audience": AUDIENCE,
        "jwks": signer.jwks(),
        "token": signer.token(),
        "requests": requests,
        "rounds": rounds,
    }
    return run_script("explaining", order, what="explain", core=core)


def render_explanation(found: Mapping[str, Any]) -> str:
    """Return the table: processor time of one request, and the ratio."""
    rows = [
        ("us per request in memory", "kept for explain", "not kept", "ratio"),
        ("permitted", f"{found['on']:.2f}", f"{found['off']:.2f}", f"{found['ratio']:.3f}"),
    ]
    build = "compiled" if found["compiled"] else "interpreted"
    return "\n".join([*columns(rows), f"  {build}; sockets, which cost more than all this, apart"])


if __name__ == "__main__":
    core, _ = choose_cores()
    print(render_explanation(run_explanation(Signer.generate(), rounds=LEAST_ROUNDS, core=core)))
