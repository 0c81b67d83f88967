"""Where and how the sidecar is deployed: manifests, and how its image is built."""
