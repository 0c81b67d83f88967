"""The keys of ``explain``: which decisions are kept, and what of them is shown."""

from typing import Final

from sidecar.config.kinds import Choice, Integer, ListOf
from sidecar.config.model import Explain
from sidecar.config.sections import Key, Section, assemble, default_of
from sidecar.config.written import free_text

MAX_KEPT: Final = 100_000

EXPLAIN: Final = Section(
    keys=(
        Key("refusals", Integer(0, MAX_KEPT),
            "Refused requests and calls kept, also those only observed; each takes 1 KiB and what "
            "its token says, 4 KiB at most.", default=default_of(Explain, "refusals")),
        Key("permits", Integer(0, MAX_KEPT), "Permitted ones kept, apart from those.",
            default=default_of(Explain, "permits")),
        Key("redact", ListOf(free_text("string")),
            "Claims whose values are shown as `[redacted]`, such as `email`; `sub` hides the "
            "subject.", default=default_of(Explain, "redact"), default_text="none"),
        Key("decision_ids", Choice(("refusals", "all")),
            "Which answers say their decision's id in `x-sidecar-decision`.",
            default=default_of(Explain, "decision_ids")),
    ),
    build=assemble(Explain),
)  # fmt: skip
