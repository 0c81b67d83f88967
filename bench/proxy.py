"""What the benchmark must know of any proxy: how to start it and where it answers."""

from dataclasses import dataclass
from pathlib import Path

from bench.processes import Process


@dataclass(frozen=True, slots=True)
class Proxy:
    """One contender, configured in front of the common backend."""

    name: str
    argv: tuple[str, ...]
    port: int
    ready_port: int
    ready_path: str
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def start(self, *, core: int) -> tuple[Process, float]:
        """Start it and wait until it is ready. Returns the seconds from exec to ready, too.

        Raises ``BenchError`` if it does not become ready.
        """
        process = Process(self.argv, core=core, log=self.log)
        try:
            return process, process.wait_until_ready(self.ready_port, self.ready_path)
        except BaseException:
            process.stop()
            raise
