"""A token has one spelling: its signature is exactly as long as the key (RFC 8017, 8.1.2).

OpenSSL takes an RSA-PSS signature without its leading zero octets. One token in 256 has such a one,
and whoever held it could spell it in a second way that no list of hashes knows.
"""

from itertools import count

import pytest

from sidecar.core.jose import Compact, parse_compact
from sidecar.core.keyset import parse_jwks
from tests.core.signing import jwk, jwks, private_key, sign


@pytest.mark.parametrize("alg", ["PS256", "PS384", "PS512", "RS256"])
def test_a_leading_zero_is_part_of_the_signature(alg: str) -> None:
    """The signature as made is good; without the zero, or with one more, it is not."""
    [key] = parse_jwks(jwks(jwk(private_key(alg)))).select(None, alg)
    made = (parse_compact(sign(b"%d" % number, alg=alg)) for number in count())
    parsed = next(each for each in made if isinstance(each, Compact) and each.signature[0] == 0)
    signature = parsed.signature
    assert key.verify(alg, parsed.signing_input, signature)
    assert not key.verify(alg, parsed.signing_input, signature[1:])
    assert not key.verify(alg, parsed.signing_input, b"\0" + signature)
