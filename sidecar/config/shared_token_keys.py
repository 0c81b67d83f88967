"""The keys of what pods share of obtained tokens, and how they become ``model.SharedTokens``."""

import base64
import binascii
import importlib.util
import re
from collections.abc import Mapping
from typing import Any, Final

from sidecar.config import endpoints, values
from sidecar.config.kinds import INVALID, REFERENCE, Boolean, Invalid, Schema, Text
from sidecar.config.model import RedisServer, SharedTokens, SharingKey
from sidecar.config.positions import BrokenNode, MappingNode, Node, under
from sidecar.config.reading import Reading
from sidecar.config.secrets import Secret
from sidecar.config.sections import REQUIRED, Fields, Key, Section, default_of
from sidecar.config.values import Complaint
from sidecar.config.written import duration, free_text

KEY_BYTES: Final = 32
MAX_OLD_KEYS: Final = 4
DEFAULT_KEY_ID: Final = "1"

REDIS_PATTERN: Final = r"^(rediss?://[^\s@/?#]+(/[0-9]{1,3})?|unix:/[^\s?#]+)$"
_REDIS: Final = re.compile(r"(rediss?)://([^/?#]*)(/([0-9]{1,3})?)?")
_PORT: Final = 6379


def redis_server(value: str) -> RedisServer:
    """A Redis as ``redis://host:port``, ``rediss://…`` (TLS) or ``unix:/path``."""
    if value.startswith("unix:"):
        path = value.removeprefix("unix:")
        if not path.startswith("/"):
            raise Complaint("must hold an absolute path, as in unix:/run/redis/redis.sock")
        if path.startswith("//"):
            raise Complaint("must hold a path alone", f"unix:/{path.lstrip('/')}")
        return RedisServer(path=values.file_path(path))
    found = _REDIS.fullmatch(value)
    if found is None:
        raise Complaint("is not redis://host:port, rediss://host:port (TLS) or unix:/path")
    scheme, authority, _, database = found.groups()
    if "@" in authority:
        raise Complaint("must not hold a user or a password; write `username` and `password`")
    # What a host may be is said once, for every kind of URL.
    origin = endpoints.origin(
        f"http://{authority}" if ":" in authority else f"http://{authority}:{_PORT}"
    )
    return RedisServer(origin.host, origin.port, "", int(database or 0), scheme == "rediss")


class SharingSecret(Secret):
    """A reference to 32 octets in base64."""

    bounds = f"{KEY_BYTES} octets in base64"

    def read(self, node: Node, path: str, reading: Reading) -> Any:
        secret = super().read(node, path, reading)
        if isinstance(secret, Invalid):
            return INVALID
        if reading.is_elsewhere:
            return b""
        try:
            octets = base64.b64decode(secret, validate=True)
        except (binascii.Error, ValueError):
            octets = b""
        if len(octets) == KEY_BYTES:
            return octets
        message = (
            f"must stand for {KEY_BYTES} octets in base64, as `openssl rand -base64 {KEY_BYTES}` "
            "prints them"
        )
        reading.findings.error(node.place, path, message)
        return INVALID


class OldKeysKind:
    """A map from the id of a key to a reference to it."""

    label = "map by name"
    bounds = f"{MAX_OLD_KEYS} keys"
    secret = SharingSecret()

    def read(self, node: Node, path: str, reading: Reading) -> Mapping[str, bytes] | Invalid:
        if isinstance(node, BrokenNode):
            return INVALID
        if not isinstance(node, MappingNode):
            reading.findings.error(node.place, path, "must be a map from a key's id to a reference")
            return INVALID
        found: dict[str, bytes] = {}
        for name, entry in node.entries.items():
            try:
                values.name(name)
            except Complaint as complaint:
                message = f"this name {complaint.message}"
                reading.findings.error(entry.place, under(path, name), message)
                continue
            secret = self.secret.read(entry.value, under(path, name), reading)
            if not isinstance(secret, Invalid):
                found[name] = secret
        if len(node.entries) > MAX_OLD_KEYS:
            message = f"holds more than {MAX_OLD_KEYS} keys; each is tried at every look-up"
            reading.findings.error(node.place, path, message)
            return INVALID
        return found if len(found) == len(node.entries) else INVALID

    def schema(self) -> Schema:
        return {
            "type": "object",
            "propertyNames": {"pattern": values.NAME_PATTERN},
            "additionalProperties": dict(REFERENCE),
            "maxProperties": MAX_OLD_KEYS,
        }

    def show(self, _value: object) -> object:
        return {}


def _shared(fields: Fields) -> SharedTokens | Invalid:
    secret, key_id = fields.values.pop("key", b""), fields.values.pop("key_id", "")
    old: Mapping[str, bytes] = fields.values.pop("old_keys", {})
    if key_id in old:
        fields.error("old_keys", f"holds `{key_id}`, which is `key_id`: a new key has a new id")
    server = fields.values.get("redis")
    allows = fields.values.pop("allow_plaintext", False)
    if isinstance(server, RedisServer):
        _check_server(fields, server, allows=allows)
    if fields.entry("username") is not None and fields.entry("password") is None:
        fields.error("username", "needs a `password`")
    if fields.reading.is_elsewhere is False and importlib.util.find_spec("redis") is None:
        message = "needs a library that is not installed: pip install 'jwt-sidecar[redis]'"
        fields.reading.findings.error(fields.node.place, fields.path, message)
        return INVALID
    if fields.is_broken:
        return INVALID
    keys = (SharingKey(key_id, secret), *(SharingKey(*each) for each in old.items()))
    return SharedTokens(keys=keys, **fields.values)


def _check_server(fields: Fields, server: RedisServer, *, allows: bool) -> None:
    if (ca := fields.values.get("ca")) is not None:
        fields.values["ca"] = fields.place("ca").resolve(ca)
        if not server.is_tls:
            fields.error("ca", "would not be used without rediss://")
        elif not fields.reading.is_elsewhere:
            _check_authorities(fields)
    exposes = not server.is_tls and not server.path and not endpoints.is_loopback(server.host)
    if exposes and fields.entry("password") is not None and not allows:
        message = (
            "the password would be sent over redis://, where anyone on the way can read it; use "
            "rediss:// or write `allow_plaintext: true`"
        )
        fields.error("redis", message)


def _check_authorities(fields: Fields) -> None:
    from sidecar.tls.files import TlsFileError, TlsPaths, check_authorities, read

    try:
        check_authorities(read(TlsPaths(ca=fields.values["ca"])))
    except TlsFileError as problem:
        fields.error("ca", str(problem))


SHARED_TOKENS: Final = Section(
    keys=(
        Key("redis", Text("`redis://`, `rediss://` or `unix:`", redis_server, REDIS_PATTERN),
            "The Redis: `redis://host:port`, with TLS `rediss://host:port`, or `unix:/path`; "
            "`/3` at the end of a URL is its database 3.", default=REQUIRED),
        Key("username", free_text("string"), "Who the sidecar is there (Redis' ACL).",
            default=default_of(SharedTokens, "username"), default_text="Redis' default user"),
        Key("password", Secret(), "Its password, by reference.",
            default=default_of(SharedTokens, "password"), default_text="none"),
        Key("ca", Text("path", values.file_path),
            "Certificates of the authorities that `rediss://` is verified with.",
            default=default_of(SharedTokens, "ca"), default_text="the system's"),
        Key("key", SharingSecret(),
            "What tokens are encrypted with, by reference; the same in all pods that share.",
            default=REQUIRED),
        Key("key_id", Text("name", values.name, values.NAME_PATTERN),
            "Stands beside what this key has encrypted. A new key has a new id.",
            default=DEFAULT_KEY_ID),
        Key("old_keys", OldKeysKind(),
            "Keys that are still read, by their id "
            "([rotation](obtained-tokens.md#rotating-the-key)).",
            default={}, default_text="none"),
        Key("prefix", Text("name", values.name, values.NAME_PATTERN),
            "What the names of our keys in Redis begin with.",
            default=default_of(SharedTokens, "prefix")),
        Key("timeout", duration(0.01, 5),
            "Longest wait for Redis; then the token is obtained without it.", "timeout_seconds",
            default_of(SharedTokens, "timeout_seconds")),
        Key("allow_plaintext", Boolean(),
            "Send the password over `redis://` to another host.", default=False),
    ),
    build=_shared,
)  # fmt: skip
