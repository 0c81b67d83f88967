"""``sidecar ui``: the live page of a sidecar, in the browser of this machine."""

import re
from typing import NoReturn

import click

from sidecar.cli.control_option import NO_ANSWER, socket_path

_POD = re.compile(r"([a-z]+(\.[a-z0-9.-]+)?/)?[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")

_EPILOG = """\b
Examples:
  sidecar ui --control /run/sidecar/control.sock
  sidecar ui --config sidecar.yaml --no-open
  sidecar ui --pod user-service-5d9c7 --namespace shop
\b
With --pod, --control and --config are paths in the pod; without either, what its container has
in SIDECAR_CONTROL, or /etc/sidecar/config.yaml. Ctrl-C ends it.
Exit codes: 0 ended, 2 wrong usage, 3 no answer.
"""


@click.command("ui", epilog=_EPILOG, short_help="Open the live page of a running sidecar.")
@click.option("--control", metavar="PATH", help="The control socket, admin.control in the file.")
@click.option(
    "--config",
    "-c",
    "paths",
    multiple=True,
    metavar="FILE",
    help="Configuration file that names the socket; repeat it as for `run`.",
)
@click.option("--pod", metavar="NAME", help="A sidecar in this pod, through `kubectl exec`.")
@click.option("--namespace", "-n", metavar="NAME", help="The pod's namespace.")
@click.option("--container", metavar="NAME", help="Its container with the sidecar.  [jwt-sidecar]")
@click.option("--context", "kube_context", metavar="NAME", help="The kubeconfig context.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    help="Port on 127.0.0.1; one that is free where none is given.",
)
@click.option("--open/--no-open", "opens", default=True, help="Open the browser.  [--open]")
@click.pass_context
def command(
    ctx: click.Context,
    control: str | None,
    paths: tuple[str, ...],
    pod: str | None,
    namespace: str | None,
    container: str | None,
    kube_context: str | None,
    port: int,
    opens: bool,
) -> None:
    """Show requests, latency, refusals, attribution, issuers and decisions as they happen.

    Serves the page on 127.0.0.1, for whoever has the address that is printed: keep it to yourself.
    """
    import asyncio
    import os

    from sidecar.cli.control_channel import Channel, PodChannel, SocketChannel, kubectl_exec
    from sidecar.cli.control_client import ControlError
    from sidecar.cli.ui_server import serve

    channel: Channel
    try:
        if pod is None:
            for option, value in (
                ("--namespace", namespace), ("--container", container), ("--context", kube_context)
            ):  # fmt: skip
                if value is not None:
                    raise click.UsageError(f"{option} goes with --pod")
            channel = SocketChannel(socket_path(ctx, control, paths))
        else:
            if control is not None and paths:
                raise click.UsageError("give --control or --config: each says which socket to ask")
            if not _POD.fullmatch(pod):
                raise click.UsageError(f"{pod!r} is no name of a pod")
            remote = ["sidecar", "control-pipe"]
            remote += [] if control is None else [f"--control={control}"]
            remote += [f"--config={path}" for path in paths]
            channel = PodChannel(
                kubectl_exec(
                    pod,
                    container=container or "jwt-sidecar",
                    namespace=namespace,
                    context=kube_context,
                    remote=remote,
                )
            )
        asyncio.run(serve(channel, port=port, opens=opens, say=click.echo))
    except ControlError as error:
        _fail(ctx, f"cannot ask the sidecar: {error}")
    except OSError as error:
        cause = os.strerror(error.errno) if error.errno else str(error)
        _fail(ctx, f"cannot listen on 127.0.0.1:{port}: {cause}")


def _fail(ctx: click.Context, cause: str) -> NoReturn:
    from sidecar.config.problems import printable

    click.echo(printable(f"sidecar: {cause}"), err=True)
    ctx.exit(NO_ANSWER)
