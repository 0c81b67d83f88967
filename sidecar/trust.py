"""Whose tokens are good under one configuration, and what the app is told of their subjects.

Owns how much of it outlives that configuration: keys that are found in the same way, and verified
tokens where nothing about judging them has changed.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from sidecar import settings
from sidecar.config import model
from sidecar.core.digests import sha256
from sidecar.core.keyset import KeySet
from sidecar.core.principal import Credential
from sidecar.core.verification import IntrospectionNeeded, Verified, Verifier
from sidecar.credentials.app_identity import AppIdentity
from sidecar.issuers.introspection import IntrospectionClient
from sidecar.issuers.keys import IssuerKeys
from sidecar.standing import Standing

TRANSACTIONS_KEPT: Final = 1024
"""Verified transaction tokens that are remembered: each comes once or a few times in short order,
so that more would be memory for nothing."""
TRANSACTION_BYTES_KEPT: Final = 4 * 1024 * 1024


def trust(config: model.Config, standing: Standing, before: "Trust | None" = None) -> "Trust":
    """Return what judges tokens under *config*: *before* itself, if that judges them alike.

    Raises:
        IdentityKeyError: the key that signs for the app cannot be used.
    """
    if before is not None and before.is_for(config):
        return before
    return Trust(config, standing, before)


class Trust:
    """The issuers of one configuration: their keys, what is known of tokens, and who is asked.

    Nothing changes for what is served until ``installed`` is called.
    """

    def __init__(
        self, config: model.Config, standing: Standing, before: "Trust | None" = None
    ) -> None:
        """See ``trust``."""
        self._config = config
        self._standing = standing
        self._serves = False
        self._earlier = None if before is None else before.verifier
        """What judges for the requests that began before."""
        self.identity: AppIdentity = AppIdentity(
            config.inbound.identity,
            config.token_cache,
            transactions=config.inbound.transaction_tokens,
            before=None if before is None else before.identity,
        )
        self.verifier: Verifier = Verifier(
            (settings.issuer_policy(issuer) for issuer in config.access_issuers.values()),
            render=self.identity.render,
            max_token_bytes=config.inbound.max_token_bytes,
            cache_max_entries=config.token_cache.max_entries,
            cache_max_bytes=config.token_cache.max_bytes,
            unclean_token=standing.hygiene.saw,
        )
        self.transactions: Verifier | None = self._transaction_verifier(config)
        self._earlier_transactions = None if before is None else before.transactions
        issuers = _asked(config)
        self._kept = {} if before is None else before.keys_for(config)
        self.keys = {
            name: self._kept.get(name) or self._issuer_keys(issuer)
            for name, issuer in issuers.items()
        }
        self.introspection = {
            name: self._introspection(issuer, issuer.introspection)
            for name, issuer in issuers.items()
            if issuer.introspection is not None
        }

    @property
    def keys_to_load(self) -> dict[str, IssuerKeys]:
        """The keys that nobody has looked after so far; none once this is installed."""
        if self._serves:
            return {}
        return {name: keys for name, keys in self.keys.items() if name not in self._kept}

    def is_for(self, config: model.Config) -> bool:
        """Whether tokens are judged, and callers described, alike under *config*."""
        ours = self._config
        return (
            ours.issuers == config.issuers
            and _asked(ours).keys() == _asked(config).keys()
            and ours.inbound.identity == config.inbound.identity
            and ours.inbound.transaction_tokens == config.inbound.transaction_tokens
            and ours.inbound.max_token_bytes == config.inbound.max_token_bytes
            and ours.token_cache == config.token_cache
            and self.identity.is_current()
        )

    def keys_for(self, config: model.Config) -> dict[str, IssuerKeys]:
        """Return the keys, by issuer, that are found in the same way under *config*."""
        ours = _asked(self._config)
        return {
            name: self.keys[name]
            for name, issuer in _asked(config).items()
            if name in ours and _keys_alone(ours[name]) == _keys_alone(issuer)
        }

    def installed(self) -> None:
        """Judge tokens from now on: keys follow, and whose token is not good any more is nobody.

        That holds for requests in progress too: what they cause goes without their token.
        """
        if self._serves:
            return
        self._serves = True
        for name, keys in self._kept.items():
            keys.hand_over(self._installing(name))
        self._standing.ledger.close_unless(self._is_still_good)
        self._standing.obtained.retain(self._is_still_good)
        if self.transactions is not None:
            self._standing.ledger.close_unless_transaction(self._is_still_transaction)
        for earlier in (self._earlier, self._earlier_transactions):
            if earlier is not None:
                earlier.forget_tokens()
        verifier = self.verifier
        self._standing.metrics.watch_token_cache(lambda: verifier.hits, lambda: verifier.misses)

    def _is_still_good(self, credential: Credential) -> bool:
        verdict = self.verifier.verify(credential.token, now=self._standing.wall_clock())
        match verdict:
            case Verified(vouched):
                issuer_name = vouched.principal.issuer_name
            case IntrospectionNeeded(issuer_name):
                pass  # a key that goes leaves open what an issuer said of a token of its own
            case _:
                return False
        # Under another name it would be missed when that issuer loses a key.
        return issuer_name == credential.principal.issuer_name

    def _is_still_transaction(self, transaction: Credential) -> bool:
        if self.transactions is None:
            return True
        now = self._standing.wall_clock()
        return isinstance(self.transactions.verify(transaction.token, now=now), Verified)

    def _transaction_verifier(self, config: model.Config) -> Verifier | None:
        """Return what judges transaction tokens: it shares nothing with what access tokens pass."""
        issuer = config.transaction_issuer
        if issuer is None:
            return None
        return Verifier(
            (settings.issuer_policy(issuer),),
            render=self.identity.render_transaction,
            max_token_bytes=config.inbound.max_token_bytes,
            cache_max_entries=min(config.token_cache.max_entries, TRANSACTIONS_KEPT),
            cache_max_bytes=min(config.token_cache.max_bytes, TRANSACTION_BYTES_KEPT),
            unclean_token=self._standing.hygiene.saw,
        )

    def _introspection(
        self, issuer: model.Issuer, asked: model.Introspection
    ) -> IntrospectionClient:
        def withdrawn(token: bytes) -> None:
            # Requests in progress included: what was good once is not sent on any more.
            for entry in tuple(self._standing.ledger.find_token(token)):
                self._standing.ledger.close(entry)
            self._standing.obtained.forget_subject(sha256(token))

        return IntrospectionClient(
            issuer,
            asked,
            fetch=self._standing.fetcher,
            judge=self.verifier.introspected,
            withdrawn=withdrawn,
            clock=self._standing.clock,
            wall_clock=self._standing.wall_clock,
            report=self._standing.metrics.introspection(issuer.name),
        )

    def _issuer_keys(self, issuer: model.Issuer) -> IssuerKeys:
        return IssuerKeys(
            issuer,
            fetch=self._standing.fetcher,
            install=self._installing(issuer.name),
            clock=self._standing.keys_clock,
            jitter=self._standing.jitter,
            report=self._standing.metrics.issuer(issuer.name),
            sleep=self._standing.keys_sleep,
        )

    def _installing(self, issuer_name: str) -> Callable[[KeySet], int]:
        if self._config.issuers[issuer_name].profile == model.TRANSACTION_PROFILE:
            return self._installing_transactions(issuer_name)

        def install(keys: KeySet) -> int:
            forgotten: int = self.verifier.install(
                issuer_name, keys, now=self._standing.wall_clock()
            )
            if self._serves:
                if self._earlier is not None and issuer_name in self._kept:
                    # There are requests that wait for a key, and none may use one that was lost.
                    self._earlier.install(issuer_name, keys)

                # A key that left the set speaks for nobody, requests in progress included.
                def holds(credential: Credential) -> bool:
                    return credential.principal.issuer_name != issuer_name or self._is_still_good(
                        credential
                    )

                self._standing.ledger.close_unless(holds)
                self._standing.obtained.retain(holds)
            return forgotten

        return install

    def _installing_transactions(self, issuer_name: str) -> Callable[[KeySet], int]:
        """The same for the issuer of transaction tokens."""
        verifier, earlier = self.transactions, self._earlier_transactions
        assert verifier is not None

        def install(keys: KeySet) -> int:
            forgotten: int = verifier.install(issuer_name, keys, now=self._standing.wall_clock())
            if self._serves:
                if earlier is not None and issuer_name in self._kept:
                    earlier.install(issuer_name, keys)
                self._standing.ledger.close_unless_transaction(self._is_still_transaction)
            return forgotten

        return install


def _asked(config: model.Config) -> Mapping[str, model.Issuer]:
    """Return the issuers that are asked for keys: none where nobody calls with a token."""
    if config.inbound.listen is None:
        return {}
    transactions = config.transaction_issuer
    others = {} if transactions is None else {transactions.name: transactions}
    return {**config.access_issuers, **others}


def _keys_alone(issuer: model.Issuer) -> model.Issuer:
    return replace(
        issuer,
        audiences=None,
        algorithms=(),
        token_types=None,
        roles_from=None,
        scopes_from=None,
        required_claims=None,
        hygiene=None,
        max_token_age_seconds=None,
        require_exp=True,
        startup="wait",
        introspection=None,
    )
