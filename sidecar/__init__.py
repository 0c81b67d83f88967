"""jwt-sidecar: the identity proxy that stands next to one app in one pod."""

__version__ = "0.1.0"
