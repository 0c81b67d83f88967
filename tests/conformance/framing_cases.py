"""Where a request's content ends: everything that two readers have ever understood differently.

Names after an em dash are those under which a case became known.
"""

from tests.conformance.cases import SMUGGLED, Case, Passed, Refused, chunked, request

_LENGTHS = {
    "empty (HAProxy, CVE-2023-40225)": b"",
    "with a plus (hyper, CVE-2021-32715; Jetty, CVE-2023-40167)": b"+5",
    "with a minus": b"-5",
    "minus zero": b"-0",
    "with an underscore (Python's int)": b"1_0",
    "hexadecimal": b"0x5",
    "octal, as some would have it": b"0o5",
    "with an exponent": b"5e0",
    "with a point": b"5.0",
    "a list of equals (RFC 9110, 8.6 lets us choose)": b"5,5",
    "a list of equals with space": b"5, 5",
    "a list of different ones": b"5, 6",
    "a list that begins empty (Squid, CVE-2020-15810)": b",5",
    "a list that ends empty": b"5,",
    "two numbers": b"5 5",
    "digits of another script": "\u0665".encode(),
    "superscript": b"\xb2",
    "quoted": b'"5"',
    "with a semicolon": b"5;a=b",
    "with a form feed after it": b"5\x0c",
    "with a vertical tab before it": b"\x0b5",
    "with a NUL after it": b"5\x00",
    "with a no-break space": b"\xa05",
    "of 19 digits": b"1" * 19,
    "over 64 bits": b"18446744073709551621",
    "of hundreds of digits": b"9" * 400,
    "a word": b"five",
}

_CODINGS = {
    "empty": b"",
    "identity": b"identity",
    "xchunked": b"xchunked",
    "chunk (lazygrep)": b"chunk",
    "chunked twice in one list": b"chunked, chunked",
    "chunked not last (commaCow)": b"chunked, identity",
    "chunked in the middle (nested)": b"identity, chunked, identity",
    "unknown alone": b"cow",
    "quoted": b'"chunked"',
    "in apostrophes (aposed)": b"'chunked'",
    "with a parameter": b"chunked;q=1",
    "with an empty parameter": b"chunked;",
    "after an empty element": b",chunked",
    "before an empty element": b"chunked,",
    "cut by a space": b"chu nked",
    "with a word after a space": b"chunked identity",
    "after a vertical tab (vertwrap)": b"\x0bchunked",
    "before a vertical tab": b"chunked\x0b",
    "after a form feed": b"\x0cchunked",
    "before a form feed": b"chunked\x0c",
    "after a NUL": b"\x00chunked",
    "before a NUL": b"chunked\x00",
    "before DEL": b"chunked\x7f",
    "before a bare CR (0dsuffix)": b"chunked\r",
    "after a bare CR": b"\rchunked",
    "after a no-break space (unispace)": b"\xa0chunked",
    "after 0xFF (spaceFF)": b"\xffchunked",
    "with an accent (accentCH)": b"ch\x96nked",
    "with a sharp s": "chunked\u00df".encode(),
    "in backslashes": b"\\chunked",
    "in brackets": b"[chunked]",
    "on a folded line (tabwrap)": b"\r\n\tchunked",
    "on a line after a bare LF (linewrapped1)": b"\n chunked",
}

_CODING_NAMES = {
    "with an underscore (underjoin1)": b"Transfer_Encoding: chunked",
    "with a space in it (spacejoin1)": b"Transfer Encoding: chunked",
    "with a space before the colon (space1; Node, CVE-2021-22959)": b"Transfer-Encoding : chunked",
    "with a tab before the colon": b"Transfer-Encoding\t: chunked",
    "with junk before the colon (spjunk)": b"Transfer-Encoding x: chunked",
    "with a backslash": b"Transfer\\Encoding: chunked",
    "with an accent (accentTE)": b"Transf\x82r-Encoding: chunked",
    "percent-encoded (encode)": b"Transfer-%45ncoding : chunked",
    "with a bare CR in it (0dspam)": b"Tra\rnsfer-Encoding: chunked",
    "after a bare CR (badsetupCR; Node, CVE-2023-30589)": b"X: y\rTransfer-Encoding: chunked",
    "after a bare LF (badsetupLF)": b"X: y\nTransfer-Encoding: chunked",
    "after CR on a new line (0dwrap)": b"X: y\r\n\rTransfer-Encoding: chunked",
    "on a folded line (nameprefix1)": b"X: y\r\n Transfer-Encoding: chunked",
    "after two bare LF (bodysplit)": b"X: y\n\nTransfer-Encoding: chunked",
    "after CRLF CR X (Node, CVE-2025-23167)": b"X: y\r\n\rX: z\r\nTransfer-Encoding: chunked",
    "with a NUL before it": b"\x00Transfer-Encoding: chunked",
    "with the colon on the next line (gareth1)": b"Transfer-Encoding\n : chunked",
    "with a dot": b"Transfer.Encoding: chunked",
}

_LENGTH_NAMES = {
    "with an underscore": b"Content_Length: 5",
    "with a space before the colon": b"Content-Length : 5",
    "with a space before it (Node, CVE-2024-27982)": b" Content-Length: 5",
    "with a dot": b"Content.Length: 5",
    "with a NUL in it": b"Content-Length\x00: 5",
    "with a long name before it (HAProxy, CVE-2021-40346)": b"Content-Length0"
    + b"a" * 255
    + b" : 0\r\nContent-Length: 5",
    "after a field without a name (HAProxy, CVE-2023-25725)": b": x\r\nContent-Length: 5",
    "after a line without a colon (Netty, CVE-2019-20444)": b"nonsense\r\nContent-Length: 5",
}

_PAIRS = {
    "length and chunked (CL.TE)": b"Content-Length: 5\r\nTransfer-Encoding: chunked",
    "chunked and length (TE.CL)": b"Transfer-Encoding: chunked\r\nContent-Length: 5",
    "no length at all and chunked": b"Content-Length: 0\r\nTransfer-Encoding: chunked",
    "chunked and chunked": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    "chunked and identity (dualchunk)":
        b"Transfer-Encoding: chunked\r\nTransfer-encoding: identity",
    "identity and chunked (revdualchunk)":
        b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
    "chunked and nothing": b"Transfer-Encoding: chunked\r\nTransfer-Encoding:",
    "equal lengths": b"Content-Length: 5\r\nContent-Length: 5",
    "different lengths (CL.CL)": b"Content-Length: 5\r\nContent-Length: 0",
    "an empty length and a good one": b"Content-Length:\r\nContent-Length: 5",
    "a good length and an odd spelling of it": b"Content-Length: 5\r\ncONTENT-lENGTH: 6",
    "a length and unknown coding": b"Content-Length: 5\r\nTransfer-Encoding: cow",
    "a length and a hidden coding": b"Content-Length: 5\r\nTransfer_Encoding: chunked",
}  # fmt: skip

_CHUNKS = {
    "nothing where a size should be": b"\r\nhello\r\n0\r\n\r\n",
    "size with 0x": b"0x5\r\nhello\r\n0\r\n\r\n",
    "size with a plus": b"+5\r\nhello\r\n0\r\n\r\n",
    "size with a minus": b"-5\r\nhello\r\n0\r\n\r\n",
    "size with an underscore": b"0_5\r\nhello\r\n0\r\n\r\n",
    "size after a space": b" 5\r\nhello\r\n0\r\n\r\n",
    "size before a space": b"5 \r\nhello\r\n0\r\n\r\n",
    "size before a tab": b"5\t\r\nhello\r\n0\r\n\r\n",
    "size before a NUL": b"5\x00\r\nhello\r\n0\r\n\r\n",
    "size that is no hexadecimal": b"g\r\nhello\r\n0\r\n\r\n",
    "size with an h": b"5h\r\nhello\r\n0\r\n\r\n",
    "size of 16 digits": b"0000000000000005\r\nhello\r\n0\r\n\r\n",
    "size over 64 bits (hyper, CVE-2021-32714)": b"10000000000000005\r\nhello\r\n0\r\n\r\n",
    "size negative in 64 bits (Apache, CVE-2002-0392)": b"FFFFFFFFFFFFFFFB\r\nhello\r\n0\r\n\r\n",
    "size ended by LF (Go, CVE-2025-22871; Netty, CVE-2025-58056)": b"5\nhello\r\n0\r\n\r\n",
    "size ended by CR": b"5\rhello\r\n0\r\n\r\n",
    "size ended by CR CR LF": b"5\r\r\nhello\r\n0\r\n\r\n",
    "last chunk's line ended by LF": b"5\r\nhello\r\n0\n\r\n",
    "LF in an extension (TERM.EXT; Kestrel, CVE-2025-55315)": b"5;\nx\r\nhello\r\n0\r\n\r\n",
    "LF in a named extension (fasthttp)": b"5;a\nb\r\nhello\r\n0\r\n\r\n",
    "CR in an extension (EXT.TERM)": b"5;a\rb\r\nhello\r\n0\r\n\r\n",
    "CR X in an extension": b"5;\rX\r\nhello\r\n0\r\n\r\n",
    "CR CR in an extension": b"5;a\r\r\nhello\r\n0\r\n\r\n",
    "LF in a quoted extension (Netty, funky chunks 2)": b'5;a="\n"\r\nhello\r\n0\r\n\r\n',
    "CRLF in a quoted extension": b'5;a="\r\n"\r\nhello\r\n0\r\n\r\n',
    "a quote that does not end": b'5;a="b\r\nhello\r\n0\r\n\r\n',
    "an escape in a quote": b'5;a="\\""\r\nhello\r\n0\r\n\r\n',
    "NUL in an extension": b"5;\x00a\r\nhello\r\n0\r\n\r\n",
    "an extension without a name": b"5;\r\nhello\r\n0\r\n\r\n",
    "an extension with space around it": b"5 ; a\r\nhello\r\n0\r\n\r\n",
    "an extension with obs-text": b"5;\xe9\r\nhello\r\n0\r\n\r\n",
    "an extension that is too long (Node, CVE-2024-22019)":
        b"5;" + b"a" * 300 + b"\r\nhello\r\n0\r\n\r\n",
    "a word after the size": b"5 hello\r\nhello\r\n0\r\n\r\n",
    "content longer than its size (TERM.SPILL)": b"5\r\nhelloX\r\n0\r\n\r\n",
    "content spilled into the terminator (h11, CVE-2025-43859)": b"5\r\nhelloXX0\r\n\r\n",
    "content ended by LF (ONE.TWO)": b"5\r\nhello\n0\r\n\r\n",
    "content ended by CR": b"5\r\nhello\r0\r\n\r\n",
    "content ended by CR X": b"5\r\nhello\rX0\r\n\r\n",
    "content ended by LF CR": b"5\r\nhello\n\r0\r\n\r\n",
    "content ended by nothing (ZERO.TWO)": b"5\r\nhello0\r\n\r\n",
    "content ended twice": b"5\r\nhello\r\n\r\n0\r\n\r\n",
    "the end by LF": b"5\r\nhello\r\n0\r\n\n",
    "the end by CR X": b"5\r\nhello\r\n0\r\n\rX",
    "junk before the end": b"5\r\nhello\r\n0\r\nX\r\n\r\n",
    "a trailer without a colon": b"0\r\nnonsense\r\n\r\n",
    "a trailer without a name": b"0\r\n: x\r\n\r\n",
    "a trailer with a space before the colon": b"0\r\nX : y\r\n\r\n",
    "a trailer on a folded line": b"0\r\nX: y\r\n z\r\n\r\n",
    "a trailer ended by LF": b"0\r\nX: y\n\r\n",
    "a trailer with a NUL": b"0\r\nX: \x00\r\n\r\n",
    "a trailer with a bare CR": b"0\r\nX: a\rb\r\n\r\n",
    "a trailer of another name with NUL": b"0\r\nX\x00: y\r\n\r\n",
    "trailers that are too long": b"0\r\nX: " + b"y" * 20_000 + b"\r\n\r\n",
}  # fmt: skip

REFUSED = [
    *(
        Case(f"length {name}", request(b"Content-Length: " + value, content=b"hello"), "9112, 6.3")
        for name, value in _LENGTHS.items()
    ),
    *(
        Case(
            f"coding {name}",
            request(b"Transfer-Encoding: " + value, content=b"0\r\n\r\n"),
            "9112, 6.1",
        )
        for name, value in _CODINGS.items()
    ),
    *(
        Case(f"coding's name {name}", request(line, content=b"0\r\n\r\n"), "9112, 5.1")
        for name, line in _CODING_NAMES.items()
    ),
    *(
        Case(f"length's name {name}", request(line, content=b"hello"), "9112, 5.1")
        for name, line in _LENGTH_NAMES.items()
    ),
    *(
        Case(name, request(lines, content=b"0\r\n\r\n" + SMUGGLED), "9112, 6.3")
        for name, lines in _PAIRS.items()
    ),
    *(Case(f"chunks: {name}", chunked(raw), "9112, 7.1") for name, raw in _CHUNKS.items()),
    *(
        Case(
            f"coding that is not served: {value.decode()}",
            request(b"Transfer-Encoding: " + value, content=b"0\r\n\r\n"),
            "9112, 6.1",
            Refused(501, "coding_unsupported"),
        )
        for value in (b"gzip, chunked", b"identity, chunked", b"cow,chunked")
    ),
    Case(
        "chunked in HTTP/1.0",
        request(b"Transfer-Encoding: chunked", start=b"POST /case HTTP/1.0", content=b"0\r\n\r\n"),
        "9112, 6.1",
    ),
    Case(
        "length that is not reached",
        request(b"Content-Length: 9", content=b"hello"),
        "9112, 8",
        Refused(408, "request_timeout"),
    ),
    Case(
        "chunks without an end",
        chunked(b"5\r\nhello\r\n"),
        "9112, 8",
        Refused(408, "request_timeout"),
    ),
]

PASSED = [
    Case("no content", request(), "9112, 6.3", Passed()),
    Case("length 0", request(b"Content-Length: 0"), "9112, 6.3", Passed()),
    Case(
        "length with zeros before it",
        request(b"Content-Length: 0005", content=b"hello"),
        "9110, 8.6",
        Passed(b"hello"),
    ),
    Case(
        "length with white space around it",
        request(b"Content-Length:\t 5 \t", content=b"hello"),
        "9110, 5.5",
        Passed(b"hello"),
    ),
    Case(
        "content that looks like a request (CL.0)",
        request(b"Content-Length: %d" % len(SMUGGLED), content=SMUGGLED),
        "9112, 6.3",
        Passed(SMUGGLED),
    ),
    Case(
        "content of GET that looks like a request (CL.0)",
        request(
            b"Content-Length: %d" % len(SMUGGLED), start=b"GET /case HTTP/1.1", content=SMUGGLED
        ),
        "9110, 9.3.1",
        Passed(SMUGGLED, method=b"GET"),
    ),
    Case(
        "content of HEAD that looks like a request",
        request(
            b"Content-Length: %d" % len(SMUGGLED), start=b"HEAD /case HTTP/1.1", content=SMUGGLED
        ),
        "9110, 9.3.2",
        Passed(SMUGGLED, method=b"HEAD"),
    ),
    Case(
        "coding in another case",
        request(b"TRANSFER-ENCODING: cHuNkEd", content=b"0\r\n\r\n"),
        "9112, 7",
        Passed(),
    ),
    Case(
        "coding with white space around it",
        request(b"Transfer-Encoding:\tchunked \t", content=b"0\r\n\r\n"),
        "9110, 5.5",
        Passed(),
    ),
    Case(
        "coding in the field of another name (contentEnc)",
        request(b"Content-Encoding: chunked", b"Content-Length: 5", content=b"0\r\n\r\n"),
        "9110, 8.4",
        Passed(b"0\r\n\r\n"),
    ),
    Case("chunks", chunked(b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"), "9112, 7.1",
         Passed(b"hello world")),
    Case("a size in capitals with zeros before it", chunked(b"0000A\r\n0123456789\r\n000\r\n\r\n"),
         "9112, 7.1", Passed(b"0123456789")),
    Case("extensions", chunked(b'5;a;b=c;d="e;f"\r\nhello\r\n0;last\r\n\r\n'), "9112, 7.1.1",
         Passed(b"hello")),
    Case("content of CRLF alone", chunked(b"2\r\n\r\n\r\n0\r\n\r\n"), "9112, 7.1",
         Passed(b"\r\n")),
    Case("content that looks like the end", chunked(b"5\r\n0\r\n\r\n\r\n0\r\n\r\n"), "9112, 7.1",
         Passed(b"0\r\n\r\n")),
    Case("content that looks like a request, in a chunk",
         chunked(b"%x\r\n%b\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED)), "9112, 7.1",
         Passed(SMUGGLED)),
    Case("a trailer that names a framing field (eventlet, CVE-2025-58068)",
         chunked(b"5\r\nhello\r\n0\r\nContent-Length: 99\r\nX-Original-URL: /\r\n\r\n"),
         "9110, 6.5.1", Passed(b"hello", lacks=(b"content-length", b"x-original-url"))),
    Case("length in HTTP/1.0",
         request(b"Content-Length: 5", start=b"POST /case HTTP/1.0", content=b"hello"),
         "9112, 6.3", Passed(b"hello")),
]  # fmt: skip
