"""What must come of the calls of each style, by grade."""

from enum import Enum
from typing import Final

from tests.matrix.cells import Errand, Result
from tests.matrix.pods import Grade, Terms

_PASSING_ERROR: Final = "503"
"""The destination failed three times in a row; that is not about attribution."""
_RACE_OF_HTTPX: Final = frozenset({"ReadError", "ReadTimeout", "WriteError"})
"""httpcore's pool for threads may close a connection that it has just given to another thread
(encode/httpcore#1110), with or without a carrier.
"""
_NOBODY: Final = frozenset({"attribution_missing"})
_LATE: Final = frozenset({"attribution_missing", "attribution_dead"})


class Outcome(Enum):
    """What a cell may come to; the value is how the report says it."""

    OK = "ok"
    """Every call of a request that was not given up carried its own user's token."""
    NONE = "none"
    """Every call was refused because it carried no handle."""
    DEAD = "dead"
    """Every call was refused: it carried no handle, or one whose request had ended."""
    OWN = "own or none"
    """A call carried its own user's token or was refused."""
    LINGERS = "late"
    """After the response a call carried its own user's token, or its caller had hung up."""
    COUNTED = "counted"
    """Whatever the carrier follows may serve others: wrong by nature at this grade."""
    LEADS = "leads"
    """The request's own code calls for others: wrong by nature at every grade."""


_STRUCTURED: Final = (
    "direct twice generator copied_context executor_block asyncio_run loop_of_the_thread "
    "await_chain gather gather_nested task_group wait_for timeout_block to_thread "
    "run_in_executor async_generator async_context semaphore"
)
_FOLLOWED: Final = "executor_shared bare_task shield gathered_tasks as_completed call_soon"
_NOT_FOLLOWED: Final = "thread timer gevent_spawn other_loop"
_AFTERWARDS: Final = (
    "background detached_thread detached_task detached_in_executor timed_out_thread"
)
_FOLLOWED_LATE: Final = frozenset(
    {"background", "detached_task", "detached_in_executor", "timed_out_thread"}
)
_EAGER: Final = "eager_worker"
_LAZY: Final = (
    "lazy_thread lazy_timer lazy_thread_in_copied_context lazy_in_executor lazy_greenlet "
    "lazy_in_kept_pool lazy_in_pool_of_generator lazy_in_kept_group lazy_in_group_of_generator "
    "lazy_in_anyio_group lazy_left_behind lazy_in_given_up_thread "
    "lazy_task lazy_by_call_soon lazy_by_gather lazy_in_shared_group batcher data_loader"
)
_LEADS: Final = "leader_batch leader_pool leader_group"
_PROCESSES: Final = "fork child_process multiprocessing_child"

_OUTCOMES: Final[dict[str, tuple[Outcome, Outcome, Outcome]]] = {
    **dict.fromkeys(_STRUCTURED.split(), (Outcome.OK, Outcome.OK, Outcome.OK)),
    **dict.fromkeys(_FOLLOWED.split(), (Outcome.NONE, Outcome.OK, Outcome.OK)),
    **dict.fromkeys(_NOT_FOLLOWED.split(), (Outcome.NONE, Outcome.OWN, Outcome.OWN)),
    "thread_in_copied_context": (Outcome.NONE, Outcome.NONE, Outcome.OK),
    "done_callback": (Outcome.OWN, Outcome.OWN, Outcome.COUNTED),
    "single_flight": (Outcome.OWN, Outcome.OWN, Outcome.OWN),
    **dict.fromkeys(_AFTERWARDS.split(), (Outcome.DEAD, Outcome.DEAD, Outcome.DEAD)),
    **dict.fromkeys(_EAGER.split(), (Outcome.NONE, Outcome.NONE, Outcome.NONE)),
    **dict.fromkeys(_LAZY.split(), (Outcome.NONE, Outcome.COUNTED, Outcome.COUNTED)),
    **dict.fromkeys(_LEADS.split(), (Outcome.LEADS, Outcome.LEADS, Outcome.LEADS)),
    **dict.fromkeys(_PROCESSES.split(), (Outcome.NONE, Outcome.OWN, Outcome.OWN)),
}
STYLES: Final = tuple(_OUTCOMES)


def expected(style: str, grade: Grade, terms: Terms = "usual") -> Outcome:
    """What *style* must come to; ``KeyError`` for one that nobody has thought about."""
    strict, standard, compat = _OUTCOMES[style]
    outcome = {"strict": strict, "standard": standard, "compat": compat}[grade]
    if terms == "exclusive" and outcome in (Outcome.COUNTED, Outcome.LEADS):
        return Outcome.OWN
    if terms == "linger" and outcome is Outcome.DEAD:
        return _late(style, grade)
    return outcome


def _late(style: str, grade: Grade) -> Outcome:
    """Of work that outlives its response where that may call: only what the carrier follows."""
    if style == "background" and grade == "strict":
        return Outcome.LINGERS
    if grade == "standard":
        return Outcome.LINGERS if style in _FOLLOWED_LATE else Outcome.OWN
    return Outcome.DEAD


def deviations(errand: Errand, result: Result, outcome: Outcome | None = None) -> list[str]:
    """In what *result* is not as expected, in words; empty when all is well."""
    outcome = outcome or expected(errand.style, errand.grade, errand.terms)
    found = []
    if result.wrong and outcome not in (Outcome.COUNTED, Outcome.LEADS):
        found.append(f"{result.wrong} WRONG")
    if result.leaked:
        found.append(f"{result.leaked} calls arrived with a header of the carrier's")
    if result.anonymous:
        found.append(f"{result.anonymous} calls arrived without a token")
    if result.unanswered:
        found.append(f"requests unanswered: {dict(result.unanswered)}")
    if not result.calls:
        found.append("no calls were made")
    found += _of_outcome(outcome, result, _passing(errand.client))
    return found


def _passing(client: str) -> frozenset[str]:
    """What an app may be told about a call that has nothing to do with attribution."""
    return _RACE_OF_HTTPX | {_PASSING_ERROR} if client == "httpx" else frozenset({_PASSING_ERROR})


def _of_outcome(outcome: Outcome, result: Result, passing: frozenset[str]) -> list[str]:
    match outcome:
        case Outcome.OK:
            other = {a: n for a, n in result.answers.items() if a != "200" and a not in passing}
            return [f"not all went through: {other}"] if other or not result.right else []
        case Outcome.NONE:
            return _only_refused(result, _NOBODY)
        case Outcome.DEAD:
            return _only_refused(result, _LATE)
        case Outcome.LINGERS:
            late = ["no call went through"] if not result.right else []
            return late + _only_for(result, _LATE)
        case Outcome.OWN | Outcome.COUNTED | Outcome.LEADS:
            return []


def _only_refused(result: Result, reasons: frozenset[str]) -> list[str]:
    found = [f"{result.right} calls were attributed"] if result.right else []
    return found + _only_for(result, reasons)


def _only_for(result: Result, reasons: frozenset[str]) -> list[str]:
    other = {reason: n for reason, n in result.refused.items() if reason not in reasons}
    return [f"refused for other reasons: {other}"] if other else []
