"""The two configuration files of the tour, as somebody would write them by hand."""

from sidecar.demo.ports import Ports

AUDIENCES = ("user-service", "profile-service")
"""Both services are in the ``aud`` of every ordinary token, because it is relayed as it is."""

_USER_SERVICE = """\
# The sidecar beside user-service.
version: 1
issuers:
  demo:
    issuer: {issuer}
    audiences: [user-service]
    profile: keycloak
inbound:
  listen: 127.0.0.1:{ports.user_inbound}
  app: http://127.0.0.1:{ports.user_service}
  rules:
    - paths: [/healthz]
      methods: [GET]
      allow: anyone
    - name: users
      paths: [/users/*]
      require: {{scopes: [profile.read]}}
    - name: background
      paths: [/reports/**, /warmup]
      require: authenticated
outbound:
  destinations:
    profile-service:
      listen: 127.0.0.1:{ports.user_outbound}       # the app calls http://localhost:{ports.user_outbound}
      upstream: http://127.0.0.1:{ports.profile_inbound}
      token: relay
      audiences: [profile-service]                  # what it takes as `aud`; others are counted
admin:
  listen: 127.0.0.1:{ports.user_admin}
"""

_PROFILE_SERVICE = """\
# The sidecar beside profile-service.
version: 1
issuers:
  demo:
    issuer: {issuer}
    audiences: [profile-service]
    profile: keycloak
inbound:
  listen: 127.0.0.1:{ports.profile_inbound}
  app: http://127.0.0.1:{ports.profile_service}
  rules:
    - paths: [/healthz]
      methods: [GET]
      allow: anyone
    - name: admin
      paths: [/admin/**]
      require: {{roles: [ADMIN]}}
    - name: profiles
      paths: [/profiles/*]
      require: {{scopes: [profile.read]}}
admin:
  listen: 127.0.0.1:{ports.profile_admin}
"""


def user_service_configuration(issuer: str, ports: Ports) -> str:
    """The YAML file of user-service's sidecar."""
    return _USER_SERVICE.format(issuer=issuer, ports=ports)


def profile_service_configuration(issuer: str, ports: Ports) -> str:
    """The YAML file of profile-service's sidecar."""
    return _PROFILE_SERVICE.format(issuer=issuer, ports=ports)
