"""``sidecar.telemetry.access_log``: what a line holds, what bounds it, and who never waits."""

import json
import math
import os
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest

from sidecar.telemetry.access_log import MAX_TEXT_LENGTH, AccessLog, Mode
from sidecar.telemetry.lines import MAX_BATCH_BYTES, MAX_BATCH_LINES, MAX_WAITING_BATCHES
from sidecar.telemetry.records import AccessRecord, AttributionRecord
from sidecar.telemetry.writer import DescriptorWriter

NOW = 1_800_000_000.25


@dataclass
class Sink:
    """Keeps the batches it is given; while its gate is closed, writing blocks like a full pipe."""

    batches: list[bytes] = field(default_factory=list)
    gate: threading.Event = field(default_factory=threading.Event)
    entered: threading.Event = field(default_factory=threading.Event)

    def __call__(self, batch: bytes) -> None:
        self.entered.set()
        assert self.gate.wait(60)
        self.batches.append(batch)

    def records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in b"".join(self.batches).splitlines()]


@pytest.fixture
def sink() -> Sink:
    sink = Sink()
    sink.gate.set()
    return sink


@pytest.fixture
def stalled() -> Iterator[Sink]:
    sink = Sink()
    yield sink
    sink.gate.set()


def record(**changes: Any) -> AccessRecord:
    values: dict[str, Any] = {
        "direction": "inbound",
        "decision": "d-1",
        "method": "GET",
        "path": "/profiles/alice",
        "status": 200,
        "duration_ms": 12.3456,
        "overhead_ms": 0.0789,
    }
    return AccessRecord(**(values | changes))


def written(sink: Sink, *records: AccessRecord, mode: Mode = "all") -> list[dict[str, Any]]:
    """Return what the sink got of *records* by the time the log was closed."""
    log = AccessLog(sink, mode, clock=lambda: NOW)
    for each in records:
        log.add(each)
    log.close()
    assert log.dropped == 0
    return sink.records()


# --- what a line holds ---


def test_a_plain_exchange_has_only_what_it_has(sink: Sink) -> None:
    """Absent values are left out, times have milliseconds, durations microseconds."""
    assert written(sink, record()) == [
        {
            "time": "2027-01-15T08:00:00.250Z",
            "direction": "inbound",
            "decision": "d-1",
            "method": "GET",
            "path": "/profiles/alice",
            "status": 200,
            "duration_ms": 12.345,
            "overhead_ms": 0.078,
        }
    ]


def test_a_refused_outbound_call_has_everything(sink: Sink) -> None:
    """Every field can be read back under its name."""
    full = {
        "route": "profile-service",
        "reason": "attribution_dead",
        "detail": "the request ended 3 s before",
        "enforced": False,
        "issuer": "shop",
        "subject": "alice",
        "token": "0123456789abcdef",
        "destination": "profile-service",
    }
    evidence = {"method": "header", "grade": "strict", "outcome": "dead"}
    (line,) = written(sink, record(attribution=AttributionRecord(**evidence), **full))
    assert line.items() >= full.items()
    assert line["attribution"] == evidence


@pytest.mark.parametrize(
    ("now", "text"),
    [
        (0.0, "1970-01-01T00:00:00.000Z"),
        (1_799_999_999.9999, "2027-01-15T07:59:59.999Z"),
        (1_800_000_000.0, "2027-01-15T08:00:00.000Z"),
        (1_800_000_000.001, "2027-01-15T08:00:00.001Z"),
    ],
)
def test_the_time_is_utc_cut_to_milliseconds(sink: Sink, now: float, text: str) -> None:
    """The time never lies in the future, just before, at and after a full second."""
    log = AccessLog(sink, clock=lambda: now)
    log.add(record())
    log.close()
    assert sink.records()[0]["time"] == text


def test_each_line_has_its_own_time(sink: Sink) -> None:
    """Caching the text never gives a line the time of another."""
    moments = [1_800_000_000 + step / 1000 for step in (0, 0, 1, 999, 1000, 500)]
    clock = iter(moments)
    log = AccessLog(sink, clock=lambda: next(clock))
    for _ in moments:
        log.add(record())
    log.close()
    times = [datetime.fromisoformat(line["time"]) for line in sink.records()]
    assert times == [datetime.fromtimestamp(moment, UTC) for moment in moments]


@pytest.mark.parametrize("duration", [math.inf, -math.inf, math.nan])
def test_a_duration_that_is_no_number_does_not_break_the_line(sink: Sink, duration: float) -> None:
    """Whatever arithmetic made of a duration, the line is written, without it."""
    (line,) = written(sink, record(duration_ms=duration))
    assert line["duration_ms"] is None


# --- what callers may send ---


def test_a_query_never_reaches_the_log(sink: Sink) -> None:
    """Even where an exchange forgot, nothing after a question mark is written."""
    (line,) = written(sink, record(path="/a?access_token=s3cret?x"))
    assert line["path"] == "/a"
    assert b"s3cret" not in b"".join(sink.batches)


@pytest.mark.parametrize("name", ["method", "path", "subject", "detail"])
def test_what_a_caller_chooses_is_bounded(sink: Sink, name: str) -> None:
    """A value at the bound is kept whole, one over it is cut and says so."""
    whole, cut = written(
        sink,
        record(**{name: "x" * MAX_TEXT_LENGTH}),
        record(**{name: "x" * (MAX_TEXT_LENGTH + 1)}),
    )
    assert whole[name] == "x" * MAX_TEXT_LENGTH
    assert cut[name] == "x" * (MAX_TEXT_LENGTH - 1) + "…"


@pytest.mark.parametrize(
    "text", ['"}\n{"direction":"outbound', "\x00\x1b[2J\r\n", "ü\u2028\u2029😀", "\\", "\x7f\x85"]
)
def test_one_record_is_one_line_whatever_it_quotes(sink: Sink, text: str) -> None:
    """Quotes, newlines and control characters come back as they were, from a single line."""
    (line,) = written(sink, record(path=text, subject=text))
    assert (line["path"], line["subject"]) == (text, text)
    assert b"".join(sink.batches).count(b"\n") == 1


def test_half_a_surrogate_pair_does_not_break_the_line(sink: Sink) -> None:
    """Text that UTF-8 cannot say is replaced, and the lines around it are whole."""
    lines = written(sink, record(), record(subject="a\ud800b", path="/\udcff"), record())
    assert [line.get("subject") for line in lines] == [None, "a?b", None]
    assert lines[1]["path"] == "/?"


# --- which records are wanted ---


@pytest.mark.parametrize(
    ("mode", "expected"), [("all", ["", "no_rule"]), ("refusals", ["no_rule"]), ("off", [])]
)
def test_the_mode_says_which_records_are_written(
    sink: Sink, mode: Mode, expected: list[str]
) -> None:
    """``refusals`` keeps records with a reason, enforced or only observed; ``off`` keeps none."""
    lines = written(sink, record(), record(reason="no_rule", enforced=False), mode=mode)
    assert [line.get("reason", "") for line in lines] == expected


@pytest.mark.parametrize(
    ("mode", "logs_all", "logs_refusals"),
    [("all", True, True), ("refusals", False, True), ("off", False, False)],
)
def test_an_exchange_can_ask_before_it_builds_a_record(
    sink: Sink, mode: Mode, logs_all: bool, logs_refusals: bool
) -> None:
    """Two plain attributes say what is wanted."""
    log = AccessLog(sink, mode)
    assert (log.logs_all, log.logs_refusals) == (logs_all, logs_refusals)
    log.close()


# --- batches ---


def test_nothing_is_written_before_a_batch_is_full_or_flushed(sink: Sink) -> None:
    """Lines wait for the owner's flush, and a full batch goes by itself."""
    log = AccessLog(sink)
    for _ in range(MAX_BATCH_LINES - 1):
        log.add(record())
    log.flush()
    for _ in range(MAX_BATCH_LINES):
        log.add(record())
    log.add(record())
    log.flush()
    log.flush()
    log.close()
    assert [batch.count(b"\n") for batch in sink.batches] == [
        MAX_BATCH_LINES - 1,
        MAX_BATCH_LINES,
        1,
    ]


def test_long_lines_make_a_batch_full_earlier(sink: Sink) -> None:
    """What waits is bounded in bytes as well as in lines."""
    log = AccessLog(sink)
    for _ in range(MAX_BATCH_LINES - 1):
        log.add(record(path="\x01" * MAX_TEXT_LENGTH))
    log.close()
    assert len(sink.batches) > 1
    longest_line = max(len(line) for batch in sink.batches for line in batch.splitlines())
    assert max(map(len, sink.batches)) < MAX_BATCH_BYTES + MAX_BATCH_LINES + longest_line


def test_lines_keep_their_order(sink: Sink) -> None:
    """Records are written in the order in which they were added."""
    records = [record(decision=str(number)) for number in range(3 * MAX_BATCH_LINES)]
    lines = written(sink, *records)
    assert [line["decision"] for line in lines] == [each.decision for each in records]


# --- when nobody reads ---


def test_a_reader_who_stalls_costs_lines_and_nothing_else(stalled: Sink) -> None:
    """Adding goes on at the bound; what did not fit is counted, the rest is written in the end."""
    log = AccessLog(stalled)
    log.add(record(decision="first"))
    log.flush()
    assert stalled.entered.wait(60)
    total = (MAX_WAITING_BATCHES + 5) * MAX_BATCH_LINES
    for number in range(total):
        log.add(record(decision=str(number)))
    assert log.dropped == 5 * MAX_BATCH_LINES
    stalled.gate.set()
    log.close(60)
    decisions = [line["decision"] for line in stalled.records()]
    kept = total - 5 * MAX_BATCH_LINES
    assert decisions == ["first", *map(str, range(kept))]


def test_few_lines_are_kept_however_often_they_are_flushed(stalled: Sink) -> None:
    """A quiet pod's flushes do not use up the queue: lines that find it full wait here."""
    log = AccessLog(stalled)
    for number in range(MAX_WAITING_BATCHES * 3):
        log.add(record(decision=str(number)))
        log.flush()
    assert log.dropped == 0
    stalled.gate.set()
    log.close(60)
    assert len(stalled.records()) == MAX_WAITING_BATCHES * 3


def test_closing_gives_up_on_a_reader_who_stalls(stalled: Sink) -> None:
    """close() comes back although neither the batch being written nor the queue ever moves."""
    log = AccessLog(stalled)
    for _ in range((MAX_WAITING_BATCHES + 5) * MAX_BATCH_LINES):
        log.add(record())
    log.close(0.01)
    assert stalled.batches == []
    stalled.gate.set()
    log.close(60)


def test_a_pipe_that_nobody_reads_blocks_neither_add_nor_close() -> None:
    """With a real full pipe behind it the log takes every record and ends when told to."""
    reader, writer = os.pipe()
    log = AccessLog(DescriptorWriter(writer))
    for _ in range(100 * MAX_BATCH_LINES):
        log.add(record())
    log.close(0.01)
    assert log.dropped > 0
    # Without a reader the blocked write fails, so that this test leaves no thread behind.
    os.close(reader)
    log.close(60)
    os.close(writer)


def test_a_reader_who_comes_late_gets_whole_lines() -> None:
    """Everything that fits is read back from a real pipe, line by line."""
    near, far = socket.socketpair()
    with near, far:
        log = AccessLog(DescriptorWriter(near.fileno()))
        for number in range(10 * MAX_BATCH_LINES):
            log.add(record(decision=str(number)))
        log.flush()
        with far.makefile("rb") as lines:
            read = [json.loads(next(lines))["decision"] for _ in range(10 * MAX_BATCH_LINES)]
        log.close()
    assert read == [str(number) for number in range(10 * MAX_BATCH_LINES)]


# --- when writing fails ---


@pytest.mark.parametrize("error", [BrokenPipeError, OSError(28, "no space"), ValueError("closed")])
def test_a_failed_write_is_counted_and_the_log_goes_on(error: Exception) -> None:
    """Lines of a batch that could not be written are lost; the next batch is tried again."""
    kept: list[bytes] = []
    failures = iter([error, error])

    def write(batch: bytes) -> None:
        if (failure := next(failures, None)) is not None:
            raise failure
        kept.append(batch)

    log = AccessLog(write)
    for number in range(3 * MAX_BATCH_LINES):
        log.add(record(decision=str(number)))
    log.close(60)
    assert log.dropped == 2 * MAX_BATCH_LINES
    assert json.loads(kept[0].splitlines()[0])["decision"] == str(2 * MAX_BATCH_LINES)


def test_a_closed_pipe_is_counted() -> None:
    """A reader who went away loses lines and raises nothing."""
    reader, writer = os.pipe()
    os.close(reader)
    log = AccessLog(DescriptorWriter(writer))
    for _ in range(7):
        log.add(record())
    log.close(60)
    os.close(writer)
    assert log.dropped == 7


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_is_counted() -> None:
    """No space left loses lines and raises nothing."""
    descriptor = os.open("/dev/full", os.O_WRONLY)
    log = AccessLog(DescriptorWriter(descriptor))
    log.add(record())
    log.close(60)
    os.close(descriptor)
    assert log.dropped == 1


def test_records_after_closing_are_ignored(sink: Sink) -> None:
    """An exchange that outlives the log neither fails nor fills memory."""
    log = AccessLog(sink)
    log.close()
    log.add(record())
    log.flush()
    log.close()
    assert sink.batches == []
