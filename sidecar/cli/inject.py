"""``sidecar inject``: manifests in, the same manifests with sidecars out."""

import json
import sys
from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from sidecar.kubernetes.documents import Document
    from sidecar.kubernetes.manifests import Source

FINDING = 1
IMAGE: Final = "jwt-sidecar"

_EPILOG = """\b
Examples:
  sidecar inject -f deployment.yaml --config-map sidecar-config.yaml | kubectl apply -f -
  kubectl kustomize overlay/ | sidecar inject -f - --namespace shop > injected.yaml
  sidecar inject --annotations
\b
Documents keep their order, and what is not the sidecar's its form; comments are lost. ConfigMaps
and Services among the documents are used to check, as the ones of --config-map are. A pod that
has its sidecar stays as it is: inject anew from manifests without sidecars.
Nothing is printed to standard output unless every workload can be injected.
Exit codes: 0 printed, 1 refused, 2 wrong usage.
"""


@click.command("inject", epilog=_EPILOG, short_help="Put sidecars into Kubernetes manifests.")
@click.option(
    "--filename",
    "-f",
    "files",
    multiple=True,
    metavar="FILE|-",
    help="Manifests in YAML or JSON; - is standard input. Repeatable.",
)
@click.option(
    "--config-map",
    "config_maps",
    multiple=True,
    metavar="FILE",
    help="Manifests with ConfigMaps and Services that are in the cluster already. Repeatable.",
)
@click.option(
    "--namespace",
    "-n",
    default="default",
    show_default=True,
    help="Namespace of objects that name none.",
)
@click.option("--image", metavar="IMAGE", help=f"The sidecar's image ({IMAGE}:VERSION).")
@click.option(
    "--native/--no-native",
    default=True,
    show_default=True,
    help="As an init container that keeps running (Kubernetes 1.29), or beside the app.",
)
@click.option(
    "--carrier",
    type=click.Choice(["none", "python"]),
    default="none",
    show_default=True,
    help="What is loaded into apps whose pods do not say so.",
)
@click.option(
    "--output",
    "-o",
    type=click.Choice(["yaml", "json"]),
    default="yaml",
    show_default=True,
    help="json is one object, or a List of several.",
)
@click.option(
    "--annotations", is_flag=True, help="Print all annotations as a Markdown table, and end."
)
@click.pass_context
def command(
    ctx: click.Context,
    files: tuple[str, ...],
    config_maps: tuple[str, ...],
    namespace: str,
    image: str | None,
    native: bool,
    carrier: str,
    output: str,
    annotations: bool,
) -> None:  # fmt: skip
    """Print manifests with a sidecar in each pod, to be applied or committed."""
    import sidecar
    from sidecar.kubernetes.annotations import table
    from sidecar.kubernetes.manifests import inject_all
    from sidecar.kubernetes.settings import InjectorSettings

    if annotations:
        click.echo(table(), nl=False)
        return
    if not files:
        raise click.UsageError("give -f FILE, or -f - for standard input")
    problems: list[str] = []
    sources = _read(files, problems)
    known = _read(config_maps, problems)
    settings = InjectorSettings(
        image=image or f"{IMAGE}:{sidecar.__version__}",
        native=native,
        carrier="python" if carrier == "python" else "none",
    )
    outcome = inject_all(sources, known, namespace=namespace, settings=settings)
    for line in outcome.warnings:
        click.echo(_printable(f"{line}"), err=True)
    problems += outcome.refusals
    for line in problems:
        click.echo(_printable(line), err=True)
    if problems:
        click.echo("sidecar: nothing is injected", err=True)
        ctx.exit(FINDING)
    click.echo(_written([source.document for source in sources], output), nl=False)


def _read(files: tuple[str, ...], problems: list[str]) -> "list[Source]":
    from sidecar.kubernetes.documents import MAX_BYTES, DocumentError, read
    from sidecar.kubernetes.manifests import Source

    sources: list[Source] = []
    for file in files:
        name = "standard input" if file == "-" else file
        try:
            if file == "-":
                content = sys.stdin.buffer.read(MAX_BYTES + 1)
            else:
                with open(file, "rb") as stream:
                    content = stream.read(MAX_BYTES + 1)
            sources += [Source(name, document) for document in read(content.decode("utf-8-sig"))]
        except OSError as error:
            problems.append(f"{name}: cannot be read: {error.strerror}")
        except ValueError:
            problems.append(f"{name}: is not UTF-8")
        except DocumentError as error:
            problems.append(f"{name}:{error}")
    return sources


def _written(documents: "list[Document]", output: str) -> str:
    from sidecar.kubernetes.documents import write

    if output == "yaml":
        return write(documents)
    values = [document.value for document in documents]
    whole = values[0] if len(values) == 1 else {"apiVersion": "v1", "kind": "List", "items": values}
    return json.dumps(whole, indent=2, ensure_ascii=False) + "\n"


def _printable(text: str) -> str:
    from sidecar.config.problems import printable

    return printable(text)
