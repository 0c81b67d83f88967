"""What the calls of an app can prove with what its pod has, whichever carrier it loads."""

from sidecar.config.model import Assurance, Config


def without_carrier(config: Config) -> Assurance:
    """Return the best assurance that a call without a carrier's self-report may reach."""
    if config.inbound.token_to_app == "forward":  # noqa: S105 - a choice
        return "strict"
    if config.inbound.token_to_app == "placeholder" or config.attribution.exclusive != "off":  # noqa: S105
        return "standard"
    return "compat"


def best_assurance(config: Config) -> Assurance:
    """Return the best that any call may reach."""
    reports = config.attribution.carrier in ("auto", "python")
    return "strict" if reports else without_carrier(config)
