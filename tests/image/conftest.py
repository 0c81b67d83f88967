"""The built image, once for all tests."""

import os
from pathlib import Path

import pytest

from deploy.image.build import stamp
from tests.image.container import Image, load, missing

BUILT = Path(__file__).parents[2] / ".image"


@pytest.fixture(scope="session")
def image() -> Image:
    """The image of this very tree; skips without it, fails where everything must be there."""
    reason = _reason()
    if not reason:
        return load(BUILT)
    if os.environ.get("SIDECAR_REQUIRE_ALL") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


def _reason() -> str:
    if absent := missing():
        return f"running in the image takes {', '.join(absent)}"
    remedy = "make image, as root on Linux with mmdebstrap"
    if not (BUILT / "stamp").is_file():
        return f"the image is not built ({remedy})"
    if (BUILT / "stamp").read_text() != stamp():
        return f"the image is of other sources than these ({remedy})"
    return ""
