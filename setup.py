"""Builds the package: pure Python, or with the forwarding path compiled by mypyc.

Everything else about the package is in pyproject.toml. With ``SIDECAR_COMPILE=1`` in the
environment the modules of ``COMPILED`` become one shared library, from the same source that runs
interpreted otherwise. That takes a C compiler and a minute or two.
"""

import os
import shlex
import shutil
import sys
import sysconfig
from pathlib import Path
from typing import Final

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

COMPILED: Final = (
    "sidecar/core/actors.py",
    "sidecar/core/attachment.py",
    "sidecar/core/attribution.py",
    "sidecar/core/bearer.py",
    "sidecar/core/build.py",
    "sidecar/core/caching.py",
    "sidecar/core/claim_paths.py",
    "sidecar/core/claims.py",
    "sidecar/core/conditions.py",
    "sidecar/core/deadlines.py",
    "sidecar/core/digests.py",
    "sidecar/core/encoding.py",
    "sidecar/core/families.py",
    "sidecar/core/field_values.py",
    "sidecar/core/forwarded.py",
    "sidecar/core/headers.py",
    "sidecar/core/hosts.py",
    "sidecar/core/identity.py",
    "sidecar/core/introspection.py",
    "sidecar/core/hygiene.py",
    "sidecar/core/jose.py",
    "sidecar/core/keyset.py",
    "sidecar/core/names.py",
    "sidecar/core/obtained.py",
    "sidecar/core/own_credentials.py",
    "sidecar/core/parameters.py",
    "sidecar/core/parts.py",
    "sidecar/core/paths.py",
    "sidecar/core/policy.py",
    "sidecar/core/principal.py",
    "sidecar/core/profiles.py",
    "sidecar/core/propagation.py",
    "sidecar/core/rights.py",
    "sidecar/core/routes.py",
    "sidecar/core/signatures.py",
    "sidecar/core/signed_identity.py",
    "sidecar/core/subprotocols.py",
    "sidecar/core/token_cache.py",
    "sidecar/core/token_sources.py",
    "sidecar/core/trace_ids.py",
    "sidecar/core/transactions.py",
    "sidecar/core/verification.py",
    "sidecar/credentials/ledger.py",
    "sidecar/inbound/deadline.py",
    "sidecar/inbound/exchange.py",
    "sidecar/inbound/handler.py",
    "sidecar/inbound/recorded.py",
    "sidecar/outbound/accepted_hosts.py",
    "sidecar/outbound/addresses.py",
    "sidecar/outbound/bounded.py",
    "sidecar/outbound/evidence.py",
    "sidecar/outbound/exchange.py",
    "sidecar/outbound/handler.py",
    "sidecar/outbound/proxy.py",
    "sidecar/resilience/circuit.py",
    "sidecar/resilience/destination.py",
    "sidecar/outbound/token_choice.py",
    "sidecar/telemetry/access_log.py",
    "sidecar/telemetry/carriers.py",
    "sidecar/telemetry/decisions.py",
    "sidecar/telemetry/decision_log.py",
    "sidecar/telemetry/exchanges.py",
    "sidecar/telemetry/histogram.py",
    "sidecar/telemetry/lines.py",
    "sidecar/telemetry/metrics.py",
    "sidecar/wire/answers.py",
    "sidecar/wire/beginnings.py",
    "sidecar/wire/bodies.py",
    "sidecar/wire/deadlines.py",
    "sidecar/wire/delivery.py",
    "sidecar/wire/downstream.py",
    "sidecar/wire/exchange.py",
    "sidecar/wire/field_lines.py",
    "sidecar/wire/fields.py",
    "sidecar/wire/forward_proxy.py",
    "sidecar/wire/forwarding_fields.py",
    "sidecar/wire/frames.py",
    "sidecar/wire/heads.py",
    "sidecar/wire/limits.py",
    "sidecar/wire/listener.py",
    "sidecar/wire/pacing.py",
    "sidecar/wire/pool.py",
    "sidecar/wire/reception.py",
    "sidecar/wire/request_head.py",
    "sidecar/wire/response_head.py",
    "sidecar/wire/sockets.py",
    "sidecar/wire/tls.py",
    "sidecar/wire/tls_upstream.py",
    "sidecar/wire/trailers.py",
    "sidecar/wire/tunnel.py",
    "sidecar/wire/upstream.py",
    "sidecar/wire/websocket.py",
)
"""What every forwarded request runs through, and the verification of a token that is new."""

INTERPRETED: Final = {
    "sidecar/wire/around.py": "runs only where something wraps exchanges, and is subclassed there",
    "sidecar/wire/connecting.py": "mypyc cannot compile a class that inherits from ConnectionError",
    "sidecar/wire/server_timing.py": "runs only where Server-Timing is configured",
    "sidecar/core/cors.py": "runs only where CORS is configured",
    "sidecar/core/resource_metadata.py": "amends refusals only",
    "sidecar/outbound/outside.py": "runs only for tokens that go where they should not",
    "sidecar/inbound/cors.py": "runs only where CORS is configured",
    "sidecar/inbound/transaction.py": "runs only where transaction tokens are looked at",
    "sidecar/inbound/resource_metadata.py": "runs only where the metadata are served",
    "sidecar/core/token_request.py": "what is configured, and sent once per token",
    "sidecar/core/assertion_key.py": "signs who we are, once per token that is asked for",
    "sidecar/core/token_form.py": "runs once per token that is asked for",
    "sidecar/core/token_answer.py": "runs once per token that is asked for",
    "sidecar/core/hints.py": "words for refusals only",
    "sidecar/core/identity_key.py": "signs once per token and lifetime",
    "sidecar/core/outcome.py": "mypyc cannot compile an enumeration with a __new__ of its own",
    "sidecar/core/documents.py": "speaks of broken documents only",
    "sidecar/core/problem.py": "writes refusals only",
    "sidecar/core/reason_texts.py": "words for operators; no request loads it",
    "sidecar/credentials/app_identity.py": "runs once per configuration",
    "sidecar/credentials/lately.py": "asked only where no token is at hand",
    "sidecar/credentials/obtained_tokens.py": "two look-ups a call, where tokens are obtained",
    "sidecar/credentials/sealed_tokens.py": "runs only where pods share tokens, once per token",
    "sidecar/credentials/shared_tokens.py": "runs only where pods share tokens, once per token",
    "sidecar/credentials/sharing.py": "runs once per configuration",
    "sidecar/credentials/withdrawals.py": "runs when a caller's token is withdrawn",
    "sidecar/telemetry/shared_tokens.py": "counts what pods share",
    "sidecar/credentials/token_file.py": "a comparison and a look-up, where a file is configured",
    "sidecar/core/unverified_claims.py": "reads a token once, when it comes",
    "sidecar/credentials/token_source.py": "awaits; with a token at hand it costs a microsecond",
    "sidecar/telemetry/token_exchanges.py": "counts questions for tokens",
    "sidecar/credentials/actor_tokens.py": "runs once per token that is asked for",
    "sidecar/credentials/token_endpoint_log.py": "says what changes",
    "sidecar/credentials/changing_file.py": "looked at once per token that is asked for",
    "sidecar/credentials/client_authentication.py": "runs once per token that is asked for",
    "sidecar/credentials/token_endpoint.py": "runs once per token that is asked for",
    "sidecar/credentials/admission.py": "runs only where callers take turns",
    "sidecar/credentials/transaction_source.py": "asks once per inbound request, where configured",
    "sidecar/outbound/passing.py": "runs only where transaction tokens are passed on",
    "sidecar/resilience/backoff.py": "runs once per failure",
    "sidecar/resilience/budget.py": "runs once per token that is asked for",
    "sidecar/resilience/rate.py": "runs once per question to an issuer",
    "sidecar/resilience/retry_after.py": "runs once per failure",
    "sidecar/telemetry/catalogue.py": "names and texts",
    "sidecar/telemetry/decision_callers.py": "runs once per token",
    "sidecar/telemetry/decision_records.py": "mypyc cannot compile a class with keywords (Struct)",
    "sidecar/telemetry/decision_settings.py": "runs once, at the start",
    "sidecar/telemetry/destinations.py": "runs at each scrape",
    "sidecar/telemetry/introspection.py": "counts questions to an issuer, not requests",
    "sidecar/telemetry/hygiene.py": "counts what is new and unwise, not requests",
    "sidecar/telemetry/log_files.py": "runs once per batch of lines, in a thread",
    "sidecar/telemetry/log.py": "writes what happens to the process, not to a request",
    "sidecar/telemetry/records.py": "mypyc cannot compile a class with keywords (msgspec's Struct)",
    "sidecar/telemetry/token_endpoint.py": "counts questions for tokens, not requests",
    "sidecar/telemetry/tls.py": "counts handshakes, not requests",
    "sidecar/telemetry/writer.py": "runs once per batch of lines, in a thread",
}
"""The other modules of these packages, each with the reason. Packages not named here have none
that a forwarded request runs through."""

MYPYC: Final = "mypy>=2.4"
_WANTED: Final = os.environ.get("SIDECAR_COMPILE") == "1"


class CompileForwardingPath(build_ext):
    """Turns the modules into C, and those into the one library that replaces the placeholder.

    Not before the command runs: setuptools reads this file several times for one wheel, the first
    time before mypyc is installed.
    """

    def run(self) -> None:
        if self.inplace or getattr(self, "editable_mode", False):
            sys.exit(
                "SIDECAR_COMPILE=1: an editable install cannot be compiled, for the library would "
                "hide every later change of a source file; install without --editable, or unset it"
            )
        _require_compiler()
        from mypyc.build import mypycify

        work = Path(self.build_temp)
        extensions = mypycify(
            [
                # What lint demands is lint's business, and here no dependency is installed.
                "--config-file=",
                "--ignore-missing-imports",
                "--follow-imports=silent",
                f"--cache-dir={work / 'mypy'}",
                *COMPILED,
            ],
            opt_level=os.environ.get("MYPYC_OPT_LEVEL", "2"),
            debug_level="0",
            target_dir=str(work / "mypyc"),
            group_name="sidecar",
        )
        for extension in extensions:
            # Nobody reads warnings of generated code, and one that some later compiler has is no
            # reason not to install. Looking for those of -Wall, which Debian's Python wants, took
            # gcc 14 six times as long as translating without optimisation.
            extension.extra_compile_args.extend(("-w", "-Wno-all"))
        self.distribution.ext_modules = extensions
        command = build_ext(self.distribution)  # this one has made up its mind on the placeholder
        command.build_lib, command.build_temp = self.build_lib, self.build_temp
        command.parallel = True
        command.ensure_finalized()
        command.run()
        self.extensions = command.extensions  # what was built, for whoever installs it


def _require_compiler() -> None:
    command = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")[0]
    if shutil.which(command) is None:
        sys.exit(
            f"SIDECAR_COMPILE=1: the C compiler {command} was not found. Install one (Debian, "
            "Ubuntu: apt install gcc libc6-dev), or unset it for the pure-Python build"
        )
    header = Path(sysconfig.get_path("include"), "Python.h")
    if not header.exists():
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        sys.exit(
            f"SIDECAR_COMPILE=1: {header} was not found. Install Python's headers (Debian, Ubuntu: "
            f"apt install python{version}-dev), or unset it for the pure-Python build"
        )


if __name__ == "__main__":
    if _WANTED:
        setup(
            setup_requires=[MYPYC],
            cmdclass={"build_ext": CompileForwardingPath},
            ext_modules=[Extension("sidecar__mypyc", sources=[])],
        )
    else:
        setup()
