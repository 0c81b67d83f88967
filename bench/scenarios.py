"""What is sent to the proxies, and the rounds in which they take turns."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.cores import Sample, take_sample, usage_between
from bench.processes import Memory, Process
from bench.proxy import Proxy
from bench.report import progress
from bench.results import Run
from bench.wrk import Load, run_wrk

BROWSER_FIELDS: Final = {
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Accept": "application/json, text/plain, */*",
    "Accept-Language": "en-GB,en;q=0.8,de;q=0.6",
    "Accept-Encoding": "gzip, deflate, br",
    "Cache-Control": "no-cache",
    "X-Request-Id": "3f0e7b7c-5d0b-4a55-9d8e-0b1f5f1f7a11",
    "Traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    "X-Client-Version": "web-shop/5.14.2",
}
"""With Host and Authorization: ten header fields."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """One kind of request, sent to each of *proxies*."""

    title: str
    proxies: tuple[str, ...]
    headers: Mapping[str, str]
    tokens: Path | None = None
    """One token per line, the next one for each request; ``None``: as *headers* say."""
    path: str = "/"
    connections: int | None = None
    """``None``: as many as the run was told."""


@dataclass(frozen=True, slots=True)
class Running:
    """A proxy that is up, and its memory before the first request if that was asked for."""

    proxy: Proxy
    process: Process
    idle: Memory | None


def same_token(proxies: tuple[str, ...], token: str) -> list[Scenario]:
    """Send one token all the time, with few header fields and with as many as a browser sends."""
    bearer = {"Authorization": f"Bearer {token}"}
    size = f"token of {len(token)} bytes"
    return [
        Scenario(f"GET with 2 header fields, {size}", proxies, bearer),
        Scenario(f"GET with 10 header fields, {size}", proxies, {**bearer, **BROWSER_FIELDS}),
    ]


def new_tokens(proxies: tuple[str, ...], tokens: Sequence[str], file: Path) -> Scenario:
    """Send *tokens* in turn, written to *file* for wrk to read."""
    file.write_text("".join(f"{token}\n" for token in tokens))
    title = f"GET, every token new ({len(tokens)} in turn, more than the caches hold)"
    return Scenario(title, proxies, {}, tokens=file)


def warm_up(running: Mapping[str, Running], load: Load, token: str) -> None:
    """Fill caches and connection pools."""
    progress("warming up")
    for one in running.values():
        run_wrk(one.proxy.url, load, headers={"Authorization": f"Bearer {token}"})


def run_rounds(
    scenario: Scenario,
    running: Mapping[str, Running],
    load: Load,
    *,
    proxy_core: int,
    rounds: int,
) -> Iterator[Run]:
    """Yield one run per round and proxy: A B C, A B C, …"""
    for number in range(1, rounds + 1):
        progress(f"{scenario.title}: round {number} of {rounds}")
        for name in scenario.proxies:
            yield _run_once(scenario, running[name], load, proxy_core=proxy_core, number=number)


def _run_once(
    scenario: Scenario, running: Running, load: Load, *, proxy_core: int, number: int
) -> Run:
    if scenario.connections is not None:
        load = dataclasses.replace(load, connections=scenario.connections)
    samples: list[Sample] = []
    report = run_wrk(
        running.proxy.url + scenario.path.removeprefix("/"),
        load,
        headers=scenario.headers,
        tokens=scenario.tokens,
        watch=lambda: samples.append(take_sample(running.process.pid)),
    )
    before, after = samples
    usage = usage_between(before, after, proxy_core=proxy_core, load_core=load.core)
    return Run(scenario.title, running.proxy.name, number, report, usage)
