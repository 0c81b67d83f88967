"""An exchange around another one, for what is there only where something is configured."""

from sidecar.core.outcome import Reason
from sidecar.wire.exchange import Action, Answer, Exchange, Timing
from sidecar.wire.heads import ResponseHead


class AroundExchange:
    """Does what the inner exchange does; whoever adds to that overrides."""

    def __init__(self, inner: Exchange) -> None:
        self.inner = inner

    def amend(self, answer: Answer) -> Answer:
        """Return what is answered in place of a response from behind."""
        return answer

    def start(self) -> Action:
        return self._acted(self.inner.start())

    def resume(self) -> Action:
        return self._acted(self.inner.resume())

    def commit(self) -> bytes | Answer:
        lines = self.inner.commit()
        return self.amend(lines) if isinstance(lines, Answer) else lines

    def again(self, head: ResponseHead) -> Action | None:
        action = self.inner.again(head)
        return None if action is None else self._acted(action)

    def respond(self, head: ResponseHead) -> None:
        self.inner.respond(head)

    def fail(self, reason: Reason, detail: str) -> Answer:
        return self.amend(self.inner.fail(reason, detail))

    def finish(self, status: int, timing: Timing, fault: Reason | None, *, whole: bool) -> None:
        self.inner.finish(status, timing, fault, whole=whole)

    def _acted(self, action: Action) -> Action:
        return self.amend(action) if isinstance(action, Answer) else action
