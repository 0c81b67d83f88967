"""Ready-made kinds for the written forms that many keys share."""

from typing import Final

from sidecar.config import endpoints, values
from sidecar.config.kinds import Text
from sidecar.config.model import Address


def duration(least: float, most: float) -> Text[float]:
    """A duration between *least* and *most* seconds."""
    bounds = f"{values.format_duration(least)} to {values.format_duration(most)}"
    return Text(
        "duration",
        values.duration(least, most),
        values.DURATION_PATTERN,
        bounds,
        values.format_duration,
    )


def size(least: int, most: int) -> Text[int]:
    """A size between *least* and *most* bytes."""
    bounds = f"{values.format_size(least)} to {values.format_size(most)}"
    return Text("size", values.size(least, most), values.SIZE_PATTERN, bounds, values.format_size)


def free_text(label: str) -> Text[str]:
    """Any string that can be shown."""
    return Text(label, values.text, is_free=True)


VIA: Final = Text("name", values.pseudonym, values.PSEUDONYM_PATTERN, is_free=True)
LISTEN: Final[Text[Address]] = Text("address", endpoints.listen, endpoints.ADDRESS_PATTERN)
LISTEN_OR_OFF: Final[Text[Address | None]] = Text(
    "address, or `off`",
    endpoints.listen_or_off,
    endpoints.ADDRESS_OR_OFF_PATTERN,
    format=endpoints.format_listen,
)
ORIGIN: Final = Text("origin", endpoints.origin, endpoints.ORIGIN_PATTERN)
