"""How tests are spread over processes, and that none of them is timed."""

from typing import Any

import pytest
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

# Hypothesis gives each example 200 ms unless told otherwise, and machines have other things to do.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

pytest_plugins = ["tests.support.answered_reasons"]

_TOGETHER = ("tests/interop/", "tests/cluster/")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling | None:
    """With ``--dist loadgroup``, give each issuer's tests to one process: it has one server.

    By path, because pytest-xdist 3.8 does not see its own groups under pytest 9.
    """
    return _ByServer(config, log) if config.getoption("dist") == "loadgroup" else None


class _ByServer(LoadScopeScheduling):  # type: ignore[misc]
    """Each test goes wherever there is room, but those of a file whose tests share a server."""

    def _split_scope(self, nodeid: str) -> str:
        return nodeid.partition("::")[0] if nodeid.startswith(_TOGETHER) else nodeid
