"""What the sidecar of one pod takes at a steady rate: processor time and memory, for its requests
and limits in Kubernetes.
"""

import datetime
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from bench.cores import scheduled_seconds
from bench.h2load import Pace, run_h2load
from bench.processes import Memory
from bench.report import columns, progress
from bench.scenarios import Running

CONNECTIONS: Final[Mapping[int, int]] = {0: 0, 10: 5, 100: 10, 1000: 50}
"""Requests per second, 0 of them too, and the callers' connections that they come over."""
_LEAST_SECONDS: Final = 12
"""Ten requests a second make a hundred only after ten seconds."""


@dataclass(frozen=True, slots=True)
class Taken:
    """One sidecar at one rate in one round."""

    name: str
    rate: int
    cores: float
    memory: Memory
    p99_ms: float | None


def run_operating(
    running: Mapping[str, Running],
    headers: Mapping[str, str],
    *,
    core: int,
    rounds: int,
    seconds: int,
    log: Path,
) -> Iterator[Taken]:
    """Yield what each of *running* takes at each rate; they take turns within a round."""
    seconds = max(seconds, _LEAST_SECONDS)
    for number in range(1, rounds + 1):
        for rate, connections in CONNECTIONS.items():
            for name, one in running.items():
                progress(f"round {number}: {name}, {rate} requests/s")
                pace = Pace(core, connections, seconds, rate)
                yield _measure(name, one, pace, headers, log)


def _measure(name: str, one: Running, pace: Pace, headers: Mapping[str, str], log: Path) -> Taken:
    samples: list[tuple[float, float]] = []

    def watch() -> None:
        samples.append((time.monotonic(), scheduled_seconds(one.process.pid)))

    p99_ms = None
    if pace.connections:
        scheme = "https" if name.endswith("TLS") else "http"
        url = f"{scheme}://127.0.0.1:{one.proxy.port}/"
        p99_ms = run_h2load(url, pace, headers=headers, log=log, watch=watch).p99_ms
    else:
        watch()
        time.sleep(pace.seconds)
        watch()
    (began, before), (ended, after) = samples
    cores = (after - before) / (ended - began)
    return Taken(name, int(pace.requests_per_second), cores, one.process.memory(), p99_ms)


def render_operating(taken: Sequence[Taken]) -> str:
    """Return the table: medians, and of processor time the lowest and highest round too."""
    rows = [("", "requests/s", "mCPU", "lowest, highest", "resident MiB", "anonymous", "p99 ms")]
    for name, rate in dict.fromkeys((one.name, one.rate) for one in taken):
        of_it = [one for one in taken if (one.name, one.rate) == (name, rate)]
        cores = [one.cores * 1000 for one in of_it]
        p99 = [one.p99_ms for one in of_it if one.p99_ms is not None]
        rows.append(
            (
                name,
                f"{rate:,}",
                f"{median(cores):.1f}",
                f"{min(cores):.1f}, {max(cores):.1f}",
                f"{median(one.memory.resident_kib for one in of_it) / 1024:.1f}",
                f"{median(one.memory.anonymous_kib for one in of_it) / 1024:.1f}",
                f"{median(p99):.1f}" if p99 else "",
            )
        )
    return "\n".join(columns(rows))


def write_certificate(directory: Path) -> tuple[Path, Path]:
    """Make a certificate that vouches for itself. Returns its file and that of its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "bench")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    files = directory / "certificate.pem", directory / "key.pem"
    files[0].write_bytes(certificate.public_bytes(Encoding.PEM))
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    files[1].write_bytes(pem)
    return files
