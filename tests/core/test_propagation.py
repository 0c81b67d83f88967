"""Handles in baggage, tracestate and swapped ids: in, out, and gone."""

import pytest

from sidecar.core.propagation import (
    BAGGAGE,
    CORRELATION,
    MAX_LIST_BYTES,
    MAX_MEMBERS,
    REQUEST_ID,
    TRACE_ID,
    TRACEPARENT,
    TRACESTATE,
    Alias,
    CompatCarrier,
    IncomingContext,
    carried_back,
    take_members,
    without_members,
)

HANDLE = b"sdc1" + b"a" * 28
FORGED = b"sdc1" + b"f" * 28
TRACE = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
LISTS: frozenset[CompatCarrier] = frozenset(("baggage", "tracestate"))


def line(name: bytes, value: bytes) -> bytes:
    """Write a field line."""
    return b"%b: %b\r\n" % (name, value)


def incoming(
    *fields: tuple[int, bytes, bytes], carriers: frozenset[CompatCarrier] = LISTS
) -> tuple[list[bytes], IncomingContext]:
    """Receive *fields* (mark, name, value); return the lines that stay, and the context."""
    context = IncomingContext(carriers, lambda count: bytes(range(count)))
    return [
        context.receive(mark, line(name, value), value) for mark, name, value in fields
    ], context


@pytest.mark.parametrize(
    ("value", "rest", "ours"),
    [
        (b"a=1,b=2", b"a=1,b=2", ()),
        (b"sdctx=%b" % HANDLE, b"", (HANDLE,)),
        (b"sdctx=%b,a=1" % HANDLE, b"a=1", (HANDLE,)),
        (b"a=1, sdctx=%b ,b=2;p=3" % HANDLE, b"a=1,b=2;p=3", (HANDLE,)),
        (b"a=1,sdctx=x,SDCTX=y", b"a=1", (b"x", b"y")),
        # Every spelling that some parser reads as our key.
        (b"%73dctx=x", b"", (b"x",)),
        (b"sd%63tx = x", b"", (b"x",)),
        (b"+sdctx=x", b"", (b"x",)),
        (b"sdctx%20=x", b"", (b"x",)),
        (b"%53DCTX=x", b"", (b"x",)),
        (b"sdctx", b"", (b"",)),
        (b"sdctx;p=1", b"", (b"",)),
        (b"sdctx=x;p=1", b"", (b"x;p=1",)),
        # What is not ours, however like it.
        (b"sdctx2=x,asdctx=y,a=sdctx", b"sdctx2=x,asdctx=y,a=sdctx", ()),
        (b"%2573dctx=x", b"%2573dctx=x", ()),
        (b"a=%2C%20, b=\xc3\xa4", b"a=%2C%20, b=\xc3\xa4", ()),
        (b"", b"", ()),
    ],
)
def test_our_members_are_told_from_all_others(
    value: bytes, rest: bytes, ours: tuple[bytes, ...]
) -> None:
    """Others keep every byte; ours are found in any spelling."""
    assert take_members(value) == (rest, ours)


@pytest.mark.parametrize(
    ("field", "value", "kept"),
    [
        (b"Baggage", b"a=1 ,sdctx=%b,b=2" % FORGED, b"Baggage: a=1 ,b=2\r\n"),
        (b"Correlation-Context", b"sdctx=%b" % FORGED, b""),
        (b"tracestate", b"congo=t61,  rojo=00", b"tracestate: congo=t61,  rojo=00\r\n"),
    ],
)
def test_callers_members_of_ours_are_removed_and_the_rest_is_not_touched(
    field: bytes, value: bytes, kept: bytes
) -> None:
    """What has nothing of ours stays the very line that came."""
    assert without_members(line(field, value), value) == kept


def test_a_field_that_is_no_carrier_is_cleaned_and_stays_where_it_is() -> None:
    """Handles in tracestate only: baggage and ids pass as they came."""
    lines, context = incoming(
        (BAGGAGE, b"Baggage", b"a=1,sdctx=%b" % FORGED),
        (REQUEST_ID, b"X-Request-ID", b"r1"),
        (TRACEPARENT, b"traceparent", TRACE),
        carriers=frozenset(("tracestate",)),
    )
    assert lines == [
        b"Baggage: a=1\r\n",
        b"X-Request-ID: r1\r\n",
        line(b"traceparent", TRACE),
    ]
    assert context.lines(HANDLE) == b"tracestate: sdctx=%b\r\n" % HANDLE
    assert context.aliases == ()


def test_the_handle_comes_first_in_each_list() -> None:
    """Parsers cut lists at their end; forged members are gone and the rest is as it was."""
    lines, context = incoming(
        (BAGGAGE, b"baggage", b"a=1, b=2;p"),
        (BAGGAGE, b"baggage", b"sdctx=%b,c=3" % FORGED),
        (TRACEPARENT, b"traceparent", TRACE),
        (TRACESTATE, b"tracestate", b"congo=t61, rojo=00"),
    )
    assert lines == [b"", b"", line(b"traceparent", TRACE), b""]
    assert context.lines(HANDLE) == (
        b"baggage: sdctx=%b,a=1, b=2;p,c=3\r\ntracestate: sdctx=%b,congo=t61, rojo=00\r\n"
        % (HANDLE, HANDLE)
    )


def test_a_request_without_any_context_gets_baggage_only() -> None:
    """A trace is never made up: that would decide the app's sampling."""
    _, context = incoming()
    assert context.lines(HANDLE) == b"baggage: sdctx=%b\r\n" % HANDLE


@pytest.mark.parametrize(
    "traceparents",
    [
        [],
        [TRACE, TRACE],
        [b"00-" + b"0" * 32 + b"-00f067aa0ba902b7-01"],
        [b"ff" + TRACE[2:]],
        [TRACE[:-1]],
        [TRACE.upper()],
    ],
)
def test_tracestate_needs_one_valid_traceparent(traceparents: list[bytes]) -> None:
    """Without it nobody reads tracestate, so ours is not put there."""
    _, context = incoming(
        *((TRACEPARENT, b"traceparent", value) for value in traceparents),
        (TRACESTATE, b"tracestate", b"a=1,sdctx=%b" % FORGED),
    )
    assert context.lines(HANDLE) == b"baggage: sdctx=%b\r\ntracestate: a=1\r\n" % HANDLE


def test_an_overlong_tracestate_keeps_ours_and_31_others() -> None:
    """OpenTelemetry for Python loses our member at 33."""
    many = b",".join(b"k%d=v" % n for n in range(40))
    _, context = incoming((TRACEPARENT, b"traceparent", TRACE), (TRACESTATE, b"tracestate", many))
    members = context.lines(HANDLE).split(b"tracestate: ")[1].strip().split(b",")
    assert members == [b"sdctx=%b" % HANDLE, *many.split(b",")[:MAX_MEMBERS]]


def test_nine_kilobytes_of_baggage_are_cut_to_what_parsers_take() -> None:
    """Over 8,192 bytes OpenTelemetry for Python drops everything, ours included."""
    _, context = incoming(
        (BAGGAGE, b"baggage", b",".join([b"k%d=" % n + b"v" * 890 for n in range(10)]))
    )
    value = context.lines(HANDLE)[len(b"baggage: ") : -2]
    assert value.startswith(b"sdctx=%b,k0=" % HANDLE)
    assert 6_000 < len(value) <= MAX_LIST_BYTES + 50


@pytest.mark.parametrize(
    "bad",
    [b"novalue", b"UPPER=1", b"a.b=1", b"", b"k=\xc3\xa4", b"=1", b"a=1=2", b"x=" + b"v" * 257],
)
def test_a_member_that_costs_the_app_the_whole_list_is_left_out(bad: bytes) -> None:
    """Some parsers drop all of tracestate for one bad member, or for a repeated key."""
    _, context = incoming(
        (TRACEPARENT, b"traceparent", TRACE),
        (TRACESTATE, b"tracestate", b"good=1,%b,good=2,last=3" % bad),
    )
    assert b"tracestate: sdctx=%b,good=1,last=3\r\n" % HANDLE in context.lines(HANDLE)


def test_correlation_context_alone_holds_the_handle_instead_of_baggage() -> None:
    """.NET would not look into it any more if there were baggage."""
    _, context = incoming((CORRELATION, b"Correlation-Context", b"a=1"))
    assert context.lines(HANDLE) == b"correlation-context: sdctx=%b,a=1\r\n" % HANDLE


def test_correlation_context_beside_baggage_stays() -> None:
    """Ours is in baggage, and each keeps its own members."""
    _, context = incoming(
        (CORRELATION, b"Correlation-Context", b"a=1"), (BAGGAGE, b"baggage", b"b=2")
    )
    assert context.lines(HANDLE) == (
        b"baggage: sdctx=%b,b=2\r\ncorrelation-context: a=1\r\n" % HANDLE
    )


# --- ids in place of the caller's ---


def test_a_request_id_is_swapped_for_a_random_one() -> None:
    """The app sees a UUID of ours, and the alias remembers what the caller sent."""
    lines, context = incoming(
        (REQUEST_ID, b"X-Request-Id", b"r1"), carriers=frozenset(("request_id",))
    )
    minted = b"00010203-0405-4607-8809-0a0b0c0d0e0f"
    assert lines == [b""]
    assert context.lines(HANDLE) == line(b"x-request-id", minted)
    assert context.aliases == (Alias(minted, b"r1"),)


def test_a_request_without_id_gets_one_too() -> None:
    """Outside, it then goes out without any, as it came."""
    _, context = incoming(carriers=frozenset(("request_id",)))
    minted = context.lines(HANDLE).split()[1]
    assert context.aliases == (Alias(minted, None),)
    alias = context.aliases[0]
    back = carried_back(REQUEST_ID, line(b"x-request-id", minted), minted, lambda _key: alias)
    assert back == (b"", (minted,))


def test_the_callers_request_id_goes_out_again() -> None:
    """In the spelling the app gave the name."""
    alias = Alias(b"minted", b"r1")
    back = carried_back(REQUEST_ID, line(b"X-Request-ID", b"minted"), b"minted", lambda _key: alias)
    assert back == (b"X-Request-ID: r1\r\n", (b"minted",))
    own = line(b"x-request-id", b"own")
    assert carried_back(REQUEST_ID, own, b"own", lambda _key: None) == (own, (b"own",))


ID = b"4bf92f3577b34da6a3ce929d0e0e4736"
HALF = ID[16:]
SPAN = b"00f067aa0ba902b7"
TRACE_FIELDS = [  # with the notation around the id
    (TRACEPARENT, b"traceparent", ID, b"00-|-" + SPAN + b"-01"),
    (TRACE_ID, b"b3", ID, b"|-" + SPAN + b"-1"),
    (TRACE_ID, b"X-B3-TraceId", ID, b"|"),
    (TRACE_ID, b"x-b3-traceid", HALF, b"|"),
    (TRACE_ID, b"uber-trace-id", ID, b"|:" + SPAN + b":0:1"),
    (TRACE_ID, b"uber-trace-id", HALF, b"|%3A" + SPAN + b"%3A0%3A1"),
    (TRACE_ID, b"x-datadog-trace-id", b"%d" % int(HALF, 16), b"|"),
]


@pytest.mark.parametrize(("mark", "name", "trace_id", "form"), TRACE_FIELDS)
def test_a_trace_id_is_swapped_in_its_own_notation_and_restored(
    mark: int, name: bytes, trace_id: bytes, form: bytes
) -> None:
    """Nothing but the id changes on the way in, and outside every byte is the caller's again."""
    value = form.replace(b"|", trace_id)
    lines, context = incoming((mark, name, value), carriers=frozenset(("trace_id",)))
    swapped = lines[0][len(name) + 2 : -2]
    prefix, suffix = form.split(b"|")
    assert swapped.startswith(prefix)
    assert swapped.endswith(suffix)
    assert swapped != value
    (alias,) = context.aliases
    found = {alias.key: alias}
    back = carried_back(mark, line(name, swapped), swapped, found.get)
    assert back == (line(name, value), (alias.key,))


def test_all_notations_of_one_caller_get_one_and_the_same_id() -> None:
    """Whichever of them the app's tracer carries on, it stands for the same request."""
    fields = [(mark, name, form.replace(b"|", own)) for mark, name, own, form in TRACE_FIELDS]
    lines, context = incoming(*fields, carriers=frozenset(("trace_id",)))
    (alias,) = context.aliases
    for (mark, name, _), swapped in zip(fields, lines, strict=True):
        value = swapped[len(name) + 2 : -2]
        assert carried_back(mark, swapped, value, {alias.key: alias}.get).keys == (alias.key,)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (b"b3", b"0"),
        (b"b3", b"d"),
        (b"x-b3-traceid", b"xyz"),
        (b"uber-trace-id", b"0:0:0:0"),
        (b"x-datadog-trace-id", b"-1"),
        (b"traceparent", b"00-junk"),
    ],
)
def test_what_has_no_trace_id_stays_as_it_is(name: bytes, value: bytes) -> None:
    """Sampling decisions and nonsense pass untouched, in both directions."""
    mark = TRACEPARENT if name == b"traceparent" else TRACE_ID
    lines, context = incoming((mark, name, value), carriers=frozenset(("trace_id",)))
    assert lines == [line(name, value)]
    assert context.aliases == ()
    assert carried_back(mark, line(name, value), value, lambda _key: None) == (
        line(name, value),
        (),
    )


# --- what the app brings back ---


@pytest.mark.parametrize("mark", [BAGGAGE, CORRELATION, TRACESTATE])
def test_what_is_not_ours_leaves_byte_for_byte(mark: int) -> None:
    """Ours is taken out of the list, wherever the app's tracer has put it."""
    value = b"a=1 , b=%%20;p=q,sdctx=%b,c=3" % HANDLE
    back = carried_back(mark, line(b"Name", value), value, lambda _key: None)
    assert back == (b"Name: a=1 , b=%20;p=q,c=3\r\n", (HANDLE,))
    alone = b"sdctx=%b" % HANDLE
    assert carried_back(mark, line(b"Name", alone), alone, lambda _key: None) == (b"", (HANDLE,))
    others = line(b"Name", b"a=1,\tb=2")
    assert carried_back(mark, others, b"a=1,\tb=2", lambda _key: None) == (others, ())
