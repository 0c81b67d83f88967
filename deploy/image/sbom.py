"""The list of what is in the image (CycloneDX 1.6), read from what really is in its root.

Python's distributions by their metadata, Debian's packages by dpkg's list, and the libraries that
wheels bring along inside, which neither of those names and which say their version themselves.

Runs with the interpreter of /opt/sidecar, because those libraries have to be asked.
"""

import importlib.metadata
import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

VERSION: Final = "1.6"
Component = dict[str, Any]


def listing(root: Path, within: Mapping[str, str]) -> dict[str, Any]:
    """Return the document for the image in *root*; *within* are versions of bundled libraries.

    The same root gives the same document: it holds no time and no random number.
    """
    components = [*_distributions(root), *_debian_packages(root), *_bundled(within)]
    ours = next(one for one in components if one["name"] == "jwt-sidecar")
    return {
        "bomFormat": "CycloneDX",
        "specVersion": VERSION,
        "version": 1,
        "metadata": {
            "component": {
                "type": "container",
                "bom-ref": "image",
                "name": "jwt-sidecar",
                "version": ours["version"],
            }
        },
        "components": sorted(components, key=lambda one: str(one["bom-ref"])),
    }


def _component(name: str, version: str, purl: str) -> Component:
    return {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}


def _distributions(root: Path) -> list[Component]:
    (site,) = root.glob("opt/sidecar/lib/python3.*/site-packages")
    found = []
    for one in importlib.metadata.distributions(path=[str(site)]):
        name = re.sub(r"[-_.]+", "-", one.name).lower()
        component = _component(name, one.version, f"pkg:pypi/{name}@{quote(one.version)}")
        if "License-Expression" in one.metadata:
            component["licenses"] = [{"expression": one.metadata["License-Expression"]}]
        found.append(component)
    return found


def _debian_packages(root: Path) -> list[Component]:
    release = dict(
        line.split("=", 1)
        for line in (root / "usr/lib/os-release").read_text().splitlines()
        if "=" in line
    )
    codename = release["VERSION_CODENAME"]
    found = []
    for paragraph in (root / "var/lib/dpkg/status").read_text().split("\n\n"):
        fields = dict(re.findall(r"^([A-Za-z-]+): (.*)$", paragraph, re.MULTILINE))
        if not fields:
            continue
        name, version = fields["Package"], fields["Version"]
        purl = f"pkg:deb/debian/{quote(name)}@{quote(version)}"
        purl += f"?arch={fields['Architecture']}&distro={codename}"
        found.append(_component(name, version, purl))
    return found


def _bundled(within: Mapping[str, str]) -> list[Component]:
    return [
        _component(name, version, f"pkg:generic/{name}@{quote(version)}")
        for name, version in within.items()
    ]


def bundled_libraries() -> dict[str, str]:
    """Ask the wheels that bring a library along for its version.

    PyNaCl's does not tell which libsodium it has: its own version says that.
    """
    import uvloop.loop
    import yaml._yaml
    from cryptography.hazmat.backends.openssl.backend import backend

    openssl = backend.openssl_version_text().split()[1]
    number = uvloop.loop.libuv_get_version()  # type: ignore[attr-defined]
    return {
        "openssl": openssl,
        "libuv": f"{number >> 16}.{number >> 8 & 255}.{number & 255}",
        "libyaml": yaml._yaml.get_version_string(),
    }


if __name__ == "__main__":
    json.dump(listing(Path(sys.argv[1]), bundled_libraries()), sys.stdout, indent=1)
