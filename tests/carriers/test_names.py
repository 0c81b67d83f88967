"""A carrier imports nothing of the sidecar, so what both must agree on is compared here."""

import sidecar
from sidecar.carriers.python.sidecar_carrier import names as carrier
from sidecar.core import names


def test_header_names_are_the_sidecars() -> None:
    """Both headers have the names that the sidecar reads."""
    assert carrier.CONTEXT_HEADER == names.CONTEXT_HEADER
    assert carrier.CARRIER_HEADER == names.CARRIER_HEADER


def test_handle_form_is_the_sidecars() -> None:
    """What the carrier takes for a handle has the sidecar's prefix, length and alphabet."""
    assert carrier.HANDLE_PREFIX == names.HANDLE_PREFIX
    assert carrier.HANDLE_LENGTH == names.HANDLE_LENGTH
    assert carrier.is_handle(names.HANDLE_PREFIX + "0" * names.HANDLE_RANDOM_LENGTH)


def test_version_is_the_distributions() -> None:
    """The self-report names the version the carrier was shipped with, and its grade."""
    assert sidecar.__version__ == carrier.VERSION
    assert carrier.self_report("strict") == f"python/{sidecar.__version__}; grade=strict"


def test_anything_else_is_no_handle() -> None:
    """One character too few, too many, or outside the alphabet, and it is not a handle."""
    handle = "sdc1" + "z9" * 14
    assert carrier.is_handle(handle)
    for value in ["", handle[:-1], handle + "0", handle.upper(), "sdc2" + handle[4:]]:
        assert not carrier.is_handle(value)
    for character in ["A", " ", "\n", "-", "\N{ARABIC-INDIC DIGIT ONE}"]:
        assert not carrier.is_handle(handle[:-1] + character)
