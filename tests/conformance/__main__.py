"""``python -m tests.conformance``: run the published cases and write the page; see ``--help``."""

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from tests.conformance.front import front
from tests.conformance.page import render
from tests.conformance.public import Judged, run_all


async def judge() -> Judged:
    """Run the published cases against a sidecar of our own."""
    with tempfile.TemporaryDirectory() as directory:
        async with front(Path(directory)) as running:
            judged = await run_all(running.inbound)
            running.inbound.check()
    return judged


def main() -> int:
    parser = argparse.ArgumentParser(description="Run the published cases for HTTP/1.1 parsers.")
    parser.add_argument("--write", type=Path, help="write the page here instead of printing it")
    options = parser.parse_args()
    judged = asyncio.run(judge())
    if options.write is None:
        sys.stdout.write(render(judged))
    else:
        options.write.write_text(render(judged), "utf-8")
    for complaint in judged.complaints:
        sys.stderr.write(complaint + "\n")
    return 1 if judged.complaints else 0


if __name__ == "__main__":
    sys.exit(main())
