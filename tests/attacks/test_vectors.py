"""The published tokens against a running sidecar, each with its own key set, issuer and time.

``tests/core/test_vectors.py`` runs all of them against the verifier and says where we are stricter.
"""

import json
from pathlib import Path
from typing import Any, Final

import pytest

from sidecar.config.model import JwksFile
from tests.attacks.sending import answer_to
from tests.core.test_vectors import REFUSED_THOUGH_ACCEPTABLE, TOKENS
from tests.support.pod import pod

CLAIMED: Final = [case for case in TOKENS if case["layer"] == "jwt"]
"""Those whose payload is a claims set; the others are about the signature alone."""


@pytest.mark.parametrize("case", CLAIMED, ids=lambda case: str(case["name"]))
async def test_published_tokens_get_their_answer(case: dict[str, Any], tmp_path: Path) -> None:
    """A token that is good at its time is served; any other is refused, and no app sees it.

    A key set that has nothing for us, such as one of symmetric keys, is 503: never acceptance.
    """
    keys, audience = tmp_path / "published.json", case["audience"]
    keys.write_text(json.dumps(case["jwks"]))
    issuer = {
        "issuer": case["issuer"],
        "keys": JwksFile(str(keys)),
        "audiences": None if audience is None else (audience,),
        "profile": "generic",
        "leeway_seconds": 0.0,
        "require_exp": False,
    }
    good = case["expect"] == "accept" and case["name"] not in REFUSED_THOUGH_ACCEPTABLE
    async with pod(tmp_path, issuer=issuer, wall_clock=lambda: float(case["now"])) as running:
        status, reason = await answer_to(running.bound.inbound, b"Bearer " + case["token"].encode())
        assert status in ((200,) if good else (401, 503))
        assert (reason == "") is good
        assert len(running.app.received) == int(good)


def test_every_published_token_with_claims_is_run() -> None:
    """None is left out, and some of them are good."""
    assert len(CLAIMED) == 39
    assert {case["expect"] for case in CLAIMED} == {"accept", "reject"}
