"""Names and numbers that the patch, the webhook and the manifests agree on."""

from typing import Final

PREFIX: Final = "jwt-sidecar/"

CONTAINER: Final = "jwt-sidecar"
CARRIER: Final = "jwt-sidecar-carrier"
"""Init container and volume."""
CONFIG_VOLUME: Final = "jwt-sidecar-config"
RUN_VOLUME: Final = "jwt-sidecar-run"
SECRET_VOLUME: Final = "jwt-sidecar-secret"  # noqa: S105 - a name, no secret
NO_TOKEN_VOLUME: Final = "jwt-sidecar-no-token"  # noqa: S105 - a name, no secret
RESERVED: Final = "jwt-sidecar"
"""Containers of this name, and containers and volumes that start with it and ``-``, are ours."""

CONFIG_DIRECTORY: Final = "/etc/sidecar"
CONFIG_KEY: Final = "config.yaml"
POD_CONFIG: Final = "SIDECAR_POD_CONFIG"
SECRETS_DIRECTORY: Final = "/etc/sidecar-secrets"
RUN_DIRECTORY: Final = "/run/sidecar"
CONTROL_SOCKET: Final = "/run/sidecar/control.sock"
CONTROL_VARIABLE: Final = "SIDECAR_CONTROL"
CARRIERS_DIRECTORY: Final = "/jwt-sidecar/carriers"

ACCOUNT_VOLUME: Final = "jwt-sidecar-account"
ACCOUNT_DIRECTORY: Final = "/var/run/secrets/jwt-sidecar"
"""Where the token is that shows an identity provider which pod asks; the file is ``token``."""
TOKEN_DIRECTORY: Final = "/var/run/secrets/kubernetes.io/serviceaccount"  # noqa: S105 - a path

INBOUND_PORT_NAME: Final = "sidecar-in"
ADMIN_PORT_NAME: Final = "sidecar-admin"
UID: Final = 10001

STATUS: Final = "jwt-sidecar/status"
VERSION: Final = "jwt-sidecar/version"
PORT: Final = "jwt-sidecar/port"
"""On an injected pod: ``APP=INBOUND``, the app's port and the one in front of it."""
