"""For each alert: series that must make it fire, and series close by that must not.

In promtool's notation, a sample a minute: ``0+6x60`` begins at 0 and grows by 6 sixty times.
"""

from collections.abc import Mapping
from dataclasses import dataclass

NS = 'namespace="shop"'
POD = f'{NS},pod="web-1"'
DAY = 86_400
Series = Mapping[str, str]


@dataclass(frozen=True)
class Case:
    """*fires* does so at the minute *after*, with *labels*; *quiet* does not until then."""

    alert: str
    after: int
    fires: Series
    quiet: Series
    labels: Mapping[str, str]


def _refused(reason: str, values: str, route: str = "users", enforced: str = "true") -> Series:
    labels = f'direction="inbound",reason="{reason}",route="{route}",enforced="{enforced}",{POD}'
    return {f"sidecar_rejections_total{{{labels}}}": values}


def _requests(values: str, direction: str = "inbound", route: str = "users") -> Series:
    labels = f'direction="{direction}",route="{route}",method="GET",code="200",{POD}'
    return {f"sidecar_requests_total{{{labels}}}": values}


def _calls(outcome: str, values: str) -> Series:
    labels = f'method="header",grade="strict",outcome="{outcome}",{POD}'
    return {f"sidecar_attributions_total{{{labels}}}": values}


def _overhead(fast: str, slow: str, slowest: str) -> Series:
    name = f'sidecar_overhead_seconds_bucket{{direction="inbound",{POD},le='
    return {f'{name}"0.001"}}': fast, f'{name}"0.05"}}': slow, f'{name}"+Inf"}}': slowest}


def _admissions(below: str, above: str) -> Series:
    name = "sidecar_injector_admission_duration_seconds_bucket{le="
    return {f'{name}"1"}}': below, f'{name}"10"}}': above, f'{name}"+Inf"}}': above}


def _up(job: str, pod: str, values: str) -> Series:
    return {f'up{{job="{job}",namespace="shop",pod="{pod}"}}': values}


def _state(state: str, values: str) -> Series:
    return {f'sidecar_issuer_state{{issuer="idp",state="{state}",{POD}}}': values}


def _needs(result: str, values: str) -> Series:
    labels = f'destination="profiles",result="{result}",{POD}'
    return {f"sidecar_token_exchanges_total{{{labels}}}": values}


def _asked(result: str, values: str) -> Series:
    labels = f'client="idp",result="{result}",{POD}'
    return {f"sidecar_token_endpoint_requests_total{{{labels}}}": values}


CASES = (
    Case(
        "SidecarKeysMissing",
        5,
        _state("blind", "1x10"),
        {**_state("blind", "0 1 0 1 0 1x0"), **_state("stale", "1x10")},
        {"namespace": "shop", "issuer": "idp", "severity": "critical"},
    ),
    Case(
        "SidecarKeysStale",
        20,
        _state("stale", "1x30"),
        _state("stale", "1x10 0x20"),
        {"namespace": "shop", "issuer": "idp", "severity": "warning"},
    ),
    Case(
        "SidecarCircuitOpen",
        8,
        # It half opens every now and then, and finds that nothing is better.
        {f'sidecar_circuit_state{{destination="idp",state="open",{POD}}}': "1 0 1 0 1 0 1 0 1 0"},
        {f'sidecar_circuit_state{{destination="idp",state="open",{POD}}}': "1 0 0 0 1 0 0 0 0 0"},
        {"namespace": "shop", "pod": "web-1", "destination": "idp", "severity": "warning"},
    ),
    Case(
        "SidecarTokensNotObtained",
        10,
        # Calls whose token is at hand hide nothing.
        {**_needs("unavailable", "0+6x20"), **_needs("cached", "0+900x20")},
        # What callers are refused for their own tokens is another matter.
        {
            **_needs("unavailable", "0+6x20"),
            **_needs("obtained", "0+60x20"),
            **_needs("refused", "0+60x20"),
        },
        {"namespace": "shop", "destination": "profiles", "severity": "critical"},
    ),
    Case(
        "SidecarClientMisconfigured",
        8,
        _asked("misconfigured", "0+1x20"),
        {**_asked("refused", "0+9x20"), **_asked("misconfigured", "7x20")},
        {"namespace": "shop", "client": "idp", "severity": "critical"},
    ),
    Case(
        "SidecarRejectionsJumped",
        80,
        # One a minute, then one a second.
        {**_refused("role_missing", "0+1x70 70+60x30"), **_requests("0+100x100")},
        # As many as always; a reason with its own alert; only counted; too few to matter.
        {
            **_refused("role_missing", "0+60x120", "always"),
            **_refused("audience_mismatch", "0x60 0+60x60", "other"),
            **_refused("scope_missing", "0x60 0+60x60", "watched", "false"),
            **_refused("token_missing", "0x60 0+6x60", "few"),
            **_requests("0+100x120"),
        },
        {"namespace": "shop", "route": "users", "reason": "role_missing", "severity": "warning"},
    ),
    Case(
        "SidecarWrongAudience",
        20,
        {**_refused("audience_mismatch", "0+10x30"), **_requests("0+100x30")},
        {**_refused("audience_mismatch", "0+4x30"), **_requests("0+100x30")},
        {"namespace": "shop", "severity": "warning"},
    ),
    Case(
        "SidecarForgedTokens",
        20,
        _refused("signature_invalid", "0+12x30"),
        {**_refused("signature_invalid", "0+3x30"), **_refused("token_expired", "0+100x30")},
        {"namespace": "shop", "reason": "signature_invalid", "severity": "warning"},
    ),
    Case(
        "SidecarRefusesByItself",
        15,
        {**_refused("ledger_full", "0+5x30"), **_requests("0+100x30")},
        {
            **_refused("ledger_full", "0+1x30", "few"),
            **_refused("draining", "0+50x30"),
            **_requests("0+200x30"),
        },
        {"namespace": "shop", "reason": "ledger_full", "severity": "critical"},
    ),
    Case(
        "SidecarPeerFailing",
        15,
        {**_refused("upstream_timeout", "0+10x30"), **_requests("0+100x30")},
        {**_refused("upstream_timeout", "0+4x30"), **_requests("0+100x30")},
        {"namespace": "shop", "direction": "inbound", "route": "users", "severity": "warning"},
    ),
    Case(
        "SidecarOverheadHigh",
        20,
        _overhead("0+90x30", "0+100x30", "0+100x30"),
        _overhead("0+1000x30", "0+1001x30", "0+1001x30"),
        {"namespace": "shop", "direction": "inbound", "severity": "warning"},
    ),
    Case(
        "SidecarLedgerNearlyFull",
        10,
        {
            f"sidecar_ledger_entries{{{POD}}}": "8100x20",
            f"sidecar_ledger_capacity{{{POD}}}": "10000x20",
        },
        {
            f"sidecar_ledger_entries{{{POD}}}": "7900x20",
            f"sidecar_ledger_capacity{{{POD}}}": "10000x20",
        },
        {"namespace": "shop", "pod": "web-1", "severity": "warning"},
    ),
    Case(
        "SidecarAttributionRefused",
        20,
        {**_calls("attribution_missing", "0+2x30"), **_calls("attached", "0+98x30")},
        {**_calls("attribution_missing", "0+1x30"), **_calls("attached", "0+199x30")},
        {"namespace": "shop", "outcome": "attribution_missing", "severity": "warning"},
    ),
    Case(
        "SidecarTunnelledPast",
        25,
        {f'sidecar_destination_connects_total{{route="profiles",{POD}}}': "0+1x40"},
        {f'sidecar_destination_connects_total{{route="profiles",{POD}}}': "0 1x40"},
        {"namespace": "shop", "route": "profiles", "severity": "warning"},
    ),
    Case(
        "SidecarAppExposed",
        10,
        {f"sidecar_app_exposed{{{POD}}}": "1x20"},
        {
            f"sidecar_app_exposed{{{POD}}}": "1x20",
            f'kube_networkpolicy_created{{{NS},networkpolicy="jwt-sidecar-fence"}}': "1x20",
            'sidecar_app_exposed{namespace="bank",pod="web-2"}': "0x20",
        },
        {"namespace": "shop", "pod": "web-1", "severity": "critical"},
    ),
    Case(
        "SidecarConfigReloadFailed",
        10,
        {f"sidecar_config_last_reload_successful{{{POD}}}": "1 0x20"},
        {f"sidecar_config_last_reload_successful{{{POD}}}": "0 0 1x20"},
        {"namespace": "shop", "pod": "web-1", "severity": "warning"},
    ),
    Case(
        "SidecarTlsReloadFailed",
        10,
        {f'sidecar_tls_last_reload_successful{{endpoint="inbound",{POD}}}': "1 0x20"},
        {f'sidecar_tls_last_reload_successful{{endpoint="inbound",{POD}}}': "0 0 1x20"},
        {"namespace": "shop", "pod": "web-1", "endpoint": "inbound", "severity": "warning"},
    ),
    Case(
        "SidecarCertificateExpiring",
        70,
        {
            f'sidecar_tls_certificate_expiry_timestamp_seconds{{endpoint="inbound",{POD}}}': (
                f"{6 * DAY}x80"
            )
        },
        {
            f'sidecar_tls_certificate_expiry_timestamp_seconds{{endpoint="inbound",{POD}}}': (
                f"{8 * DAY}x80"
            )
        },
        {"namespace": "shop", "pod": "web-1", "endpoint": "inbound", "severity": "warning"},
    ),
    Case(
        "SidecarCertificateExpired",
        5,
        {f'sidecar_tls_certificate_expiry_timestamp_seconds{{endpoint="inbound",{POD}}}': "1800x9"},
        {f'sidecar_tls_certificate_expiry_timestamp_seconds{{endpoint="inbound",{POD}}}': "9999x9"},
        {"namespace": "shop", "pod": "web-1", "endpoint": "inbound", "severity": "critical"},
    ),
    Case(
        "SidecarLogLinesLost",
        15,
        # Without log.decisions there is nothing of the other log.
        {f"sidecar_access_log_dropped_lines_total{{{POD}}}": "0+5x20"},
        {
            f"sidecar_access_log_dropped_lines_total{{{POD}}}": "7x20",
            f"sidecar_decision_log_dropped_lines_total{{{POD}}}": "0x20",
        },
        {"namespace": "shop", "pod": "web-1", "severity": "warning"},
    ),
    Case(
        "SidecarRestarting",
        20,
        {f'process_start_time_seconds{{job="jwt-sidecar",{POD}}}': "1x4 2x4 3x4 4x20"},
        {
            f'process_start_time_seconds{{job="jwt-sidecar",{POD}}}': "1x9 2x9 3x20",
            f'process_start_time_seconds{{job="app",{POD}}}': "1x4 2x4 3x4 4x20",
        },
        {"namespace": "shop", "pod": "web-1", "severity": "warning"},
    ),
    Case(
        "SidecarNotScraped",
        10,
        _up("jwt-sidecar", "web-1", "1 0x20"),
        {**_up("jwt-sidecar", "web-1", "0 0 1x20"), **_up("app", "web-1", "0x20")},
        {"namespace": "shop", "pod": "web-1", "severity": "warning"},
    ),
    Case(
        "SidecarTargetsGone",
        80,
        _up("jwt-sidecar", "web-1", "1x40 _x80"),
        {**_up("jwt-sidecar", "web-1", "1x40 _x80"), **_up("jwt-sidecar", "web-2", "1x90")},
        {"namespace": "shop", "severity": "warning"},
    ),
    Case(
        "SidecarInjectorDown",
        10,
        _up("jwt-sidecar-injector", "injector-1", "1 0x20"),
        {
            **_up("jwt-sidecar-injector", "injector-1", "0x20"),
            **_up("jwt-sidecar-injector", "injector-2", "1x20"),
        },
        {"severity": "critical"},
    ),
    Case(
        "SidecarInjectorAlone",
        20,
        {
            **_up("jwt-sidecar-injector", "injector-1", "0x30"),
            **_up("jwt-sidecar-injector", "injector-2", "1x30"),
        },
        {
            **_up("jwt-sidecar-injector", "injector-1", "1x30"),
            **_up("jwt-sidecar-injector", "injector-2", "1x30"),
        },
        {"severity": "warning"},
    ),
    Case(
        "SidecarInjectorFailing",
        15,
        {'sidecar_injector_admissions_total{kind="pod",result="error"}': "0+1x20"},
        {'sidecar_injector_admissions_total{kind="pod",result="refused"}': "0+1x20"},
        {"kind": "pod", "severity": "critical"},
    ),
    Case(
        "SidecarInjectorRefusing",
        30,
        {'sidecar_injector_admissions_total{kind="pod",result="refused"}': "0+1x40"},
        {
            'sidecar_injector_admissions_total{kind="pod",result="refused"}': "0 1x40",
            'sidecar_injector_admissions_total{kind="pod",result="injected"}': "0+9x40",
        },
        {"kind": "pod", "severity": "warning"},
    ),
    Case(
        "SidecarInjectorSlow",
        25,
        _admissions("0+50x40", "0+60x40"),
        _admissions("0+1000x40", "0+1001x40"),
        {"severity": "warning"},
    ),
    Case(
        "SidecarInjectorCertificateExpiring",
        70,
        {"sidecar_injector_certificate_expiry_timestamp_seconds": f"{6 * DAY}x80"},
        {"sidecar_injector_certificate_expiry_timestamp_seconds": f"{8 * DAY}x80"},
        {"severity": "critical"},
    ),
)
