"""How this package was built: interpreted, or with the forwarding path compiled (setup.py)."""

from typing import Final

COMPILED: Final = not __file__.endswith((".py", ".pyc"))
"""Whether this module, and with it all that belong to the forwarding path, is native code."""
