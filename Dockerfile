# The image of the sidecar, its forwarding path compiled: Python, what the sidecar imports, and the
# libraries those need. No shell, no compiler, no pip, no package manager. Runs with a read-only root
# file system as a user that owns nothing in it. docs/image.md says what is in it and why.
#
#   docker build -t jwt-sidecar .
#   docker run --read-only -v "$PWD/config.yaml:/etc/sidecar/config.yaml:ro" jwt-sidecar
#
# CI has no daemon: `make image` executes these instructions in a clean root (deploy/image/build.py).

FROM debian:trixie-slim AS build
# The base may be older than the latest security updates, and what is copied below comes from here.
RUN apt-get update \
 && apt-get upgrade --yes \
 && apt-get install --yes --no-install-recommends \
        ca-certificates gcc libc6-dev python3 python3-dev python3-pip python3-venv \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
# Dependencies first: they change less often than the code.
COPY constraints.txt pyproject.toml README.md ./
RUN python3 -m venv --without-pip /opt/sidecar \
 && python3 -c "import tomllib; p = tomllib.load(open('pyproject.toml', 'rb'))['project']; print('\n'.join(p['dependencies'] + p['optional-dependencies']['redis']))" > requirements.txt \
 && python3 -m pip --python /opt/sidecar/bin/python install --only-binary :all: --no-compile --constraint constraints.txt --requirement requirements.txt
COPY setup.py ./
COPY sidecar sidecar
# How hard the C compiler thinks; CI says 0, which changes speed and nothing else.
ARG MYPYC_OPT_LEVEL=2
# mypy, which compiles, comes in its exact version too; pip reads one of the two names.
RUN SIDECAR_COMPILE=1 PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt \
    python3 -m pip wheel --no-deps --wheel-dir dist . \
 && python3 -m pip --python /opt/sidecar/bin/python install --no-deps --no-compile dist/*.whl
COPY deploy/image deploy/image
# Everything the image holds, chosen file by file, with the list of it (SBOM).
RUN python3 -m deploy.image.assemble /image

FROM scratch
COPY --from=build /image /
ARG REVISION=unknown
LABEL org.opencontainers.image.title="jwt-sidecar" \
      org.opencontainers.image.description="Per-pod identity proxy: verifies the JWT of every inbound request and reattaches it to the outbound calls that request caused." \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.base.name="docker.io/library/debian:trixie-slim"
ENV PATH=/opt/sidecar/bin:/usr/bin PYTHONDONTWRITEBYTECODE=1
# A number, so that Kubernetes can verify runAsNonRoot.
USER 10001:10001
WORKDIR /
# Inbound, and metrics with probes. The outbound listeners serve only the pod's own loopback.
EXPOSE 15406 15490
STOPSIGNAL SIGTERM
ENTRYPOINT ["sidecar"]
CMD ["run", "--config", "/etc/sidecar/config.yaml"]
