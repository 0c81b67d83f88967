"""What was published of others, as requests. Each names where it was published.

The app behind has an open tree, ``/open/**``, an open ``GET /healthz``, and ``/admin/**`` for
administrators alone.
"""

from dataclasses import dataclass

Fields = tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True, slots=True)
class Bypass:
    """A request without a token, and what has to come of it."""

    published: str
    """The advisory, or what it is about where there are many."""
    target: bytes
    status: int
    reason: str = ""
    forwarded: str = ""
    """The target that the app received; empty: it received nothing."""
    method: bytes = b"GET"
    fields: Fields = ()

    def __str__(self) -> str:
        shown = self.target.decode("latin-1").encode("unicode_escape").decode()
        return f"{self.published} {self.method.decode()} {shown}"


def _ambiguous(published: str, *targets: bytes) -> tuple[Bypass, ...]:
    return tuple(Bypass(published, target, 400, "path_ambiguous") for target in targets)


def _unfit(published: str, *targets: bytes) -> tuple[Bypass, ...]:
    return tuple(Bypass(published, target, 400, "message_malformed") for target in targets)


def _guarded(published: str, *targets: bytes) -> tuple[Bypass, ...]:
    return tuple(Bypass(published, target, 401, "token_missing") for target in targets)


def _without_rule(published: str, method: bytes, target: bytes) -> Bypass:
    return Bypass(published, target, 403, "no_rule", method=method)


BYPASSES = (
    # Envoy and Istio: encoded slashes and dots were matched encoded and served decoded.
    *_ambiguous(
        "CVE-2021-29492", b"/open%2f..%2fadmin/x", b"/open/%2fadmin", b"/open%5c..%5cadmin"
    ),
    *_ambiguous("CVE-2019-9901", b"/open/../admin/x", b"/open/./../admin/x", b"/open//admin"),
    *_ambiguous("CVE-2021-31920", b"//admin/x", b"/open//../admin/x", b"/admin%2fx"),
    *_unfit("CVE-2021-39156", b"/open/x#/admin"),
    *_unfit("CVE-2021-32779", b"/admin/x#open"),
    *_guarded("case of letters", b"/ADMIN/x", b"/Admin/x", b"/aDmIn"),
    # Dapr: the health check was looked for anywhere in the URL, its query included.
    *_guarded(
        "GHSA-59m6-82qm-vqgj", b"/admin/x?y=/healthz", b"/admin/healthz", b"/admin/x?/healthz"
    ),
    *_ambiguous("GHSA-59m6-82qm-vqgj", b"/healthz/../admin/x", b"//healthz"),
    _without_rule("GHSA-59m6-82qm-vqgj", b"GET", b"/healthz/admin"),
    # oauth2-proxy: rules that skip authentication were matched against path and query.
    *_guarded("GHSA-7rh7-c77v-6434", b"/admin/x?z=/open/x", b"/admin?/open/"),
    # Traefik: encoded characters that routers and backends read differently.
    *_ambiguous(
        "GHSA-gm3x-23wp-hc2c",
        b"/open/x%2f..%2f..%2fadmin",
        b"/open/%5c..%5cadmin",
        b"/open/x%00",
        b"/open/x%3b",
    ),
    Bypass("GHSA-gm3x-23wp-hc2c", b"/open/x%3fadmin", 200, forwarded="/open/x%3Fadmin"),
    Bypass("GHSA-gm3x-23wp-hc2c", b"/open/x%23admin", 200, forwarded="/open/x%23admin"),
    *_ambiguous("CVE-2025-32431", b"/open/../admin/x", b"/open/%2e%2e/admin/x"),
    *_ambiguous(
        "GHSA-vrch-868g-9jx5", b"/open/%2E%2E/admin", b"/open/.%2e/admin", b"/open/%2e./admin"
    ),
    # Traefik: a path without a slash in front was routed as "/" and sent on as it was.
    *_unfit("no slash in front", b"admin/x", b"open:/admin/x"),
    # Spring Security, Tomcat and their kin.
    *_ambiguous("CVE-2020-5902", b"/open/..;/admin/x", b"/open/..;x=y/admin/x"),
    *_ambiguous("CVE-2018-1199", b"/open;jsessionid=1/x", b"/admin;x", b"/admin/x;jsessionid=0"),
    *_guarded("trailing slash", b"/admin", b"/admin/"),
    *_guarded("trailing slash below", b"/admin/x/"),
    _without_rule("CVE-2022-22978", b"GET", b"/healthz/"),
    *_ambiguous("CVE-2022-22978", b"/admin/x%0a", b"/admin/x%0d"),
    *_ambiguous("CVE-2024-38821", b"/open/%2e/x", b"/./admin"),
    # Shiro.
    *_ambiguous("CVE-2020-1957", b"/open/..;/admin/"),
    *_ambiguous("CVE-2020-11989", b"/admin%252fx", b"/;/admin/x"),
    *_ambiguous("CVE-2020-13933", b"/admin/%3bx"),
    *_guarded("CVE-2020-17523", b"/admin/%20"),
    # Double encodings, encodings that are none, and octets that are not UTF-8.
    *_ambiguous("CVE-2001-0333", b"/open/%252e%252e/admin", b"/open/%255c..%255cadmin"),
    *_ambiguous("CVE-2000-0884", b"/open/%c0%af..%c0%afadmin", b"/open/%c0%ae%c0%ae/admin"),
    *_ambiguous("CVE-2008-2938", b"/open/%c0%ae%c0%ae/admin", b"/open/%e0%80%ae/admin"),
    *_ambiguous("CVE-2021-41773", b"/open/.%2e/.%2e/admin", b"/open/%%32%65%%32%65/admin"),
    *_ambiguous("CVE-2021-42013", b"/open/.%%32%65/admin"),
    *_ambiguous("CVE-2021-44224", b"/open\\..\\admin", b"/\\admin"),
    # APISIX and Kong: the URI was matched before it was normalized.
    *_ambiguous("CVE-2021-43557", b"/open/../admin/x", b"/open/%2e%2e%2fadmin"),
    *_ambiguous("CVE-2021-27306", b"//admin/x", b"/open/..//admin"),
    # nginx: NUL and space within the target.
    *_unfit("CVE-2013-4547", b"/open/x \x00.png", b"/open/ x"),
    *_unfit("CVE-2013-4547", b"/open/\x00x", b"/open/\tx"),
    # The authority of an absolute target is not part of its path.
    Bypass("RFC 9112, 3.2.2", b"http://api.example/admin/x", 401, "token_missing"),
    Bypass("RFC 9112, 3.2.2", b"http://api.example/open/x", 200, forwarded="/open/x"),
    # Methods: a rule for GET is for GET, to the letter.
    *(
        _without_rule("CVE-2010-0738", method, b"/healthz")
        for method in (b"HEAD", b"OPTIONS", b"POST", b"GETS", b"FOO")
    ),
    *(
        Bypass("CVE-2010-0738", target, 400, "message_malformed", method=method)
        for target in (b"/healthz", b"/admin/x", b"/open/x")
        for method in (b"get", b"Get", b"gET")
    ),
    Bypass("CVE-2010-0738", b"/admin/x", 401, "token_missing", method=b"HEAD"),
    Bypass("CVE-2010-0738", b"/admin/x", 401, "token_missing", method=b"FOO"),
    # What Spring's firewall and this one both let pass has one reading.
    Bypass("CVE-2021-29492", b"/%6fpen/%78", 200, forwarded="/open/x"),
    Bypass("trailing slash of what is open", b"/open/x/", 200, forwarded="/open/x/"),
    Bypass("case of letters", b"/OPEN/x", 403, "no_rule"),
    # CVE-2023-27487 and CVE-2026-40575: the rules believed a field about the path.
    *(
        Bypass(published, b"/admin/x", 401, "token_missing", fields=((name, b"/open/x"),))
        for published, name in (
            ("CVE-2023-27487", b"x-envoy-original-path"),
            ("CVE-2026-40575", b"x-forwarded-uri"),
            ("GHSA-6384-m2mw-rf54", b"x-forwarded-prefix"),
            ("CVE-2018-14773", b"x-original-url"),
            ("CVE-2018-14773", b"x-rewrite-url"),
        )
    ),
)

OVERRIDES = (
    ("CVE-2018-14773", b"x-original-url"),
    ("CVE-2018-14773", b"x-rewrite-url"),
    ("CVE-2018-14773", b"x-original-uri"),
    ("CVE-2018-14773", b"x-rewrite-uri"),
    ("CVE-2023-27487", b"x-envoy-original-path"),
    ("CVE-2026-40575", b"x-forwarded-uri"),
    ("CVE-2026-40575", b"x-forwarded-path"),
    ("CVE-2026-40575", b"x-forwarded-method"),
    ("method override", b"x-http-method"),
    ("method override", b"x-http-method-override"),
    ("method override", b"x-method-override"),
    ("method override", b"x-original-method"),
    ("CVE-2025-29927", b"x-middleware-subrequest"),
    ("gunicorn forwarder_headers", b"script_name"),
    ("gunicorn forwarder_headers", b"path_info"),
)
"""Fields that tell an app to take another path, another method or other checks."""
