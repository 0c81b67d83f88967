"""Start the carrier in whatever Python process has this directory on ``PYTHONPATH``.

The interpreter imports only the first ``sitecustomize`` it finds. This one activates the carrier
and then runs the next one as if that had been the first, errors included. In this order because
the next one may wrap libraries, too: OpenTelemetry's wraps coroutines, and a permit belongs to the
coroutine that is run in the end. When another one comes first and does not do the same, the
carrier is absent: calls go out without a handle and the sidecar refuses them.
"""

import os
import sys


def _run_next() -> None:
    """Execute the next ``sitecustomize`` further down ``sys.path``, under that name."""
    from importlib.machinery import PathFinder

    here = os.path.realpath(os.path.dirname(__file__))
    ours = [i for i, entry in enumerate(sys.path) if os.path.realpath(entry) == here]
    # Only what comes after us: two copies of this file must not call each other for ever.
    spec = PathFinder.find_spec(__name__, sys.path[ours[-1] + 1 :]) if ours else None
    if spec is None or spec.loader is None:
        return
    from importlib.util import module_from_spec

    module = sys.modules[__name__] = module_from_spec(spec)
    spec.loader.exec_module(module)


def _activate() -> None:
    try:
        import sidecar_carrier  # type: ignore[import-not-found]  # found on PYTHONPATH

        sidecar_carrier.activate()
    except Exception as error:
        sys.stderr.write("sidecar carrier: not active: %r\n" % (error,))
        sys.stderr.flush()


_activate()
_run_next()
