"""``docs/http-conformance.md``, made of the tables of cases and of what came out."""

from collections import Counter

from tests.conformance import answer_cases, framing_cases, head_cases, hop_cases
from tests.conformance.public import CASES, Judged

GRADES = {
    "must": "a requirement of the RFC, or a known exploit",
    "should": "good practice",
    "may": "either answer is right; no hang, no 5xx of ours, nothing smuggled",
}

PAGE = """\
# HTTP/1.1: what is refused, and how that is tested

<!-- Written by `python -m tests.conformance --write docs/http-conformance.md`; a test compares. -->

A message that two parsers could read differently is refused, never repaired: the caller gets 400 (or the status that
names what is not served) and the connection closes; an app or destination that answers like that is replaced by 502
`upstream_malformed`, and its connection is not used again. [reasons.md](reasons.md) lists every code.

## The published cases

{total} requests from Http11Probe (MIT) and http-desync-guardian (Apache-2.0), each sent to a real `sidecar run` with a
strict app behind it that reads nothing but what a careful proxy writes. After each case an innocent request follows on
the caller's connection, where that is still open, and one from another caller on the same connection to the app: both
must arrive unchanged and get their own answers.

| Grade | Meaning | Cases | Passed | of these refused | of these passed on |
| --- | --- | --- | --- | --- | --- |
{grades}

## Our own cases

Run in the same way, in both directions: from a caller to the app, and from the app to a destination. Each names its
section of RFC 9110 or 9112 and, where it became known as a defect of somebody, that defect; they are the tables in
`tests/conformance/`.

| What | Refused | Passed on |
| --- | --- | --- |
{own}

The parser is also compared with three others (h11, llhttp, aiohttp's own): whatever they accept of what we accept, they
read alike; whatever all of them refuse, we refuse; and whatever we pass on, all of them read as we did.

## Where others are more lenient

RFC 9112 lets a recipient bear some of these. They are refused here because proxies and apps are known to differ in them.

| Refused | Others | Why |
| --- | --- | --- |
| A bare LF for the end of a line; an empty line before a request, if more than one | RFC 9112, 2.2 allows both | A proxy that takes LF for an end and an app that does not see different fields, or another request |
| Several equal `Content-Length`, or a list of equals | RFC 9112, 6.3 allows to take one | One reader takes the first, another joins them, a third parses `5, 5` |
| `Content-Length` beside `Transfer-Encoding` | RFC 9112, 6.3 lets the latter win | The oldest way of smuggling |
| `Transfer-Encoding` in HTTP/1.0, or anything but `chunked` once | A server may decode `gzip` | A 1.0 reader does not know it; nobody sends it |
| `Content_Length`, `Transfer.Encoding` and the like in a request | Fields of no meaning | CGI and WSGI apps may read `_` and `.` as `-` |
| Folded lines, in answers too | A proxy may join them (RFC 9112, 5.2) | Joined by one and not by another |
| White space around a chunk's size or in its extension | RFC 9112, 7.1.1 asks to bear it there | Parsers disagree about what ends the size |
| Extensions of more than 255 bytes a line, escapes in them | No limit | A line without bound; an escaped quote ends the string for some |
| Methods with lower-case letters | A method is any token | Some frameworks read `delete` as `DELETE`: a rule about DELETE would not see it |
| A target in absolute form that differs from `Host`, or is not `http` | RFC 9112, 3.2.2 lets the target win | Apps route by either |
| `Host` with userinfo, a list, an empty port, percent signs | A server may ignore them | Routed by one reader and logged by another |
| A `Connection` that names identity, routing or framing fields, or more than 64 options | Deleted as asked | The caller would decide what the app does not see |
| TRACE | Answered by the app | The answer would show what we told the app |

## What is passed on although it is odd

Zeros before a length; a chunk size of up to 15 digits in any case; extensions (dropped; refused where they outweigh the
content by 64 KiB); obs-text in values and reasons; a reason that is empty or missing; any method in capitals; an unknown status from 100 to 599; two fields of one name;
answers of HTTP/1.0; content that ends with its connection, which a caller of HTTP/1.1 gets in chunks, so that it can
tell whether it was whole.

## What no proxy can tell

An app that sends a second answer nobody asked for, after its connection has been set aside: where it comes before the
next request, the connection is closed; in the moment when both cross, nothing in HTTP/1.1 tells the two apart.
"""


def render(judged: Judged) -> str:
    """Return the whole page."""
    return PAGE.format(
        total=len(CASES),
        grades="\n".join(_grade(grade, judged) for grade in GRADES),
        own="\n".join(_own()),
    )


def _grade(grade: str, judged: Judged) -> str:
    cases = Counter(case["grade"] for case in CASES)[grade]
    failed = sum(
        any(line.startswith(f"{case['name']}: ") for line in judged.complaints)
        for case in CASES
        if case["grade"] == grade
    )
    return (
        f"| {grade} | {GRADES[grade]} | {cases} | {cases - failed} | "
        f"{judged.count(grade, 'reject', 'close')} | {judged.count(grade, 'forward')} |"
    )


def _own() -> list[str]:
    rows = (
        ("Lines, fields, `Host`, targets, versions, bounds", head_cases.REFUSED,
         head_cases.PASSED + head_cases.HOSTS),
        ("Lengths, codings, chunks, trailers", framing_cases.REFUSED, framing_cases.PASSED),
        ("Fields that end at a hop, `Connection`", hop_cases.REFUSED, hop_cases.PASSED),
        ("Answers", answer_cases.REFUSED, answer_cases.RELAYED),
    )  # fmt: skip
    return [f"| {what} | {len(refused)} | {len(passed)} |" for what, refused, passed in rows] + [
        f"| What follows a message; content of requests that want something special | "
        f"{len(head_cases.AFTER_A_MESSAGE) + 2 * len(hop_cases.UNDECIDED)} in all | |",
        f"| Answers that are cut | {len(answer_cases.CUT)} in all | |",
    ]
