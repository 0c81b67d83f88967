"""``sidecar run``: a configuration from files, flags or both, and then the sidecar itself."""

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager

import click

from sidecar.cli.reporting import counted, show

CANNOT_START = 3

_EPILOG = """\b
Examples:
  sidecar run --config sidecar.yaml
  sidecar run --app 8080 --issuer https://idp.example/realms/shop --audience my-service
  sidecar run --app 8080 --issuer https://idp.example --audience my-service \\
      --allow-anyone /healthz --destination 9001=http://profile-service --allow-plaintext
\b
Ends on SIGTERM or SIGINT, after requests in progress have ended (drain_timeout). Reads the
configuration again when its files change, and on SIGHUP.
Exit codes: 0 stopped, 2 wrong usage, 3 cannot start.
"""


@click.command("run", epilog=_EPILOG, short_help="Run the sidecar.")
@click.option(
    "--config",
    "-c",
    "paths",
    multiple=True,
    metavar="FILE|env:NAME",
    help="Configuration file, or env:NAME for a variable that holds one; several merge, and none "
    "overrides another.",
)
@click.option("--app", metavar="PORT|URL", help="Where the app listens on this machine.")
@click.option("--issuer", metavar="URL", help="Whose tokens are accepted; keys by discovery.")
@click.option(
    "--audience",
    "audiences",
    multiple=True,
    metavar="NAME",
    help="Audience that tokens must name; repeatable; `any` checks nothing.",
)
@click.option("--jwks-uri", metavar="URL", help="The issuer's keys, instead of discovery.")
@click.option("--jwks-file", metavar="FILE", help="The issuer's keys on disk.")
@click.option(
    "--discovery-url", metavar="URL", help="Where discovery starts, if not at the issuer."
)
@click.option(
    "--destination",
    "destinations",
    multiple=True,
    metavar="[NAME:]PORT=URL",
    help="The app calls localhost:PORT to reach URL with the caller's token; repeatable.",
)
@click.option(
    "--listen", metavar="ADDRESS|PORT", help="Where callers connect (0.0.0.0:15406), or off."
)
@click.option("--admin", metavar="ADDRESS|PORT", help="Metrics and probes (0.0.0.0:15490).")
@click.option("--control", metavar="PATH", help="Socket for `sidecar status`; none by default.")
@click.option("--carrier", metavar="NAME", help="What the app loads: auto, python or none.")
@click.option(
    "--allow-anyone",
    "anyone_paths",
    multiple=True,
    metavar="PATH",
    help="Path that needs no token; repeatable. All others need one.",
)
@click.option(
    "--allow-plaintext",
    is_flag=True,
    help="Permit http:// beyond loopback for keys and credentials.",
)
@click.pass_context
def command(
    ctx: click.Context,
    paths: tuple[str, ...],
    app: str | None,
    issuer: str | None,
    audiences: tuple[str, ...],
    jwks_uri: str | None,
    jwks_file: str | None,
    discovery_url: str | None,
    destinations: tuple[str, ...],
    listen: str | None,
    admin: str | None,
    control: str | None,
    carrier: str | None,
    anyone_paths: tuple[str, ...],
    allow_plaintext: bool,
) -> None:  # fmt: skip
    """Run the sidecar with a configuration from --config, from flags, or from both together."""
    from sidecar.config.flags import Flags
    from sidecar.config.load import examine

    flags = Flags(
        app=app, issuer=issuer, audiences=audiences, jwks_uri=jwks_uri, jwks_file=jwks_file,
        discovery_url=discovery_url, destinations=destinations, listen=listen, admin=admin,
        control=control, carrier=carrier, anyone_paths=anyone_paths,
        allow_plaintext=allow_plaintext,
    )  # fmt: skip
    if not paths and flags.is_empty:
        raise click.UsageError("give --config FILE, or at least --app, --issuer and --audience")
    given = None if flags.is_empty else flags
    found = examine(paths, flags=given)
    show((*found.errors, *found.warnings), err=True)
    if found.config is None:
        _fail(ctx, f"{counted(len(found.errors), 'problem')} in the configuration")
    else:
        with _quick_imports():
            from sidecar.assembly import run
            from sidecar.listening import StartError
        try:
            run(found, files=paths, examine=lambda: examine(paths, flags=given))
        except StartError as error:
            _fail(ctx, str(error))


@contextmanager
def _quick_imports() -> Iterator[None]:
    """Import without what importing does for nothing, a quarter of the start.

    The garbage collector looks for garbage that there is none of, and aiohttp reads the system's
    certificates into a TLS context for whoever brings none (``sidecar.fetch`` brings its own).
    """
    store = {name: os.environ.get(name) for name in ("SSL_CERT_FILE", "SSL_CERT_DIR")}
    os.environ.update(dict.fromkeys(store, os.devnull))
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        for name, value in store.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _fail(ctx: click.Context, cause: str) -> None:
    click.echo(f"sidecar: cannot start: {cause}", err=True)
    ctx.exit(CANNOT_START)
