"""A real Prometheus for the length of a block, and what it answers."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from sidecar.testbed.ports import free_ports
from sidecar.testbed.processes import child_environment, child_process
from tests.support.programs import needs_program

PATIENT_SECONDS = 45.0
_POLL_SECONDS = 0.1
Target = tuple[str, Mapping[str, str]]
"""``host:port``, and the labels that discovery gives it."""


@dataclass
class Prometheus:
    """One server, asked over its API."""

    url: str
    client: aiohttp.ClientSession

    async def ask(self, expr: str) -> list[dict[str, Any]]:
        """Return the series of an instant query. Raises AssertionError where it is none."""
        answer = await self._get("/api/v1/query", query=expr)
        assert answer["status"] == "success", (expr, answer.get("error"))
        result: list[dict[str, Any]] = answer["data"]["result"]
        return result

    async def rules(self) -> list[dict[str, Any]]:
        """Return every rule with its health."""
        groups = (await self._get("/api/v1/rules"))["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]

    async def targets(self) -> list[dict[str, Any]]:
        """Return the targets it scrapes."""
        found: list[dict[str, Any]] = (await self._get("/api/v1/targets"))["data"]["activeTargets"]
        return found

    async def until_answered(self, expressions: Mapping[str, str]) -> dict[str, list[Any]]:
        """Ask each of *expressions* until all have series with a number; return those."""
        waiting, answered = dict(expressions), dict[str, list[Any]]()
        try:
            async with asyncio.timeout(PATIENT_SECONDS):
                while waiting:
                    for name, expr in list(waiting.items()):
                        if series := [each for each in await self.ask(expr) if _is_number(each)]:
                            answered[name] = series
                            del waiting[name]
                    await asyncio.sleep(_POLL_SECONDS)
        except TimeoutError:
            raise AssertionError(f"no data: {json.dumps(waiting, indent=2)}") from None
        return answered

    async def _get(self, path: str, **parameters: str) -> Any:
        async with self.client.get(self.url + path, params=parameters) as response:
            return await response.json()


def _is_number(series: Mapping[str, Any]) -> bool:
    return series["value"][1] not in {"NaN", "+Inf", "-Inf"}


@asynccontextmanager
async def prometheus(
    directory: Path, scrape: Path, targets: Mapping[str, Sequence[Target]], rules: Path
) -> AsyncIterator[Prometheus]:
    """Run one with the jobs of *scrape*, each of which finds its *targets* here, in no cluster."""
    program = needs_program("prometheus")
    configuration = {
        "global": {"scrape_interval": "200ms", "evaluation_interval": "500ms"},
        "rule_files": [str(rules)],
        "scrape_configs": [
            _found_here(job, targets[job["job_name"]])
            for job in yaml.safe_load(scrape.read_text())["scrape_configs"]
        ],
    }
    path = directory / "prometheus.yaml"
    path.write_text(yaml.safe_dump(configuration))
    (port,) = free_ports(1)
    command = (
        program,
        f"--config.file={path}",
        f"--storage.tsdb.path={directory / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    )
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as client,
        child_process("prometheus", command, environment=child_environment()) as child,
    ):
        ready = re.compile("Server is ready to receive web requests")
        await child.line(ready, timeout_seconds=PATIENT_SECONDS)
        yield Prometheus(f"http://127.0.0.1:{port}", client)


def _found_here(job: dict[str, Any], targets: Sequence[Target]) -> dict[str, Any]:
    """Replace the discovery of *job*; the labels are what Kubernetes discovery would have said."""
    job = {name: value for name, value in job.items() if name != "kubernetes_sd_configs"}
    static = [{"targets": [address], "labels": dict(labels)} for address, labels in targets]
    return {**job, "static_configs": static}
