"""The last step: everything that happened can be read off the metrics."""

from typing import Final

from sidecar.core.outcome import Reason
from sidecar.demo.checks import Miss, at_least
from sidecar.demo.metrics import series
from sidecar.demo.stage import Stage
from sidecar.demo.steps import LEAST_CALLS
from sidecar.demo.story import Story
from sidecar.testbed.users import USERS


async def moved_metrics(stage: Stage, story: Story) -> list[Miss]:
    """Everything above can be read off the metrics."""
    story.say("By how much the counters of the two sidecars moved.")
    readings = zip(stage.before, await stage.read_metrics(), strict=True)
    users, profiles = (after.since(before) for before, after in readings)
    names = sorted(users.keys() | profiles.keys())
    story.table(
        ("counter", "user-service", "profile-service"),
        [(name, _number(users.get(name)), _number(profiles.get(name))) for name in names],
    )
    return [
        miss
        for side, moved, expectations in (
            ("user-service's sidecar", users, _EXPECTED_OF_USERS),
            ("profile-service's sidecar", profiles, _EXPECTED_OF_PROFILES),
        )
        for name, least in expectations.items()
        for miss in at_least(f"{name} of {side}", least, moved.get(name, 0))
    ]


def _rejections(direction: str, *reasons: Reason) -> dict[str, int]:
    return {
        series("sidecar_rejections_total", direction=direction, reason=reason.code): 1
        for reason in reasons
    }


_EXPECTED_OF_BOTH: Final = {
    series("sidecar_requests_total", direction="inbound", code="200"): LEAST_CALLS,
    series("sidecar_token_cache_lookups_total", result="hit"): LEAST_CALLS - 2 * len(USERS),
}
_EXPECTED_OF_USERS: Final = {
    **_EXPECTED_OF_BOTH,
    series("sidecar_requests_total", direction="outbound", code="200"): LEAST_CALLS,
    series(
        "sidecar_attributions_total", method="header", grade="strict", outcome="attached"
    ): LEAST_CALLS,
    **_rejections(
        "inbound",
        Reason.TOKEN_MISSING,
        Reason.TOKEN_EXPIRED,
        Reason.AUDIENCE_MISMATCH,
        Reason.SIGNATURE_INVALID,
    ),
    **_rejections("outbound", Reason.ATTRIBUTION_MISSING),
}
_EXPECTED_OF_PROFILES: Final = {**_EXPECTED_OF_BOTH, **_rejections("inbound", Reason.ROLE_MISSING)}


def _number(change: int | None) -> str:
    return str(change or 0)
