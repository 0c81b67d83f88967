"""A tree of nodes to one ``Config``, with everything that is wrong with it."""

from collections.abc import Mapping

from sidecar.config.app_probe_keys import check_app_probes, check_probe_headers
from sidecar.config.checks import check, check_attribution, check_destination_tokens
from sidecar.config.keys import ROOT
from sidecar.config.kinds import Invalid
from sidecar.config.model import Config
from sidecar.config.positions import MappingNode
from sidecar.config.problems import Findings
from sidecar.config.reading import Reading
from sidecar.config.rule_checks import check_audiences, check_client_roles


def parse(
    root: MappingNode,
    findings: Findings,
    environ: Mapping[str, str],
    files: dict[str, bytes] | None = None,
) -> Config | None:
    """Return the configuration at *root*, or ``None`` where *findings* holds an error.

    *files* is given the digests of the files that were read on the way.
    """
    return read(root, Reading(findings, environ, {} if files is None else files))


def read(root: MappingNode, reading: Reading) -> Config | None:
    """Return the configuration at *root*, or ``None`` where it cannot be put together.

    That is where *reading* holds an error, or a reference stood in for what had to be known.
    """
    findings = reading.findings
    config = ROOT.read(root, "", reading)
    check(reading.draft, findings)
    check_app_probes(reading.draft, findings)
    if isinstance(config, Invalid):
        return None
    check_attribution(reading.draft, config, findings)
    check_destination_tokens(reading.draft, config, findings)
    check_probe_headers(reading.draft, config, findings)
    if not findings.errors:
        check_audiences(reading.draft, config, findings)
    check_client_roles(reading.draft, config, findings)
    return None if findings.errors else config
