"""What verifying a new token costs next to its signature alone, and what finding a known one.

Run as ``python -m bench.verification`` it measures that alone, in ten seconds. What is measured
runs as a process of its own (``bench.verifying``), on one core.
"""

import time
from collections.abc import Mapping
from typing import Any, Final

from bench.report import columns, progress
from bench.scripted import run_script
from bench.stage import choose_cores
from bench.tokens import ALGORITHMS, AUDIENCE, ISSUER, Signer

TOKENS: Final = 1_000
"""Of each algorithm; a round of them takes some tens of milliseconds."""
LEAST_ROUNDS: Final = 9


def run_verification(
    signer: Signer, *, rounds: int, core: int, tokens: int = TOKENS
) -> dict[str, Any]:
    """Measure on *core*; raise ``BenchError`` if that failed."""
    progress(f"signing {tokens} tokens with each of {', '.join(ALGORITHMS)}")
    order = {
        "issuer": ISSUER,
        "audience": AUDIENCE,
        "jwks": signer.jwks(),
        "pem": {alg: signer.public_pem(alg) for alg in ALGORITHMS},
        "tokens": {
            alg: [signer.token(serial=serial, algorithm=alg) for serial in range(tokens)]
            for alg in ALGORITHMS
        },
        "now": time.time(),
        "rounds": rounds,
    }
    return run_script("verifying", order, what="verification", core=core)


def render_verification(found: Mapping[str, Any]) -> str:
    """Return the table: processor time per token, and how a new one compares to its signature."""
    rows = [("us per token", "signature alone", "new token", "ratio", "known token")]
    for alg, cold in found["cold"].items():
        figures = f"{cold['bare']:.1f}", f"{cold['verified']:.1f}", f"{cold['ratio']:.2f}"
        rows.append((alg, *figures, f"{found['cached'][alg]:.2f}"))
    build = "compiled" if found["compiled"] else "interpreted"
    return "\n".join([*columns(rows), f"  {build}; signature alone: cryptography's own check"])


if __name__ == "__main__":
    core, _ = choose_cores()
    print(render_verification(run_verification(Signer.generate(), rounds=LEAST_ROUNDS, core=core)))
