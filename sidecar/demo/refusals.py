"""Calls that must not get through: each with its status, reason and challenge."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from sidecar.core.outcome import Reason
from sidecar.demo.asking import Answer, ask
from sidecar.demo.checks import Miss, same
from sidecar.demo.stage import Stage
from sidecar.demo.story import Story
from sidecar.testbed.users import ALICE, BOB


@dataclass(frozen=True, slots=True)
class _Refusal:
    """A call that must be refused, and how."""

    what: str
    url: str
    token: str | None = field(repr=False)
    reason: Reason


async def refusals(stage: Stage, story: Story) -> list[Miss]:
    """Five calls that must not get through, and one that must."""
    story.say("Bad tokens at user-service's sidecar, and bob at profile-service's /admin/profiles.")
    seen = [(each, await ask(stage, each.url, each.token)) for each in _refusals(stage)]
    story.table(
        ("call", "status", "reason", "WWW-Authenticate"),
        [
            (each.what, str(answer.status), answer.reason or "-", answer.challenge or "-")
            for each, answer in seen
        ],
    )
    url = f"{stage.profiles_url}/admin/profiles"
    allowed = await ask(stage, url, stage.provider.mint.token(ALICE.name))
    story.say(f"alice has the role ADMIN: for her, /admin/profiles is {allowed.status}.")
    return [
        *(miss for each, answer in seen for miss in _judged(each, answer)),
        *same("GET /admin/profiles as alice", "200", str(allowed)),
    ]


def _refusals(stage: Stage) -> Iterator[_Refusal]:
    mint, url = stage.provider.mint, f"{stage.users_url}/users/bob"
    yield _Refusal("no token", url, None, Reason.TOKEN_MISSING)
    yield _Refusal("expired", url, mint.expired(BOB.name), Reason.TOKEN_EXPIRED)
    elsewhere = mint.token(BOB.name, aud=["billing-service"])
    yield _Refusal("wrong audience", url, elsewhere, Reason.AUDIENCE_MISMATCH)
    yield _Refusal("forged signature", url, mint.forged(BOB.name), Reason.SIGNATURE_INVALID)
    admin = f"{stage.profiles_url}/admin/profiles"
    yield _Refusal("role ADMIN missing", admin, mint.token(BOB.name), Reason.ROLE_MISSING)


def _judged(refusal: _Refusal, answer: Answer) -> list[Miss]:
    facts = refusal.reason.facts
    error = f'error="{facts.error}"' if facts.error else "Bearer"
    challenged = answer.challenge.startswith("Bearer") and error in answer.challenge
    return [
        *same(refusal.what, f"{facts.status} {refusal.reason.code}", str(answer)),
        *(
            []
            if challenged
            else [Miss(refusal.what, f"a challenge with {error}", answer.challenge)]
        ),
    ]
