"""A complete configuration, which uses every part."""

FULL = """\
version: 1
issuers:
  shop:
    issuer: https://keycloak.example/realms/shop
    audiences: [profile-service]
    algorithms: [RS256, ES256, EdDSA]
    profile: keycloak
inbound:
  listen: 0.0.0.0:15406
  app: http://127.0.0.1:8080
  mode: enforce
  token_to_app: withhold
  rules:
    - name: health
      paths: [/healthz]
      methods: [GET]
      allow: anyone
    - paths: [/admin/**]
      require: {roles: [ADMIN]}
    - paths: [/**]
      require: {scopes: [profile.read]}
attribution:
  carrier: auto
  exclusive: off
  max_age: 60s
outbound:
  proxy: 127.0.0.1:15401
  unlisted: forward
  destinations:
    profile-service:
      listen: 127.0.0.1:9001
      hosts: [profile-service, profile-service.shop.svc.cluster.local]
      upstream: http://profile-service.shop.svc:8080
      token: relay
      min_assurance: strict
      without_context: refuse
      allow_plaintext: true
admin:
  listen: 0.0.0.0:15490
  control: unix:/run/sidecar/control.sock
"""
