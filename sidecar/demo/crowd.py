"""Many users at once: does profile-service always see the one the call was made for?"""

import itertools
from collections.abc import Callable, Sequence
from urllib.parse import quote

from sidecar.demo.answers import judge_identity
from sidecar.testbed.load import Call, LoadReport, run_load


async def measure_load(
    user_service_url: str,
    mint_token: Callable[[str], str],
    users: Sequence[str],
    calls: int,
    in_flight: int,
) -> LoadReport:
    """Call user-service *calls* times, *in_flight* at a time, as each of *users* in turn.

    ``wrong`` counts answers in which profile-service's verified subject is not the user in the
    URL. Each user's token comes from *mint_token* once and is used for all their calls.
    """
    prepared = [
        Call(
            user=user,
            url=f"{user_service_url}/users/{quote(user, safe='')}",
            headers={"Authorization": f"Bearer {mint_token(user)}"},
        )
        for user in users
    ]
    return await run_load(
        itertools.islice(itertools.cycle(prepared), calls), judge_identity, in_flight=in_flight
    )
