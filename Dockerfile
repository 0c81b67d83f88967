# The image of the sidecar, its forwarding path compiled: no compiler, no pip, no shell script between the kernel and the
# program. Runs with a read-only root file system as a user that owns nothing in it.
#
#   docker build -t jwt-sidecar .
#   docker run --read-only -v "$PWD/config.yaml:/etc/sidecar/config.yaml:ro" jwt-sidecar

FROM python:3.13-slim AS build
RUN apt-get update && apt-get install --yes --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
WORKDIR /src
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
# Dependencies first: they change less often than the code, and this layer is the slow one.
COPY constraints.txt pyproject.toml README.md ./
RUN python -m venv --without-pip /opt/sidecar \
 && python -c "import tomllib; print('\n'.join(tomllib.load(open('pyproject.toml', 'rb'))['project']['dependencies']))" > requirements.txt \
 && python -m pip --python /opt/sidecar/bin/python install --only-binary :all: --constraint constraints.txt --requirement requirements.txt
COPY setup.py ./
COPY sidecar sidecar
# mypy, which compiles, comes in its exact version too; pip reads one of the two names.
RUN SIDECAR_COMPILE=1 PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt \
    python -m pip wheel --no-deps --wheel-dir dist . \
 && python -m pip --python /opt/sidecar/bin/python install --no-deps dist/*.whl
# The image never writes bytecode, and a layer's timestamps say nothing: compile once, unchecked.
RUN /opt/sidecar/bin/python -m compileall -q -f --invalidation-mode unchecked-hash /opt/sidecar/lib

FROM python:3.13-slim
# The base image ships the standard library as source only: compiled here, it starts in half
# the time. What could install software afterwards goes.
RUN rm -rf /usr/local/lib/python3.13/ensurepip /usr/local/lib/python3.13/idlelib \
           /usr/local/lib/python3.13/site-packages/pip* /usr/local/bin/pip* /root/.cache \
 && python -m compileall -q -f -x '/(test|tests|idle_test)/' --invalidation-mode unchecked-hash /usr/local/lib/python3.13
COPY --from=build /opt/sidecar /opt/sidecar
# For an init container to copy to where the app's own interpreter finds it.
COPY sidecar/carriers/python /carriers/python
ENV PATH=/opt/sidecar/bin:/usr/local/bin:/usr/bin:/bin PYTHONDONTWRITEBYTECODE=1
# A number, so that Kubernetes can verify runAsNonRoot.
USER 10001:10001
WORKDIR /
# Inbound, and metrics with probes. The outbound listeners serve only the pod's own loopback.
EXPOSE 15406 15490
STOPSIGNAL SIGTERM
ENTRYPOINT ["sidecar"]
CMD ["run", "--config", "/etc/sidecar/config.yaml"]
