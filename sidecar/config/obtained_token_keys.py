"""The keys of what is kept of destinations' own tokens, and how they become the model."""

from typing import Final

from sidecar.config.kinds import Boolean, Integer
from sidecar.config.model import ObtainedTokens
from sidecar.config.sections import Key, Section, assemble, default_of
from sidecar.config.written import duration, size

OBTAINED_TOKENS: Final = Section(
    keys=(
        Key("max_entries", Integer(1, 1_000_000),
            "Tokens kept: one per destination's request and caller's token.",
            default=default_of(ObtainedTokens, "max_entries")),
        Key("max_bytes", size(64 << 10, 1 << 32),
            "Memory of these tokens; the least recently used go first.",
            default=default_of(ObtainedTokens, "max_bytes")),
        Key("expiry_margin", duration(0, 600),
            "Not used for so long before their end, or for half as much more; at most for a tenth "
            "of their lifetime.", "expiry_margin_seconds",
            default_of(ObtainedTokens, "expiry_margin_seconds")),
        Key("refresh_ahead", Boolean(),
            "Replace a token that is in use at about three quarters of its lifetime, while it is "
            "used on.", default=default_of(ObtainedTokens, "refresh_ahead")),
        Key("negative", duration(0, 300),
            "How long it stands that a server refuses a token, or gives one that is no use.",
            "negative_seconds", default_of(ObtainedTokens, "negative_seconds")),
    ),
    build=assemble(ObtainedTokens),
)  # fmt: skip
