"""What the configuration says of recorded decisions: where they go, and what is in them.

Pure but for opening the file. Which claims a rule may ask about is worked out here, so that what is
recorded is enough to decide again.
"""

from collections.abc import Callable, Iterator, Mapping
from hashlib import sha256

from sidecar.config import model
from sidecar.core.claim_paths import ClaimPath
from sidecar.core.profiles import profile_of
from sidecar.telemetry.decision_callers import Callers, Redaction
from sidecar.telemetry.decision_log import DecisionLog
from sidecar.telemetry.log_files import RotatingFile


class DecisionLogError(Exception):
    """The file of recorded decisions cannot be opened; the message is one line."""


def decision_log(
    config: model.Config, standard_output: Callable[[bytes], object]
) -> DecisionLog | None:
    """Return the log that *config* asks for, writing to its file or to *standard_output*.

    Raises:
        DecisionLogError: the file cannot be opened.
    """
    asked = config.log.decisions
    if asked is None or asked.what == "off":
        return None
    write = standard_output
    if asked.file is not None:
        try:
            write = RotatingFile(asked.file, max_bytes=asked.max_size_bytes, keep=asked.keep)
        except OSError as error:
            cause = f"log.decisions.file: {asked.file} cannot be opened: {error.strerror}"
            raise DecisionLogError(cause) from error
    return DecisionLog(write, decision_callers(config), refusals_only=asked.what == "refusals")


def decision_callers(config: model.Config) -> Callers:
    """Return what describes callers in recorded decisions, where any are recorded."""
    asked = config.log.decisions
    redaction = None
    if asked is not None and asked.redact:
        redaction = Redaction(frozenset(asked.redact), asked.redact_key.encode())
    return Callers(recorded_claims(config), redaction, readings(config))


def recorded_claims(config: model.Config) -> tuple[ClaimPath, ...]:
    """Return the claims that are recorded besides the usual: what conditions name, and a list."""
    asked = config.log.decisions
    paths: dict[ClaimPath, None] = {}
    for rule in config.inbound.rules:
        if isinstance(rule.access, model.Require):
            paths.update(dict.fromkeys(conditioned(rule.access)))
    if asked is not None:
        paths.update(dict.fromkeys(asked.claims))
    return tuple(paths)


def conditioned(access: model.Require) -> Iterator[ClaimPath]:
    """Yield each claim that a condition of *access* looks at."""
    for condition in access.claims:
        yield condition.claim


def readings(config: model.Config) -> Mapping[str, str]:
    """Return, by issuer, a short name for where its scopes and roles are looked for.

    Recorded with each caller: scopes that were read in another way are no evidence.
    """
    found = {}
    for name, issuer in config.issuers.items():
        profile = profile_of(issuer.profile)
        roles = profile.roles_from if issuer.roles_from is None else issuer.roles_from
        scopes = profile.scopes_from if issuer.scopes_from is None else issuer.scopes_from
        said = repr((roles, scopes, profile.has_client_roles)).encode()
        found[name] = sha256(said).hexdigest()[:8]
    return found
