"""Amounts of CPU and memory as Kubernetes writes them."""

import re
from decimal import Decimal
from typing import Final

from sidecar.config.values import Complaint

_FORM: Final = re.compile(
    r"(?P<number>[0-9]{1,15}(?:\.[0-9]{1,9})?)(?P<suffix>m|k|M|G|T|Ki|Mi|Gi|Ti)?"
)
_FACTORS: Final = {
    "": Decimal(1), "m": Decimal("0.001"), "k": Decimal(10**3), "M": Decimal(10**6),
    "G": Decimal(10**9), "T": Decimal(10**12), "Ki": Decimal(1 << 10), "Mi": Decimal(1 << 20),
    "Gi": Decimal(1 << 30), "Ti": Decimal(1 << 40),
}  # fmt: skip

NONE: Final = "none"
LEAST_MEMORY_LIMIT: Final = Decimal(64 << 20)
"""The sidecar has 59 MiB resident when it is idle (docs/performance.md)."""


def amount(text: str) -> Decimal:
    """Return what *text* stands for, in cores or bytes. Raises ``Complaint``."""
    match = _FORM.fullmatch(text)
    if match is None:
        raise Complaint("is not a quantity such as 10m, 0.5, 64Mi or 1Gi")
    return Decimal(match["number"]) * _FACTORS[match["suffix"] or ""]


def cpu(text: str) -> str:
    """A quantity of CPU, kept as written; ``none`` becomes the empty text."""
    if text == NONE:
        return ""
    found = amount(text)
    if text.endswith("i") or found > 1000:
        raise Complaint("is not a quantity of CPU, such as 10m (thousandths of a core) or 1")
    if found < Decimal("0.001"):
        raise Complaint("must be at least 1m")
    return text


def memory_request(text: str) -> str:
    """A quantity of memory, kept as written; ``none`` becomes the empty text."""
    if text == NONE:
        return ""
    found = amount(text)
    if text.endswith("m"):
        raise Complaint("counts thousandths of a byte", f"{text.removesuffix('m')}Mi")
    if found < 1 << 20:
        raise Complaint("must be at least 1Mi")
    return text


def memory_limit(text: str) -> str:
    """As ``memory_request``, and enough to start with."""
    written = memory_request(text)
    if written and amount(written) < LEAST_MEMORY_LIMIT:
        raise Complaint("must be at least 64Mi: with less the sidecar cannot start")
    return written
