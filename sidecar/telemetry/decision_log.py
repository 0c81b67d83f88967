"""One JSON line per decision, complete enough to be decided again under other rules.

Owns which exchanges are recorded and the bounds of a record. Who the caller is in it belongs to
``sidecar.telemetry.decision_callers``, the form to ``.decision_records``, reading it back to
``sidecar.rehearsal``.
"""

import time
from collections.abc import Callable
from typing import Final, Literal

from msgspec.json import Encoder

from sidecar.core.outcome import Denial
from sidecar.core.principal import Credential, Principal
from sidecar.telemetry.decision_callers import Callers, RecordedCaller, quoted
from sidecar.telemetry.decision_records import FORMAT, TOKEN_REASONS, DecisionRecord
from sidecar.telemetry.lines import Lines, Moments
from sidecar.telemetry.records import AttachedRecord

MAX_PATH_BYTES: Final = 4096
MAX_TEXT_BYTES: Final = 512
"""Of a method or a host."""
MAX_KEPT_CALLERS: Final = 4096
MAX_KEPT_BYTES: Final = 4 * 1024 * 1024
"""Of callers that are kept ready; then all are made anew."""


class DecisionLog:
    """Records decisions and hands them on in batches. Never raises, never waits."""

    def __init__(
        self,
        write: Callable[[bytes], object],
        callers: Callers,
        *,
        refusals_only: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Call *write*, in a thread of our own, with batches of whole lines."""
        self._refusals_only = refusals_only
        self._callers = callers
        self._clock = clock
        self._lines = Lines(write, "decision-log")
        self._moments = Moments()
        self._encode = Encoder().encode
        self._kept: dict[bytes, tuple[Principal, RecordedCaller]] = {}
        self._kept_bytes = 0
        self._is_open = True

    def describe_by(self, callers: Callers) -> None:
        """Describe callers by *callers* from now on."""
        self._callers = callers
        self._kept.clear()
        self._kept_bytes = 0

    @property
    def dropped(self) -> int:
        """Lines lost so far, for want of a reader or because writing failed."""
        return self._lines.dropped

    def inbound(
        self,
        *,
        decision: str,
        method: bytes,
        host: bytes,
        path: bytes,
        rule: str,
        status: int,
        credential: Credential | None,
        denial: Denial | None,
        enforced: bool,
        sent: bool | None,
        patterns: tuple[str, ...] = (),
        transaction: str = "",
    ) -> None:
        """Record a request to the app. *path* may still have its query.

        *sent*: whether the request came with a credential, ``None`` where that was not looked for.
        *patterns*: the paths of the rule. *transaction* is ``txn`` of the transaction token.
        """
        if not self._wants(denial):
            return
        record = self._begun("inbound", decision, method, host, status, denial, enforced)
        record.rule = rule
        record.transaction = transaction
        path = path.partition(b"?")[0]
        if credential is not None:
            caller = self._caller(credential)
            record.presented = "verified"
            record.caller = caller.content
            if caller.hidden:
                path = caller.cleaned(path, patterns)
        elif denial is not None and denial.reason.code in TOKEN_REASONS:
            record.presented = "none" if denial.reason.code == "token_missing" else "refused"
        elif sent is None:
            record.presented = "unknown"
        else:
            record.presented = "unread" if sent else "none"
        self._finish(record, path)

    def outbound(
        self,
        *,
        decision: str,
        method: bytes,
        host: bytes,
        path: bytes,
        destination: str,
        status: int,
        cause: str,
        attached: Credential | None,
        denial: Denial | None,
        enforced: bool,
        obtained: AttachedRecord | None = None,
        transaction: str = "",
    ) -> None:
        """Record a call of the app. *attached* is the caller's credential that went with it,
        *obtained* what is known of another token that did, *transaction* ``txn`` of the
        transaction token that did.
        """
        if not self._wants(denial):
            return
        record = self._begun("outbound", decision, method, host, status, denial, enforced)
        record.destination = destination
        record.cause = cause
        record.transaction = transaction
        path = path.partition(b"?")[0]
        if obtained is not None:
            record.attached = "token"
            record.obtained = self._callers.veiled(obtained)
        elif attached is None:
            record.attached = "none"
        else:
            caller = self._caller(attached)
            record.attached = "token"
            record.issuer = attached.principal.issuer_name
            record.client = caller.client
            record.audiences = caller.audiences
            if caller.hidden:
                path = caller.cleaned(path)
        self._finish(record, path)

    def flush(self) -> None:
        """Hand over what there is."""
        self._lines.flush()

    def close(self, timeout_seconds: float = 2.0) -> None:
        """Write what was added and end; wait at most *timeout_seconds*. Later ones are ignored.

        Blocks its caller, so it belongs after the last exchange. May be called again.
        """
        self._is_open = False
        self._lines.close(timeout_seconds)

    def _wants(self, denial: Denial | None) -> bool:
        return self._is_open and (denial is not None or not self._refusals_only)

    def _begun(
        self,
        direction: Literal["inbound", "outbound"],
        decision: str,
        method: bytes,
        host: bytes,
        status: int,
        denial: Denial | None,
        enforced: bool,
    ) -> DecisionRecord:
        return DecisionRecord(
            record=FORMAT,
            time=self._moments.told(self._clock()),
            id=decision,
            direction=direction,
            method=method[:MAX_TEXT_BYTES].decode("latin-1"),
            host=host[:MAX_TEXT_BYTES].decode("latin-1"),
            path="",
            status=status,
            allowed=denial is None or not enforced,
            reason="" if denial is None else denial.reason.code,
            enforced=None if denial is None else enforced,
        )

    def _finish(self, record: DecisionRecord, path: bytes) -> None:
        path = quoted(path)
        if len(path) > MAX_PATH_BYTES:
            path = path[:MAX_PATH_BYTES]
            record.cut = True
        record.path = path.decode("ascii")
        self._lines.add(self._encode(record))

    def _caller(self, credential: Credential) -> RecordedCaller:
        principal = credential.principal
        kept = self._kept.get(credential.digest)
        # An issuer that was asked again may say something else of the same token.
        if kept is not None and kept[0] is principal:
            caller = kept[1]
        else:
            caller = self._callers.recorded(principal)
            if len(self._kept) >= MAX_KEPT_CALLERS or self._kept_bytes >= MAX_KEPT_BYTES:
                self._kept.clear()
                self._kept_bytes = 0
            self._kept[credential.digest] = principal, caller
            self._kept_bytes += caller.size_bytes
        return caller
