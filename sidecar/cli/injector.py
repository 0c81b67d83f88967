"""``sidecar injector``: the admission webhook that puts sidecars into pods as they are created."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Callable

    from sidecar.kubernetes.settings import Resources
    from sidecar.tls.files import TlsPaths

T = TypeVar("T")

CANNOT_START: Final = 3
NAME: Final = "jwt-sidecar-injector"
NAMESPACE: Final = "SIDECAR_POD_NAMESPACE"

_EPILOG = """\b
Runs in the cluster as deploy/k8s/base has it:
  sidecar injector --image registry.example/jwt-sidecar:1.2.3
\b
With a certificate of cert-manager's; the files are read again when they change:
  sidecar injector --image IMAGE --certificate /tls/tls.crt --key /tls/tls.key
\b
Without --certificate it is its own authority: kept in the Secret, renewed in time, and written
into `caBundle` of the webhook configurations. Listens with TLS for the API server (/mutate for
pods, /validate for Services), and without for operators (/livez /readyz /metrics).
One JSON line per answer goes to standard output. Ends on SIGTERM or SIGINT.
Exit codes: 0 stopped, 2 wrong usage, 3 cannot start.
"""


@click.command("injector", epilog=_EPILOG, short_help="Run the Kubernetes admission webhook.")
@click.option("--image", metavar="IMAGE", help="The sidecar's image (jwt-sidecar:VERSION).")
@click.option(
    "--image-pull-policy",
    type=click.Choice(["Always", "IfNotPresent", "Never"]),
    default="IfNotPresent",
    show_default=True,
)
@click.option("--listen", metavar="ADDRESS", default="0.0.0.0:8443", show_default=True)
@click.option("--admin", metavar="ADDRESS", default="0.0.0.0:15490", show_default=True)
@click.option("--certificate", metavar="FILE", help="Certificate chain in PEM; with --key.")
@click.option("--key", metavar="FILE", help="Its private key in PEM.")
@click.option(
    "--namespace",
    metavar="NAME",
    help=f"Where Secret and Service are (${NAMESPACE}, or the service account's).",
)
@click.option("--service", metavar="NAME", default=NAME, show_default=True)
@click.option("--secret", metavar="NAME", default=NAME, show_default=True)
@click.option(
    "--webhooks",
    metavar="NAME",
    default=NAME,
    show_default=True,
    help="The mutating and the validating webhook configuration.",
)
@click.option(
    "--native",
    type=click.Choice(["auto", "true", "false"]),
    default="auto",
    show_default=True,
    help="Native sidecars; auto: from Kubernetes 1.29.",
)
@click.option("--config-map", metavar="NAME", default="jwt-sidecar", show_default=True)
@click.option("--carrier", type=click.Choice(["none", "python"]), default="none", show_default=True)
@click.option(
    "--probes", type=click.Choice(["rewrite", "keep"]), default="rewrite", show_default=True
)
@click.option("--app-pre-stop-sleep", type=click.IntRange(0, 3600), default=0, metavar="SECONDS")
@click.option("--cpu-request", metavar="QUANTITY")
@click.option("--cpu-limit", metavar="QUANTITY")
@click.option("--memory-request", metavar="QUANTITY")
@click.option("--memory-limit", metavar="QUANTITY")
@click.option("--drain", metavar="DURATION", default="5s", show_default=True,
              help="How long it answers after it was told to end.")  # fmt: skip
@click.option("--api-server", metavar="URL", default="", help="Outside of the cluster only.")
@click.option("--api-ca", metavar="FILE", default="")
@click.option("--api-token-file", metavar="FILE", default="")
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
)
@click.pass_context
def command(
    ctx: click.Context,
    image: str | None,
    image_pull_policy: str,
    listen: str,
    admin: str,
    certificate: str | None,
    key: str | None,
    namespace: str | None,
    service: str,
    secret: str,
    webhooks: str,
    native: str,
    config_map: str,
    carrier: str,
    probes: str,
    app_pre_stop_sleep: int,
    cpu_request: str | None,
    cpu_limit: str | None,
    memory_request: str | None,
    memory_limit: str | None,
    drain: str,
    api_server: str,
    api_ca: str,
    api_token_file: str,
    log_level: str,
) -> None:  # fmt: skip
    """Run the admission webhook that puts a sidecar into each new pod."""
    import sidecar
    from sidecar.config import endpoints, values
    from sidecar.kubernetes.api import SettingError, server_of
    from sidecar.kubernetes.authority import Place
    from sidecar.kubernetes.injector import InjectorStartError, Options, run
    from sidecar.kubernetes.settings import InjectorSettings

    resources = _resources(cpu_request, cpu_limit, memory_request, memory_limit)
    try:
        server = server_of(os.environ, url=api_server, ca=api_ca, token=api_token_file)
    except SettingError as error:
        raise click.UsageError(str(error)) from None
    files = _files(certificate, key)
    names = {"service": service, "secret": secret, "webhooks": webhooks, "config-map": config_map}
    for flag, value in names.items():
        _named(f"--{flag}", value)
    found = _namespace(namespace)
    if not found and files is None:
        raise click.UsageError(
            f"--namespace: where is the Secret kept? Give it, or set ${NAMESPACE}"
        )
    options = Options(
        listen=_parsed("--listen", endpoints.listen, listen),
        admin=_parsed("--admin", endpoints.listen, admin),
        server=server,
        settings=InjectorSettings(
            image=image or f"jwt-sidecar:{sidecar.__version__}",
            image_pull_policy=image_pull_policy,  # type: ignore[arg-type] # click has checked
            resources=resources,
            config=config_map,
            carrier=carrier,  # type: ignore[arg-type]
            probes=probes,  # type: ignore[arg-type]
            app_pre_stop_sleep=app_pre_stop_sleep,
        ),
        native=native,  # type: ignore[arg-type]
        place=Place(found, secret, service, webhooks),
        files=files,
        drain_seconds=_parsed("--drain", values.duration(0.0, 60.0), drain),
        log_level=log_level,  # type: ignore[arg-type]
    )
    try:
        run(options)
    except InjectorStartError as error:
        click.echo(f"sidecar: cannot start: {error}", err=True)
        ctx.exit(CANNOT_START)


def _files(certificate: str | None, key: str | None) -> "TlsPaths | None":
    from sidecar.tls.files import TlsPaths

    if bool(certificate) != bool(key):
        missing = "--key" if certificate else "--certificate"
        raise click.UsageError(f"{missing} is missing: a certificate comes with its key")
    return TlsPaths(certificate=certificate, key=key) if certificate and key else None


def _namespace(given: str | None) -> str:
    from sidecar.kubernetes.api import ACCOUNT

    found = given or os.environ.get(NAMESPACE, "")
    if not found:
        try:
            found = Path(ACCOUNT, "namespace").read_text(encoding="ascii").strip()
        except (OSError, ValueError):
            return ""
    _named("--namespace", found)
    return found


def _named(flag: str, value: str) -> None:
    import re

    if not re.fullmatch(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?", value):
        raise click.UsageError(
            f"{flag}: must be the name of an object: lower-case letters, digits and `-`"
        )


def _resources(*given: str | None) -> "Resources":
    from dataclasses import replace

    from sidecar.kubernetes import quantities
    from sidecar.kubernetes.settings import Resources

    parsers = (quantities.cpu, quantities.cpu, quantities.memory_request, quantities.memory_limit)
    fields = ("cpu_request", "cpu_limit", "memory_request", "memory_limit")
    changed = {
        field: _parsed(f"--{field.replace('_', '-')}", parse, value)
        for field, parse, value in zip(fields, parsers, given, strict=True)
        if value is not None
    }
    resources = replace(Resources(), **changed)
    for what, request, limit in (
        ("cpu", resources.cpu_request, resources.cpu_limit),
        ("memory", resources.memory_request, resources.memory_limit),
    ):
        if request and limit and quantities.amount(request) > quantities.amount(limit):
            raise click.UsageError(f"--{what}-request: {request} is more than the limit, {limit}")
    return resources


def _parsed(flag: str, parse: "Callable[[str], T]", text: str) -> T:
    from sidecar.config.values import Complaint

    try:
        return parse(text)
    except Complaint as complaint:
        hint = f"; did you mean {complaint.suggestion}?" if complaint.suggestion else ""
        raise click.UsageError(f"{flag}: {complaint}{hint}") from None
