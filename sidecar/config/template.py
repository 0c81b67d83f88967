"""The commented file that ``sidecar init`` prints: the shortest that works, and what comes next."""

import json
from typing import Final

PLACEHOLDER_AUDIENCE: Final = "change-me"
"""No issuer writes it, so that a file used as printed refuses every token."""

_TEMPLATE: Final = """\
# jwt-sidecar configuration. `sidecar check --config FILE` says what is wrong with it,
# `sidecar run --config FILE` runs it. All keys: docs/configuration.md, `sidecar schema`.
version: 1

issuers:
  main:
    # The `iss` of the tokens, exactly. The keys are found by discovery:
    # this URL followed by /.well-known/openid-configuration.
    issuer: {issuer}
    # A token must name one of these in `aud`.{change}
    audiences: {audiences}
    # profile: keycloak              # whose tokens: docs/profiles.md lists all
    # jwks_uri: https://…            # the keys themselves, instead of discovery
    # jwks_file: keys.json           # or from a file beside this one

inbound:
  listen: 0.0.0.0:15406              # callers connect here instead of to the app
  app: {app}
  # First match wins; a request that no rule matches is refused.
  rules:
    - name: health
      paths: [/healthz]
      methods: [GET]
      allow: anyone
    # - name: admin
    #   paths: [/admin/**]           # /admin, /admin/ and everything below
    #   require: {{roles: [ADMIN]}}    # a list means all of them; {{any: [A, B]}} means one
    - name: everything
      paths: [/**]
      require: authenticated         # or {{scopes: [profile.read]}}

# Where the app may call. It calls http://localhost:9001; the sidecar finds the request that
# caused the call and sends that request's token along, or refuses.
# outbound:
#   destinations:
#     profile-service:
#       listen: 127.0.0.1:9001
#       upstream: http://profile-service:8080
#       token: relay                 # or exchange, client_credentials, …: docs/token-exchange.md
#       audiences: [profile-service] # what it takes as `aud`; tokens for others are counted
#       allow_plaintext: true        # a credential over http:// beyond loopback

admin:
  listen: 0.0.0.0:15490              # /metrics /livez /readyz
  # control: unix:/run/sidecar/control.sock   # for `sidecar status`; the directory must exist
"""


def render(*, issuer: str, app: str, audiences: tuple[str, ...]) -> str:
    """Return the file's text. The values must have passed the parser."""
    return _TEMPLATE.format(
        issuer=_scalar(issuer),
        app=_scalar(app),
        audiences="[" + ", ".join(map(_scalar, audiences or (PLACEHOLDER_AUDIENCE,))) + "]",
        change="" if audiences else f" Replace {PLACEHOLDER_AUDIENCE}: it fits no token.",
    )


def _scalar(value: str) -> str:
    """Return *value* as YAML; JSON's double quotes are YAML's."""
    is_plain = value.isascii() and all(c.isalnum() or c in "-._~:/" for c in value)
    starts_plain = value[:1].isalpha() and value.lower() not in _WORDS
    is_split = value.endswith(":") or not value
    return value if is_plain and starts_plain and not is_split else json.dumps(value)


_WORDS: Final = frozenset({"true", "false", "yes", "no", "on", "off", "null"})
