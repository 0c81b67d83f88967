"""What differs between the interpreted and the compiled build, for tests."""

import pytest

from sidecar.core.build import COMPILED

interpreted_only = pytest.mark.skipif(
    COMPILED, reason="replaces a method of an object, which a compiled class does not allow"
)
"""For a test that slows down or breaks one step of the forwarding path."""
