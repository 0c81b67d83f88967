"""Measure the sidecar against Envoy, on one core each, with real programs on loopback.

``make bench-quick`` runs it. Nothing here is installed with the package.
"""
