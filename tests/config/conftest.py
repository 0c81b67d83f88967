from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from sidecar.config.load import Examination, examine

Examine = Callable[..., Examination]
"""A configuration's text (and variables it may refer to) to what is wrong with it."""


@pytest.fixture
def examined(tmp_path: Path) -> Examine:
    """Write a text, or bytes, to a file and examine it."""

    def examine_text(text: str | bytes, environ: Mapping[str, str] | None = None) -> Examination:
        path = tmp_path / "sidecar.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return examine([str(path)], environ=environ or {})

    return examine_text
