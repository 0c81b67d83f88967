"""One case for every kind of error: what is written, and the very lines that answer it."""

import pytest

from tests.config.cases import VALID_START, lines
from tests.config.conftest import Examine

NOT_SUPPORTED = "is not supported by this version"
A_DURATION = "a duration such as 250ms, 30s, 5m or 1h"

DOCUMENTS = {
    "empty file": ("", ["1:1: the file is empty"]),
    "only a comment": ("# nothing\n", ["1:1: the file is empty"]),
    "a list": ("- a\n", ["1:1: must be a map of keys such as `version: 1`"]),
    "a word": ("sidecar\n", ["1:1: must be a map of keys such as `version: 1`"]),
    "two documents": (
        VALID_START + "---\nversion: 1\n",
        ["3:1: a second document; one file holds one"],
    ),
    "not UTF-8": (b"version: 1\nx\xc3\xa9: \xff\n", ["2:5: is not UTF-8"]),
    "control character": (b"version: 1\nlog: \x07\n", ["2:6: holds a control character"]),
    "tab": ("log:\n\tlevel: info\n", ["2:1: a tab cannot indent YAML; use spaces"]),
    "reserved start": ("log: @info\n", ["1:6: a value that starts with @ needs quotes"]),
    "colon in a value": (
        "log: a: b\n",
        ["1:7: is not YAML: mapping values are not allowed in this context"],
    ),
    "open list": (
        "version: 1\nlog: [a\n",
        ["2:8: is not YAML: did not find expected ',' or ']'"],
    ),
    "too deep": (
        "[" * 1000,
        [
            "1:17: [0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0]: is nested more than 16 deep",
        ],
    ),
    "no version": (
        "issuers: {a: {issuer: 'https://a.example', audiences: [x]}}\n",
        ["1:1: version: is required"],
    ),
    "no issuer": (
        "version: 1\ninbound: {listen: 127.0.0.1:0}\n",
        ["1:1: issuers: no issuer is configured, but a rule asks for a token"],
    ),
    "issuers without one": (
        "version: 1\nissuers: {}\n",
        ["2:10: issuers: no issuer is configured, but a rule asks for a token"],
    ),
}

YAML = {
    "unknown key": ("lgo: {}", ["3:1: lgo: unknown key (did you mean `log`?)"]),
    "unknown key like none": ("zzz: 1", ["3:1: zzz: unknown key"]),
    "misspelled required key is one problem": (
        "outbound: {destinations: {d: {listen: 127.0.0.1:1, upsteam: http://localhost:2}}}",
        ["3:52: outbound.destinations.d.upsteam: unknown key (did you mean `upstream`?)"],
    ),
    "duplicate key": (
        "log: {level: info}\nlog: {level: debug}",
        ["4:1: log: is given twice; the first is on line 3"],
    ),
    "anchor": (
        "log: &a {level: info}",
        ["3:6: log: anchors are not supported; write the value out twice"],
    ),
    "alias": ("log: *a", ["3:6: log: aliases are not supported; write the value out"]),
    "merge key": ("<<: {level: info}", ["3:1: merge keys are not supported; write the keys out"]),
    "tag": (
        "drain_timeout: !!str 5s",
        ["3:16: drain_timeout: tags such as `tag:yaml.org,2002:str` are not supported"],
    ),
    "boolean key": ("true: 1", ["3:1: a key must be a string; `true` needs quotes"]),
    "number key": ("1: 1", ["3:1: a key must be a string; `1` needs quotes"]),
    "list key": ("[a]: 1", ["3:1: a key must be a string"]),
    "empty value": ("log:", ["3:5: log: has no value; give it one or remove the key"]),
    "null": (
        "drain_timeout: ~",
        ["3:16: drain_timeout: has no value; give it one or remove the key"],
    ),
    "list for a map": ("log: [info]", ["3:6: log: must be a map, not a list"]),
    "word for a map": ("log: info", ["3:6: log: must be a map, not a single value"]),
    "map for a word": (
        "log: {level: {a: b}}",
        ["3:14: log.level: must be one of debug, info, warning, error, not a map"],
    ),
    "list for a string": (
        "drain_timeout: [5s]",
        ["3:16: drain_timeout: must be a duration, not a list"],
    ),
    "list of listeners": (
        "inbound: [{listen: 127.0.0.1:1}]",
        [f"3:10: inbound: a list of listeners {NOT_SUPPORTED}"],
    ),
}

VALUES = {
    "boolean as yes": (
        "inbound: {allow_semicolon: yes}",
        ["3:28: inbound.allow_semicolon: must be true or false, not `yes` (did you mean `true`?)"],
    ),
    "boolean as off": (
        "inbound: {allow_semicolon: off}",
        ["3:28: inbound.allow_semicolon: must be true or false, not `off` (did you mean `false`?)"],
    ),
    "boolean in quotes": (
        'inbound: {allow_semicolon: "true"}',
        ["3:28: inbound.allow_semicolon: must be true or false, not `true` (did you mean `true`?)"],
    ),
    "boolean as a list": (
        "inbound: {allow_semicolon: []}",
        ["3:28: inbound.allow_semicolon: must be true or false, not a list"],
    ),
    "string that YAML takes for a boolean": (
        "inbound: {rules: [{paths: [/**], require: {roles: [on]}}]}",
        [
            "3:52: inbound.rules[0].require.roles[0]: must be a string; `on` needs quotes to be "
            'one (did you mean `"on"`?)'
        ],
    ),
    "string that YAML takes for a number": (
        "inbound: {rules: [{paths: [/**], require: {roles: [007]}}]}",
        [
            "3:52: inbound.rules[0].require.roles[0]: must be a string; `007` needs quotes to be "
            'one (did you mean `"007"`?)'
        ],
    ),
    "word that is no choice": (
        "log: {level: inof}",
        [
            "3:14: log.level: `inof` is not one of debug, info, warning, error "
            "(did you mean `info`?)"
        ],
    ),
    "integer out of bounds": (
        "attribution: {max_calls: 0}",
        ["3:26: attribution.max_calls: must be a whole number from 1 to 1000000, not `0`"],
    ),
    "integer in another notation": (
        "attribution: {max_calls: 1_000}",
        ["3:26: attribution.max_calls: must be a whole number from 1 to 1000000, not `1_000`"],
    ),
    "duration without unit": (
        "drain_timeout: 30",
        [f"3:16: drain_timeout: `30` needs a unit: it must be {A_DURATION} (did you mean `30s`?)"],
    ),
    "duration with another unit": (
        "drain_timeout: 30sec",
        ["3:16: drain_timeout: `30sec` has no such unit; use ms, s, m or h (did you mean `30s`?)"],
    ),
    "duration of two parts": (
        "drain_timeout: 1m30s",
        [f"3:16: drain_timeout: `1m30s` is not {A_DURATION}"],
    ),
    "duration too long": (
        "drain_timeout: 1h",
        ["3:16: drain_timeout: `1h` must be from 0s to 10m"],
    ),
    "size without unit": (
        "token_cache: {max_bytes: 65536}",
        [
            "3:26: token_cache.max_bytes: `65536` needs a unit: it must be a size such as 512B, "
            "64KiB or 1MiB (did you mean `65536B`?)"
        ],
    ),
    "size with another unit": (
        "token_cache: {max_bytes: 64MB}",
        [
            "3:26: token_cache.max_bytes: `64MB` has no such unit; use B, KiB, MiB or GiB "
            "(did you mean `64MiB`?)"
        ],
    ),
    "size too small": (
        "token_cache: {max_bytes: 1B}",
        ["3:26: token_cache.max_bytes: `1B` must be from 1KiB to 4GiB"],
    ),
    "address without host": (
        "admin: {listen: 15490}",
        [
            "3:17: admin.listen: `15490` needs an address before the port "
            "(did you mean `127.0.0.1:15490`?)"
        ],
    ),
    "address with a name": (
        "admin: {listen: metrics:80}",
        ["3:17: admin.listen: `metrics:80` must be an IP address or localhost, and a port"],
    ),
    "port too high": (
        "admin: {listen: 127.0.0.1:70000}",
        ["3:17: admin.listen: `127.0.0.1:70000` must have a port from 0 to 65535"],
    ),
    "origin with a path": (
        "inbound: {app: http://127.0.0.1:8080/api}",
        [
            "3:16: inbound.app: `http://127.0.0.1:8080/api` must end after host and port, without "
            "path or query (did you mean `http://127.0.0.1:8080`?)"
        ],
    ),
    "app as a port": (
        "inbound: {app: 8080}",
        ["3:16: inbound.app: `8080` must be an absolute URL that starts with http:// or https://"],
    ),
    "reference to no variable": (
        "drain_timeout: ${GRACE}",
        ["3:16: drain_timeout: `${GRACE}` names the environment variable GRACE, which is not set"],
    ),
    "reference without end": (
        "drain_timeout: ${GRACE",
        [
            "3:16: drain_timeout: `${GRACE` holds `${` without a variable name and `}`; "
            "`$${` is a literal one"
        ],
    ),
    "reference to no file": (
        "drain_timeout: file:absent",
        [
            "3:16: drain_timeout: `file:absent` names a file that cannot be read: "
            "No such file or directory"
        ],
    ),
}

MORE = {
    "anchored key": (
        "&a log: {level: info}",
        ["3:1: anchors are not supported; write the value out twice"],
    ),
    "quoted key": ('"log": {level: info}', []),
    "key that is a nested map": ("{a: [b]}: 1", ["3:1: a key must be a string"]),
    "null for a map": ("log: ~", ["3:6: log: must be a map, not a single value"]),
    "destinations as a list": (
        "outbound: {destinations: [a]}",
        ["3:26: outbound.destinations: must be a map, not a list"],
    ),
    "rules as a map": (
        "inbound: {rules: {a: b}}",
        ["3:18: inbound.rules: must be a list, not a map"],
    ),
    "rules without value": (
        "inbound: {rules: }",
        ["3:18: inbound.rules: must be a list, not nothing"],
    ),
    "integer as a list": (
        "attribution: {max_calls: [1]}",
        ["3:26: attribution.max_calls: must be a whole number from 1 to 1000000, not a list"],
    ),
    "aliases everywhere": (
        "inbound: {allow_semicolon: *a, rules: *b, limits: *c, mode: *d}\n"
        "attribution: {max_calls: *e}",
        [
            f"{place}: aliases are not supported; write the value out"
            for place in (
                "3:28: inbound.allow_semicolon",
                "3:39: inbound.rules",
                "3:51: inbound.limits",
                "3:61: inbound.mode",
                "4:26: attribution.max_calls",
            )
        ],
    ),
    "name that is reserved": (
        "outbound: {destinations: {other: {listen: '[::1]:1', upstream: 'http://[::1]:2'}}}",
        [
            "3:27: outbound.destinations.other: this name is reserved: it is the metric label of "
            "all routes over the bound"
        ],
    ),
    "name with a control character": (
        'inbound: {rules: [{name: "a\\tb", paths: [/a], allow: anyone}]}',
        ["3:26: inbound.rules[0].name: `a\\tb` must be 1 to 128 characters that can be shown"],
    ),
    "empty string": (
        'inbound: {rules: [{paths: [/a], require: {roles: [""]}}]}',
        ["3:51: inbound.rules[0].require.roles[0]: `` must not be empty"],
    ),
    "control character in a string": (
        'inbound: {rules: [{paths: [/a], require: {roles: ["\\e"]}}]}',
        ["3:51: inbound.rules[0].require.roles[0]: `\\x1b` must not hold control characters"],
    ),
    "space before the unit": (
        "drain_timeout: 5 s",
        ["3:16: drain_timeout: `5 s` must not hold a space (did you mean `5s`?)"],
    ),
    "host in brackets with a port": (
        "outbound: {destinations: {d: {listen: '[::1]:1', upstream: 'http://[::1]:2', "
        "hosts: ['[::1]:80']}}}",
        [
            "3:86: outbound.destinations.d.hosts[0]: `[::1]:80` must be a host name without port "
            "(did you mean `[::1]`?)"
        ],
    ),
    "address without brackets": (
        "admin: {listen: '::1:80'}",
        [
            "3:17: admin.listen: `::1:80` must have brackets around an IPv6 address "
            "(did you mean `[::1]:80`?)"
        ],
    ),
    "file that is a path": (
        "issuers2: 1\ndrain_timeout: 'file:\\0'",
        [
            "3:1: issuers2: unknown key (did you mean `issuers`?)",
            "4:16: drain_timeout: `file:\\0` names a file that cannot be read: "
            "No such file or directory",
        ],
    ),
    "path that is none": (
        'drain_timeout: "file:\\0"',
        ["3:16: drain_timeout: `file:\\x00` names a file that is not a path"],
    ),
}

RULES = {
    "neither allow nor require": (
        "[{paths: [/a]}]",
        "3:19: inbound.rules[0]: needs `allow: anyone`, `require: authenticated` or `require` "
        "with scopes or roles",
    ),
    "allow and require": (
        "[{paths: [/a], allow: anyone, require: authenticated}]",
        "3:57: inbound.rules[0].require: excludes `allow`; a rule has one of them",
    ),
    "allow authenticated": (
        "[{paths: [/a], allow: authenticated}]",
        "3:40: inbound.rules[0].allow: `authenticated` belongs under `require`: write "
        "`require: authenticated`",
    ),
    "require anyone": (
        "[{paths: [/a], require: anyone}]",
        "3:42: inbound.rules[0].require: cannot be `anyone`; write `allow: anyone` instead of "
        "`require`",
    ),
    "require a list": (
        "[{paths: [/a], require: [x]}]",
        "3:42: inbound.rules[0].require: must be `authenticated` or a map with `scopes` or "
        "`roles`, not a list",
    ),
    "require nothing": (
        "[{paths: [/a], require: {}}]",
        "3:42: inbound.rules[0].require: must name scopes, roles, claims or another right, or be "
        "`authenticated`",
    ),
    "a claim without a condition": (
        "[{paths: [/a], require: {claims: {tenant: {}}}}]",
        "3:60: inbound.rules[0].require.claims.tenant: must have exactly one of equals, one_of, "
        "contains, segment",
    ),
    "a claim with two conditions": (
        "[{paths: [/a], require: {claims: {tenant: {equals: a, one_of: [b]}}}}]",
        "3:60: inbound.rules[0].require.claims.tenant: must have exactly one of equals, one_of, "
        "contains, segment",
    ),
    "claims that are a list": (
        "[{paths: [/a], require: {claims: [tenant]}}]",
        "3:51: inbound.rules[0].require.claims: must be a map of claims to conditions, as "
        "{tenant: {equals: north}}",
    ),
    "no claims": (
        "[{paths: [/a], require: {claims: {}}}]",
        "3:51: inbound.rules[0].require.claims: must not be empty",
    ),
    "a claim that is no path": (
        "[{paths: [/a], require: {claims: {'a..b': {equals: x}}}}]",
        "3:52: inbound.rules[0].require.claims.a..b: this claim has an empty name, or a space "
        "outside double quotes; a path is names joined by dots, one that holds a dot in double "
        "quotes",
    ),
    "a value that YAML readers take for something else": (
        "[{paths: [/a], require: {claims: {level: {equals: 1.5}}}}]",
        "3:68: inbound.rules[0].require.claims.level.equals: `1.5` needs quotes to be a string "
        '(did you mean `"1.5"`?)',
    ),
    "a number that JSON cannot hold": (
        "[{paths: [/a], require: {claims: {level: {equals: 9007199254740993}}}}]",
        "3:68: inbound.rules[0].require.claims.level.equals: must be at most 2^53",
    ),
    "a segment in braces": (
        "[{paths: ['/u/{id}'], require: {claims: {sub: {segment: '{id}'}}}}]",
        "3:74: inbound.rules[0].require.claims.sub.segment: `{id}` must be the name of a segment, "
        "letters, digits and `_`, as `{name}` has it in `paths` (did you mean `id`?)",
    ),
    "a segment that no path has": (
        "[{paths: ['/users/{user}'], require: {claims: {sub: {segment: usr}}}}]",
        "3:55: inbound.rules[0].require.claims: asks for the segment {usr}, and the path "
        "/users/{user} has none (did you mean `user`?)",
    ),
    "a segment in two places": (
        "[{paths: ['/{id}', '/a/{id}'], require: {claims: {sub: {segment: id}}}}]",
        "3:58: inbound.rules[0].require.claims: asks for the segment {id}, which is not in the "
        "same place of every path: write a rule for each place",
    ),
    "a name for two segments": (
        "[{paths: ['/{id}/{id}'], allow: anyone}]",
        "3:28: inbound.rules[0].paths[0]: `/{id}/{id}` has two segments that are named {id}",
    ),
    "a name within a segment": (
        "[{paths: ['/a-{id}'], allow: anyone}]",
        "3:28: inbound.rules[0].paths[0]: `/a-{id}` must have `{name}` only as a whole segment, of "
        "letters, digits and `_`",
    ),
    "a host with a port": (
        "[{paths: [/a], hosts: ['a.example:80'], allow: anyone}]",
        "3:41: inbound.rules[0].hosts[0]: `a.example:80` must be a host name without port (did you "
        "mean `a.example`?)",
    ),
    "a host in capitals": (
        "[{paths: [/a], hosts: [A.example], allow: anyone}]",
        "3:41: inbound.rules[0].hosts[0]: `A.example` must be lower-case: hosts are compared in "
        "any case (did you mean `a.example`?)",
    ),
    "a host with a star inside": (
        "[{paths: [/a], hosts: ['a.*.example'], allow: anyone}]",
        "3:41: inbound.rules[0].hosts[0]: `a.*.example` must have `*` only as its first label",
    ),
    "a star for every host": (
        "[{paths: [/a], hosts: ['*.example'], allow: anyone}]",
        "3:41: inbound.rules[0].hosts[0]: `*.example` must have at least two labels after `*.`",
    ),
    "a host that ends in a dot": (
        "[{paths: [/a], hosts: [a.example.], allow: anyone}]",
        "3:41: inbound.rules[0].hosts[0]: `a.example.` must not end in a dot (did you mean "
        "`a.example`?)",
    ),
    "an actor that is a word": (
        "[{paths: [/a], require: {actor: orders}}]",
        "3:50: inbound.rules[0].require.actor: `orders` is not `none`",
    ),
    "an age of half a second": (
        "[{paths: [/a], require: {max_auth_age: 1500ms}}]",
        "3:57: inbound.rules[0].require.max_auth_age: `1500ms` must be whole seconds",
    ),
    "an acr with a space": (
        "[{paths: [/a], require: {acr: ['a b']}}]",
        "3:49: inbound.rules[0].require.acr[0]: `a b` must be one word; give each its own entry",
    ),
    "no rules": ("[]", "3:18: inbound.rules: must not be empty"),
    "no paths": (
        "[{paths: [], allow: anyone}]",
        "3:27: inbound.rules[0].paths: must not be empty",
    ),
    "path for a list": (
        "[{paths: /a, allow: anyone}]",
        "3:27: inbound.rules[0].paths: must be a list, not `/a` (did you mean `[/a]`?)",
    ),
    "path twice": (
        "[{paths: [/a, /a], allow: anyone}]",
        "3:32: inbound.rules[0].paths[1]: is listed twice",
    ),
    "path without slash": (
        "[{paths: [a], allow: anyone}]",
        "3:28: inbound.rules[0].paths[0]: `a` must start with `/` (did you mean `/a`?)",
    ),
    "inner double star": (
        "[{paths: [/**/a], allow: anyone}]",
        "3:28: inbound.rules[0].paths[0]: `/**/a` must have `**` only as its last segment",
    ),
    "part of a segment": (
        "[{paths: [/a*], allow: anyone}]",
        "3:28: inbound.rules[0].paths[0]: `/a*` must have `*` only as a whole segment",
    ),
    "percent": (
        "[{paths: [/a%20b], allow: anyone}]",
        "3:28: inbound.rules[0].paths[0]: `/a%20b` must not hold `%`: rules match decoded paths",
    ),
    "semicolon": (
        "[{paths: [/a;b], allow: anyone}]",
        "3:28: inbound.rules[0].paths[0]: `/a;b` must not hold `;`",
    ),
    "empty segment": (
        "[{paths: [/a//b], allow: anyone}]",
        "3:28: inbound.rules[0].paths[0]: `/a//b` must not hold an empty segment (`//`)",
    ),
    "dot segment": (
        "[{paths: [/a/../b], allow: anyone}]",
        "3:28: inbound.rules[0].paths[0]: `/a/../b` must not hold dot segments",
    ),
    "query": (
        "[{paths: ['/a?b'], allow: anyone}]",
        "3:28: inbound.rules[0].paths[0]: `/a?b` must be a path only, without query or fragment",
    ),
    "character of no path": (
        "[{paths: [/é], allow: anyone}]",
        "3:28: inbound.rules[0].paths[0]: `/é` holds a character that no path can have",
    ),
    "method in lower case": (
        "[{paths: [/a], methods: [get], allow: anyone}]",
        "3:43: inbound.rules[0].methods[0]: `get` must be upper-case (did you mean `GET`?)",
    ),
    "method with a space": (
        "[{paths: [/a], methods: [A B], allow: anyone}]",
        "3:43: inbound.rules[0].methods[0]: `A B` is not an HTTP method",
    ),
    "two scopes in one": (
        "[{paths: [/a], require: {scopes: [a b]}}]",
        "3:52: inbound.rules[0].require.scopes[0]: `a b` must be one scope; "
        "give each its own entry",
    ),
    "scope with a quote": (
        "[{paths: [/a], require: {scopes: ['a\"']}}]",
        '3:52: inbound.rules[0].require.scopes[0]: `a"` is not a scope (RFC 6749, section 3.3)',
    ),
    "client roles as a list": (
        "[{paths: [/a], require: {client_roles: [admin]}}]",
        "3:57: inbound.rules[0].require.client_roles: must be a map of client ids to roles, as "
        "{orders: [admin]}",
    ),
    "client roles of nobody": (
        "[{paths: [/a], require: {client_roles: {}}}]",
        "3:57: inbound.rules[0].require.client_roles: must not be empty",
    ),
    "client roles without roles": (
        "[{paths: [/a], require: {client_roles: {my.app: []}}}]",
        "3:66: inbound.rules[0].require.client_roles.my.app: must not be empty",
    ),
    "demand without any": (
        "[{paths: [/a], require: {roles: {one: [a]}}}]",
        "3:51: inbound.rules[0].require.roles.one: unknown key",
    ),
    "reserved name": (
        "[{name: other, paths: [/a], allow: anyone}]",
        "3:26: inbound.rules[0].name: `other` is reserved: it is the metric label of all routes "
        "over the bound",
    ),
    "same name twice": (
        "[{name: x, paths: [/a], allow: anyone}, {name: x, paths: [/b], allow: anyone}]",
        "3:58: inbound.rules[1].name: is the name of inbound.rules[0] too",
    ),
}

PLAINTEXT_KEYS = (
    "keys would be fetched over http://, where anyone on the way can replace them; "
    "use https:// or write `allow_plaintext: true`"
)

ISSUERS = {
    "no issuer": ("audiences: [x]", "3:6: issuers.b.issuer: is required"),
    "no audiences": ("issuer: https://b", "3:6: issuers.b.audiences: is required"),
    "audience for a list": (
        "issuer: https://b, audiences: x",
        "3:37: issuers.b.audiences: must be a list, not `x` (did you mean `[x]`?)",
    ),
    "empty audiences": (
        "issuer: https://b, audiences: []",
        "3:37: issuers.b.audiences: must not be empty",
    ),
    "issuer with a query": (
        "issuer: https://b?c, audiences: [x]",
        "3:15: issuers.b.issuer: `https://b?c` must not hold a query",
    ),
    "issuer with a fragment": (
        "issuer: https://b/#c, audiences: [x]",
        "3:15: issuers.b.issuer: `https://b/#c` must not hold a fragment",
    ),
    "issuer that is no URL": (
        "issuer: b, audiences: [x]",
        "3:15: issuers.b.issuer: `b` must be an absolute URL that starts with http:// or https://",
    ),
    "issuer with another scheme": (
        "issuer: ftp://b, audiences: [x]",
        "3:15: issuers.b.issuer: `ftp://b` must start with http:// or https://",
    ),
    "discovery in plaintext": (
        "issuer: http://b.example, audiences: [x]",
        f"3:15: issuers.b.issuer: {PLAINTEXT_KEYS}",
    ),
    "keys in plaintext": (
        "issuer: https://b, audiences: [x], jwks_uri: http://b.example/keys",
        f"3:52: issuers.b.jwks_uri: {PLAINTEXT_KEYS}",
    ),
    "keys from a file URL": (
        "issuer: https://b, audiences: [x], jwks_uri: file:///keys.json",
        "3:52: issuers.b.jwks_uri: `file:///keys.json` must start with http:// or https://; "
        "a key file goes under `jwks_file`",
    ),
    "keys in two places": (
        "issuer: https://b, audiences: [x], jwks_uri: https://b/k, discovery_url: https://b/d",
        "3:80: issuers.b.discovery_url: is a second place for the keys, besides `jwks_uri`",
    ),
    "key file that is absent": (
        "issuer: https://b, audiences: [x], jwks_file: absent.json",
        "3:53: issuers.b.jwks_file: cannot be read: No such file or directory",
    ),
    "key file that is a directory": (
        "issuer: https://b, audiences: [x], jwks_file: .",
        "3:53: issuers.b.jwks_file: cannot be read: Is a directory",
    ),
    "key file that holds no keys": (
        "issuer: https://b, audiences: [x], jwks_file: sidecar.yaml",
        "3:53: issuers.b.jwks_file: is not a usable key set (RFC 7517): the key set is not JSON",
    ),
    "upper-case host": (
        "issuer: https://b, audiences: [x], jwks_uri: https://B.Example/Keys",
        "3:52: issuers.b.jwks_uri: `https://B.Example/Keys` must have scheme and host in lower "
        "case (did you mean `https://b.example/Keys`?)",
    ),
    "unknown algorithm": (
        "issuer: https://b, audiences: [x], algorithms: [RS257]",
        "3:55: issuers.b.algorithms[0]: `RS257` is not one of RS256, RS384, RS512, PS256, PS384, "
        "PS512, ES256, ES384, ES512, EdDSA, Ed25519, Ed448 (did you mean `RS256`?)",
    ),
    "algorithm none": (
        "issuer: https://b, audiences: [x], algorithms: [none]",
        "3:55: issuers.b.algorithms[0]: `none` is never accepted",
    ),
    "symmetric algorithm": (
        "issuer: https://b, audiences: [x], algorithms: [HS256]",
        f"3:55: issuers.b.algorithms[0]: `HS256` {NOT_SUPPORTED}",
    ),
    "unknown profile": (
        "issuer: https://b, audiences: [x], profile: keyclok",
        "3:51: issuers.b.profile: `keyclok` is not one of generic, rfc9068, keycloak, spring, "
        "kubernetes, spiffe, entra, auth0, okta, cognito, transaction_token (did you mean "
        "`keycloak`?)",
    ),
    "trust domain without its profile": (
        "issuer: spiffe://b.test, audiences: [x], jwks_uri: https://b/k",
        "3:15: issuers.b.issuer: is a trust domain, which needs `profile: spiffe`",
    ),
    "spiffe without a trust domain": (
        "issuer: https://b, audiences: [x], jwks_uri: https://b/k, profile: spiffe",
        "3:15: issuers.b.issuer: must be `spiffe://` and the trust domain with `profile: spiffe`: "
        "a JWT-SVID is of a trust domain, whatever its `iss`",
    ),
    "trust domain with a path": (
        "issuer: spiffe://b.test/x, audiences: [x], jwks_uri: https://b/k, profile: spiffe",
        "3:15: issuers.b.issuer: `spiffe://b.test/x` is not `spiffe://` and a trust domain of "
        "lower-case letters, digits, `.`, `-` and `_`",
    ),
    "trust domain with discovery": (
        "issuer: spiffe://b.test, audiences: [x], profile: spiffe",
        "3:15: issuers.b.issuer: has no discovery: name the trust bundle as `jwks_uri` or "
        "`jwks_file`",
    ),
    "algorithm that the profile does not permit": (
        "issuer: spiffe://b.test, audiences: [x], jwks_uri: https://b/k, profile: spiffe, "
        "algorithms: [RS256, EdDSA]",
        "3:100: issuers.b.algorithms: holds `EdDSA`, which `profile: spiffe` does not permit",
    ),
    "token type that is none": (
        "issuer: https://b, audiences: [x], token_types: [a b]",
        "3:56: issuers.b.token_types[0]: `a b` is not a media type such as JWT or at+jwt, or the "
        "word absent",
    ),
    "token type twice in different spelling": (
        "issuer: https://b, audiences: [x], token_types: [JWT, application/jwt]",
        "3:61: issuers.b.token_types[1]: is listed twice",
    ),
    "claim path with an empty name": (
        "issuer: https://b, audiences: [x], roles_from: [realm_access..roles]",
        "3:55: issuers.b.roles_from[0]: `realm_access..roles` has an empty name, or a space "
        "outside double quotes; a path is names joined by dots, one that holds a dot in double "
        "quotes",
    ),
    "claim path that is not a list": (
        "issuer: https://b, audiences: [x], scopes_from: scp",
        "3:55: issuers.b.scopes_from: must be a list, not `scp` (did you mean `[scp]`?)",
    ),
    "required claims that are none": (
        "issuer: https://b, audiences: [x], required_claims: []",
        "3:59: issuers.b.required_claims: must not be empty",
    ),
    "unknown key of hygiene": (
        "issuer: https://b, audiences: [x], hygiene: {max_lifetme: 1h}",
        "3:52: issuers.b.hygiene.max_lifetme: unknown key (did you mean `max_lifetime`?)",
    ),
    "size of hygiene": (
        "issuer: https://b, audiences: [x], hygiene: {max_size: 4KB}",
        "3:62: issuers.b.hygiene.max_size: `4KB` has no such unit; use B, KiB, MiB or GiB (did "
        "you mean `4KiB`?)",
    ),
}

DESTINATIONS = {
    "no listen": (
        "upstream: http://127.0.0.1:9",
        "3:30: outbound.destinations.d.listen: is required",
    ),
    "listening beyond loopback": (
        "listen: 0.0.0.0:1, upstream: http://127.0.0.1:9",
        "3:39: outbound.destinations.d.listen: must be loopback, as in 127.0.0.1:9001: outbound "
        "listeners serve this pod only",
    ),
    "plaintext": (
        "listen: 127.0.0.1:1, upstream: http://d.example",
        "3:62: outbound.destinations.d.upstream: a credential would be sent over http:// beyond "
        "loopback; use https:// or write `allow_plaintext: true`",
    ),
    "plaintext of an app's credential": (
        "listen: 127.0.0.1:1, upstream: http://d.example, token: none, app_credentials: keep",
        "3:62: outbound.destinations.d.upstream: a credential would be sent over http:// beyond "
        "loopback; use https:// or write `allow_plaintext: true`",
    ),
    "calling itself": (
        "listen: 127.0.0.1:1, upstream: http://localhost:1",
        "3:62: outbound.destinations.d.upstream: is this destination's own `listen`",
    ),
    "host in upper case": (
        "listen: 127.0.0.1:1, upstream: http://127.0.0.1:9, hosts: [D]",
        "3:90: outbound.destinations.d.hosts[0]: `D` must have the host in lower case "
        "(did you mean `d`?)",
    ),
    "host with a port": (
        "listen: 127.0.0.1:1, upstream: http://127.0.0.1:9, hosts: ['d:1']",
        "3:90: outbound.destinations.d.hosts[0]: `d:1` must be a host name without port "
        "(did you mean `d`?)",
    ),
}

PLANNED = {
    "attribution: {carrier: node}": "3:24: attribution.carrier: `node`",
    "inbound: {observe_tokens: true}": "3:27: inbound.observe_tokens:",
    "inbound: {unprotected_ports: [1]}": "3:30: inbound.unprotected_ports:",
    "inbound: {app: https://127.0.0.1}": "3:16: inbound.app: an app behind https://",
}

CONFLICTS = {
    "a request that lingers in the next caller's turn": (
        "attribution: {exclusive: credential}\n"
        "inbound: {rules: [{paths: [/], require: authenticated, linger: 5s}]}",
        [
            "4:19: inbound.rules[0]: `linger` and `attribution.exclusive` exclude each other: "
            "what lingers is in the app during the next caller's turn"
        ],
    ),
    "a proxy that others could use": (
        "outbound: {proxy: 0.0.0.0:15401}",
        ["3:19: outbound.proxy: must be loopback, as in 127.0.0.1:15401: it serves this pod only"],
    ),
    "a proxy where the app is": (
        "outbound: {proxy: 127.0.0.1:8080}",
        [
            "1:1: inbound.app: is where the sidecar itself listens: outbound.proxy at "
            "sidecar.yaml:3:19"
        ],
    ),
    "two destinations that a proxy cannot tell apart": (
        "outbound:\n  proxy: 127.0.0.1:15401\n  destinations:\n"
        "    a: {listen: '127.0.0.1:1', upstream: 'http://127.0.0.1:9', hosts: [same]}\n"
        "    b: {listen: '127.0.0.1:2', upstream: 'http://127.0.0.1:8', hosts: [same]}",
        [
            "4:10: outbound.proxy: cannot tell the destinations a and b apart: both answer to "
            "same:80"
        ],
    ),
    "two listeners on one address": (
        "admin: {listen: 127.0.0.1:15406}",
        ["3:17: admin.listen: is taken: inbound.listen at sidecar.yaml:1:1 listens there"],
    ),
    "localhost and its address": (
        "inbound: {listen: 127.0.0.1:7}\nadmin: {listen: localhost:7}",
        ["4:17: admin.listen: is taken: inbound.listen at sidecar.yaml:3:19 listens there"],
    ),
    "the app behind itself": (
        "inbound: {app: http://localhost:15406}",
        [
            "3:16: inbound.app: is where the sidecar itself listens: inbound.listen at "
            "sidecar.yaml:3:10"
        ],
    ),
}


def under_issuers(text: str) -> str:
    return f"version: 1\nissuers:\n  b: {{{text}}}\n"


@pytest.mark.parametrize(("text", "expected"), DOCUMENTS.values(), ids=DOCUMENTS.keys())
def test_document(text: str | bytes, expected: list[str], examined: Examine) -> None:
    """What is wrong with a file as a whole is said with its position."""
    assert lines(examined(text).errors) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [*YAML.values(), *VALUES.values(), *MORE.values()],
    ids=[*YAML.keys(), *VALUES.keys(), *MORE.keys()],
)
def test_value(text: str, expected: list[str], examined: Examine) -> None:
    """A wrong key or value is named with its position, its path and what was meant."""
    assert lines(examined(VALID_START + text + "\n").errors) == expected


@pytest.mark.parametrize(("rules", "expected"), RULES.values(), ids=RULES.keys())
def test_rule(rules: str, expected: str, examined: Examine) -> None:
    """A wrong rule is named with its position and what a rule needs."""
    found = examined(f"{VALID_START}inbound: {{rules: {rules}}}\n").errors
    assert expected in lines(found)


@pytest.mark.parametrize(("issuer", "expected"), ISSUERS.values(), ids=ISSUERS.keys())
def test_issuer(issuer: str, expected: str, examined: Examine) -> None:
    """A wrong issuer is one problem, at its place."""
    assert lines(examined(under_issuers(issuer)).errors) == [expected]


@pytest.mark.parametrize(
    ("destination", "expected"), DESTINATIONS.values(), ids=DESTINATIONS.keys()
)
def test_destination(destination: str, expected: str, examined: Examine) -> None:
    """A wrong destination is one problem, at its place."""
    text = f"outbound: {{destinations: {{d: {{{destination}}}}}}}\n"
    assert lines(examined(VALID_START + text).errors) == [expected]


@pytest.mark.parametrize(("text", "expected"), PLANNED.items())
def test_later_version(text: str, expected: str, examined: Examine) -> None:
    """What only the design has is told apart from a typing mistake."""
    assert lines(examined(VALID_START + text + "\n").errors) == [f"{expected} {NOT_SUPPORTED}"]


@pytest.mark.parametrize(("text", "expected"), CONFLICTS.values(), ids=CONFLICTS.keys())
def test_conflict(text: str, expected: list[str], examined: Examine) -> None:
    """Two parts that exclude each other are both named."""
    assert lines(examined(VALID_START + text + "\n").errors) == expected


def test_same_issuer_twice(examined: Examine) -> None:
    """One issuer under two names is an error that names both."""
    text = (
        "version: 1\nissuers:\n"
        "  a: {issuer: 'https://a.example', audiences: [x]}\n"
        "  b: {issuer: 'https://a.example', audiences: [y]}\n"
    )
    assert lines(examined(text).errors) == [
        "4:15: issuers.b.issuer: is the same issuer as issuers.a.issuer at sidecar.yaml:3:15"
    ]


def test_name_of_an_issuer(examined: Examine) -> None:
    """A name that would not do as a metric label is refused."""
    text = "version: 1\nissuers:\n  a b: {issuer: 'https://a.example', audiences: [x]}\n"
    assert lines(examined(text).errors) == [
        "3:3: issuers.a b: this name must be 1 to 63 letters, digits, `.`, `_` or `-`, "
        "a letter or digit at both ends"
    ]


def test_all_at_once_in_order(examined: Examine) -> None:
    """Every problem of a file is reported, sorted by position."""
    text = (
        "admin: {listen: nowhere}\nversion: 2\nlog: {level: loud}\n"
        "inbound: {rules: [{paths: [x], allow: anyone}]}\nissuers: {a: {}}\n"
    )
    assert [(each.line, each.column, each.path) for each in examined(text).errors] == [
        (1, 17, "admin.listen"),
        (2, 10, "version"),
        (3, 14, "log.level"),
        (4, 28, "inbound.rules[0].paths[0]"),
        (5, 14, "issuers.a.issuer"),
        (5, 14, "issuers.a.audiences"),
    ]


def test_bounded(examined: Examine) -> None:
    """A file full of mistakes is answered with a bounded list that says so."""
    errors = examined("version: 1\n" + "".join(f"k{n}: 1\n" for n in range(5000))).errors
    assert len(errors) == 501
    assert errors[-1].message == "there are more problems than the 500 that are kept"
