"""Frame boundaries, whatever the packets: what is passed on, what is held, what is refused."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.wire.frames import FrameError, FrameFollower, close_frame


def frame(opcode: int, size: int, *, masked: bool, fin: bool = True) -> bytes:
    """A frame of *size* zero bytes."""
    bit = 0x80 if masked else 0
    if size < 126:
        length = bytes((bit | size,))
    elif size < 1 << 16:
        length = bytes((bit | 126,)) + size.to_bytes(2, "big")
    else:
        length = bytes((bit | 127,)) + size.to_bytes(8, "big")
    mask = b"mask" if masked else b""
    return bytes(((0x80 if fin else 0) | opcode,)) + length + mask + bytes(size)


FRAMES = st.lists(
    st.tuples(st.sampled_from((0x0, 0x1, 0x2)), st.sampled_from((0, 1, 125, 126, 300, 70_000)))
    | st.tuples(st.sampled_from((0x9, 0xA)), st.sampled_from((0, 125))),
    max_size=6,
)


@settings(deadline=None)
@given(frames=FRAMES, masked=st.booleans(), cuts=st.lists(st.integers(0, 200_000), max_size=12))
def test_any_split_of_frames_is_passed_on_whole(
    frames: list[tuple[int, int]], masked: bool, cuts: list[int]
) -> None:
    """Nothing is lost, added or reordered, and the end of the last frame is a boundary."""
    data = b"".join(frame(opcode, size, masked=masked) for opcode, size in frames)
    follower = FrameFollower(masked=masked)
    positions = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    out = b"".join(follower.feed(data[start:end]) for start, end in pairwise(positions))
    assert out == data
    assert follower.at_boundary
    assert follower.held_bytes == 0


@pytest.mark.parametrize("masked", [False, True])
def test_a_boundary_is_only_where_a_frame_has_ended(masked: bool) -> None:
    """Byte by byte: inside a frame, masks included, there is none; a part of a header is held."""
    data = frame(0x2, 300, masked=masked)
    follower = FrameFollower(masked=masked)
    for index in range(len(data) - 1):
        follower.feed(data[index : index + 1])
        assert follower.at_boundary == (index < 3), index  # the header is not on the other side yet
        assert follower.held_bytes <= 9
    assert follower.feed(data[-1:]) == data[-1:]
    assert follower.at_boundary


@pytest.mark.parametrize(
    "bad",
    [
        b"\x83\x80mask",
        b"\x8b\x80mask",
        b"\x82\x00",
        b"\x09\x80mask",
        b"\x89\xfe\x00\x7emask",
        b"\x82\xff\x80" + bytes(7) + b"mask",
        b"GET / HTTP/1.1\r\n",
    ],
    ids=["opcode-3", "opcode-11", "unmasked", "fragmented-ping", "long-ping", "2^63", "http"],
)
@pytest.mark.parametrize("size", [1, 100])
def test_what_is_no_frame_of_a_client_is_refused(bad: bytes, size: int) -> None:
    """Whatever came before it is still passed on, and of it nothing."""
    good = frame(0x1, 5, masked=True)
    follower = FrameFollower(masked=True)
    data, out = good + bad, b""
    error: FrameError | None = None
    for start in range(0, len(data), size):
        try:
            out += follower.feed(data[start : start + size])
        except FrameError as caught:
            error = caught
            break
    assert error is not None
    assert out + error.good == good
    assert follower.at_boundary


def test_a_server_does_not_mask() -> None:
    """A client that got a masked frame would have to fail the connection (RFC 6455, 5.1)."""
    with pytest.raises(FrameError):
        FrameFollower(masked=False).feed(b"\x82\x80mask")


def test_the_longest_length_is_followed() -> None:
    """Just under 2^63 is legal, and nothing is kept of it."""
    follower = FrameFollower(masked=False)
    head = b"\x82\x7f" + ((1 << 63) - 1).to_bytes(8, "big")
    assert follower.feed(head + bytes(100)) == head + bytes(100)
    assert not follower.at_boundary


def test_nothing_follows_a_close_frame() -> None:
    """It was the last word of that side (RFC 6455, 5.5.1)."""
    follower = FrameFollower(masked=False)
    close = close_frame(1000, masked=False)
    assert follower.feed(close + b"garbage") == close
    assert follower.feed(b"more") == b""
    assert follower.closed


def test_it_stops_at_the_next_boundary_where_it_is_told_to() -> None:
    """So that something else can be said there."""
    one = frame(0x1, 5, masked=False)
    follower = FrameFollower(masked=False)
    assert follower.feed(one[:3]) == one[:3]
    assert follower.feed(one[3:] + one, one_frame=True) == one[3:]
    empty = frame(0x1, 0, masked=False)
    assert follower.feed(empty + one, one_frame=True) == empty


@pytest.mark.parametrize("masked", [False, True])
def test_our_own_close_frame_is_a_frame(masked: bool) -> None:
    """With its code, and masked where it goes to a server."""
    data = close_frame(1001, masked=masked)
    follower = FrameFollower(masked=masked)
    assert follower.feed(data) == data
    assert follower.closed
    assert follower.at_boundary
    payload = (
        data[-2:] if not masked else bytes(a ^ b for a, b in zip(data[6:], data[2:6], strict=False))
    )
    assert int.from_bytes(payload, "big") == 1001
