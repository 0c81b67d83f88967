"""Every attack of the corpus against a running sidecar, on real sockets."""

from collections import Counter
from pathlib import Path

import pytest

from tests.attacks.corpus import ATTACKS, GROUPS, Attack
from tests.attacks.forge import ALGORITHMS, Forge, honest_mint
from tests.attacks.sending import answer_to
from tests.support.pod import pod, records


def value_of(attack: Attack, forge: Forge) -> bytes:
    made = attack.make(forge)
    return made if attack.is_value else b"Bearer " + made


@pytest.mark.parametrize("group", GROUPS)
async def test_every_attack_is_refused_and_an_honest_request_still_passes(
    group: str, tmp_path: Path
) -> None:
    """Each token gets its status and reason, none reaches the app, and alice is served after it."""
    forge = honest_mint()
    honest = b"Bearer " + forge.token("alice").encode()
    wrong = []
    attacks = [attack for attack in ATTACKS if attack.group == group]
    async with pod(tmp_path, mint=forge) as running:
        for attack in attacks:
            got = await answer_to(running.bound.inbound, value_of(attack, forge))
            if got != (attack.status, attack.reason.code):
                wrong.append((attack.name, got, attack.reason.code))
            assert await answer_to(running.bound.inbound, honest) == (200, "")
        assert wrong == []
        assert len(running.app.received) == len(attacks)
        assert {r.values("x-auth-subject")[0] for r in running.app.received} == {"alice"}
    logged = [each for each in records(running) if each["status"] != 200]
    assert [each["reason"] for each in logged] == [attack.reason.code for attack in attacks]
    for attack in attacks:
        token = attack.make(forge).decode("latin-1")
        assert not any(len(part) > 40 and part in str(logged) for part in token.split("."))


@pytest.mark.parametrize("kid", ALGORITHMS)
async def test_the_forge_makes_good_tokens_too(kid: str, tmp_path: Path) -> None:
    """Without an attack its tokens pass, so that each is refused for what is wrong with it."""
    forge = honest_mint()
    async with pod(tmp_path, mint=forge) as running:
        value = b"Bearer " + forge.signed(kid=kid)
        assert await answer_to(running.bound.inbound, value) == (200, "")
        value = b"bearer   " + forge.signed(header={"typ": "application/at+JWT"})
        assert await answer_to(running.bound.inbound, value) == (200, "")


def test_the_corpus_is_large_and_each_attack_is_named_once() -> None:
    """At least 150 attacks, told apart by group and name."""
    assert len(ATTACKS) >= 150
    names = Counter((attack.group, attack.name) for attack in ATTACKS)
    assert [name for name, count in names.items() if count > 1] == []
