import json

from sidecar.config.reference import markdown
from sidecar.config.schema import json_schema
from tests.cli.conftest import Run


def test_schema(sidecar: Run) -> None:
    """The schema is printed as JSON."""
    done = sidecar("schema")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == json_schema()


def test_table(sidecar: Run) -> None:
    """``--table`` prints what the documentation holds."""
    assert sidecar("schema", "--table").stdout == markdown()
