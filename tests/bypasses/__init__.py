"""Published ways past a proxy's rules, against a running sidecar with a real app behind it."""
