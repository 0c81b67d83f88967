"""What keeping permitted requests for ``sidecar explain`` costs each of them.

Run as ``python -m bench.explanation`` it measures that alone, in some seconds. What is measured
runs as a process of its own (``bench.explaining``), on one core.
"""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from bench.programs import BenchError, find_program
from bench.report import columns, progress
from bench.stage import choose_cores
from bench.tokens import AUDIENCE, ISSUER, Signer

REQUESTS: Final = 5_000
"""In one round, on each side."""
LEAST_ROUNDS: Final = 31
LIMIT_SECONDS: Final = 180.0
SCRIPT: Final = Path(__file__).with_name("explaining.py")


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
    # -P: the sidecar that is installed, not what lies beside the script.
    command = [find_program("taskset"), "-c", str(core), sys.executable, "-P", str(SCRIPT)]
    try:
        ended = subprocess.run(
            command,
            input=json.dumps(order),
            capture_output=True,
            text=True,
            timeout=LIMIT_SECONDS,
            check=True,
        )
    except subprocess.CalledProcessError as error:
        raise BenchError(f"explain: {error.stderr.strip().splitlines()[-1]}") from error
    except subprocess.TimeoutExpired as error:
        raise BenchError(f"explain: no result in {LIMIT_SECONDS:.0f} s") from error
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


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
