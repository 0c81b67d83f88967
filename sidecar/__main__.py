"""``python -m sidecar`` and the ``sidecar`` command."""

from sidecar.cli import main

__all__ = ["main"]

if __name__ == "__main__":
    main()
