"""The contenders are configured alike: same issuer, same keys, same backend."""

import json
from pathlib import Path

import jwt
import pytest
import yaml

from bench.envoy import envoy
from bench.sidecar_proxy import sidecar
from bench.tokens import AUDIENCE, ISSUER, Signer


@pytest.fixture(scope="module")
def signer() -> Signer:
    """One key for the module: making one is slow."""
    return Signer.generate()


def test_a_token_is_valid_under_the_published_key_and_of_usual_size(signer: Signer) -> None:
    """What the proxies verify is a real signature over real claims."""
    token = signer.token(serial=7)
    key = jwt.PyJWKSet.from_json(signer.jwks())[jwt.get_unverified_header(token)["kid"]]
    claims = jwt.decode(token, key, algorithms=["RS256"], audience=AUDIENCE, issuer=ISSUER)
    assert claims["sub"].endswith("000000000007")
    assert 700 < len(token) < 1000


def test_tokens_of_different_serials_differ(signer: Signer) -> None:
    """A cache keyed by the token cannot answer for the next one."""
    assert signer.token(serial=1) != signer.token(serial=2)


@pytest.mark.parametrize("cached", [False, True])
def test_envoy_verifies_and_keeps_the_token(tmp_path: Path, signer: Signer, cached: bool) -> None:
    """Both Envoys differ in the cache and in nothing else."""
    proxy = envoy("envoy", tmp_path, jwks=signer.jwks(), backend_port=8080, cached=cached)
    config = json.loads(Path(proxy.argv[2]).read_text())
    (listener,) = config["static_resources"]["listeners"]
    filters = listener["filter_chains"][0]["filters"][0]["typed_config"]["http_filters"]
    provider = filters[0]["typed_config"]["providers"]["bench"]
    assert (provider["issuer"], provider["audiences"]) == (ISSUER, [AUDIENCE])
    assert provider["forward"] is False
    assert provider["local_jwks"]["inline_string"] == signer.jwks()
    assert ("jwt_cache_config" in provider) is cached


def test_the_sidecar_requires_the_same_token(tmp_path: Path, signer: Signer) -> None:
    """Defaults everywhere, except where the run says otherwise."""
    proxy = sidecar("sidecar", tmp_path, jwks=signer.jwks(), backend_port=8080, cache_entries=100)
    config = yaml.safe_load(Path(proxy.argv[-1]).read_text())
    assert config["issuers"]["bench"]["issuer"] == ISSUER
    assert Path(config["issuers"]["bench"]["jwks_file"]).read_text() == signer.jwks()
    assert config["inbound"]["app"] == "http://127.0.0.1:8080"
    assert config["inbound"]["rules"][0]["require"] == "authenticated"
    assert config["token_cache"] == {"max_entries": 100, "max_bytes": "512MiB"}
    assert "log" not in config
