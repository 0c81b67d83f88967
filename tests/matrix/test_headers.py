"""What callers send and what a tracer adds: neither gives, takes or changes anybody's identity."""

from collections.abc import Mapping

import pytest

from sidecar.core.names import HANDLE_PREFIX, HANDLE_RANDOM_LENGTH
from tests.matrix.cells import Errand, Load, run
from tests.matrix.expectations import deviations
from tests.matrix.pods import CARRIER, Users, pod, traced
from tests.support.needs import needs_module

pytestmark = pytest.mark.timeout(120)

FORGED = HANDLE_PREFIX + "7" * HANDLE_RANDOM_LENGTH
TRACEPARENT = ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
FEW = (Load(users=30, in_flight=10),)
PLAIN = ("-m", "tests.apps.http_server_app", "0")
FLASK = ("-m", "tests.apps.flask_dev", "0")

FIELDS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "header": (("x-sidecar-context", FORGED),),
    "header in capitals": (("X-SIDECAR-CONTEXT", FORGED),),
    "header with underscores": (("x_sidecar_context", FORGED),),
    "header twice": (("x-sidecar-context", FORGED), ("X-Sidecar-Context", FORGED)),
    "header and self-report": (
        ("x-sidecar-context", FORGED),
        ("x-sidecar-carrier", "python/0.1.0; grade=strict"),
    ),
    "baggage": (("baggage", f"sdctx={FORGED}"),),
    "baggage among others": (("baggage", f"a=1, sdctx={FORGED};p=1 ,b=2"),),
    "baggage twice": (("baggage", f"sdctx={FORGED}"), ("Baggage", f"sdctx={FORGED}")),
    "baggage, percent-encoded": (("baggage", f"%73dctx={FORGED}"),),
    "correlation-context": (("correlation-context", f"sdctx={FORGED}"),),
    "tracestate": (TRACEPARENT, ("tracestate", f"sdctx={FORGED},other=1")),
    "tracestate twice": (
        TRACEPARENT,
        ("tracestate", f"sdctx={FORGED}"),
        ("tracestate", f"sdctx={FORGED}"),
    ),
    "tracestate of 40 members": (
        TRACEPARENT,
        ("tracestate", ",".join(f"k{n}={n}" for n in range(40))),
    ),
    "baggage of 9 kB": (("baggage", ",".join(f"k{n}={'v' * 80}" for n in range(106))),),
    "bad members": (TRACEPARENT, ("tracestate", "A.b=1,=,,x"), ("baggage", "=;,,novalue")),
}


async def test_what_callers_send(users: Users) -> None:
    """Callers who forge our keys in any spelling, or send much, call out as themselves."""
    found = {}
    async with pod(users, PLAIN) as running:
        for name, fields in FIELDS.items():
            errand = Errand("direct", "http_client", "strict", fields=fields)
            result = await run(running, errand, FEW)
            if deviations(errand, result):
                found[name] = (deviations(errand, result), str(result))
    assert not found


async def test_opentelemetry_beside(users: Users) -> None:
    """With a tracer in the same app, the strict carrier is as right as without."""
    for module in ("flask", "requests", "opentelemetry.instrumentation.auto_instrumentation"):
        needs_module(module)
    environment = {**traced(beside=CARRIER), "SIDECAR_CARRIER": "grade=strict"}
    fields = (TRACEPARENT, ("tracestate", "other=1"), ("baggage", "theirs=1"))
    cells = [
        (Errand("direct", "requests", "strict", fields=fields), FEW),
        (Errand("executor_block", "urllib3", "strict", fields=fields), FEW),
        (Errand("lazy_thread", "requests", "strict", True, fields), (Load(40, 20),)),
    ]
    async with pod(users, FLASK, environment=environment) as running:
        for errand, loads in cells:
            result = await run(running, errand, loads)
            assert not deviations(errand, result), result
