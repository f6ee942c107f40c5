"""Keys of the venue's accounts. Made from the seed unless given: they guard a loopback rehearsal, nothing else."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass


def _text(seed: int, purpose: str, length: int) -> str:
    raw = hashlib.blake2b(f"{seed}|{purpose}".encode(), digest_size=48).digest()
    return base64.b32encode(raw).decode().rstrip("=")[:length]


@dataclass(frozen=True)
class KeyPair:
    """One account's key id and secret."""

    key_id: str
    secret_key: str


class Credentials:
    """Who may talk to which account."""

    def __init__(
        self,
        *,
        seed: int,
        accounts: int,
        key_id: str | None = None,
        secret_key: str | None = None,
        polygon_key: str | None = None,
    ) -> None:
        pairs = [
            KeyPair("PK" + _text(seed, f"key{i}", 18), _text(seed, f"secret{i}", 40).lower())
            for i in range(accounts)
        ]
        if pairs and (key_id or secret_key):
            pairs[0] = KeyPair(key_id or pairs[0].key_id, secret_key or pairs[0].secret_key)
        self.pairs = pairs
        self.polygon_key = polygon_key or _text(seed, "polygon", 32)
        self.revoked: set[int] = set()
        self._numbers = {(pair.key_id, pair.secret_key): i for i, pair in enumerate(pairs)}

    def account(self, key_id: str, secret_key: str) -> int:
        """The account's number, -1 for a pair nobody has or that was revoked."""
        number = self._numbers.get((key_id, secret_key), -1)
        return -1 if number in self.revoked else number

    def account_of_headers(self, headers: object) -> int:
        """From the APCA headers, HTTP basic, or an OAuth bearer token (then the secret is the token)."""
        get = headers.get  # type: ignore[attr-defined]
        key_id, secret = get("APCA-API-KEY-ID"), get("APCA-API-SECRET-KEY")
        if key_id is not None and secret is not None:
            return self.account(key_id, secret)
        scheme, _, token = (get("Authorization") or "").partition(" ")
        if scheme.lower() == "bearer":
            for pair in self.pairs:
                if token == pair.secret_key:
                    return self.account(pair.key_id, pair.secret_key)
        if scheme.lower() == "basic":
            try:
                key_id, _, secret = base64.b64decode(token, validate=True).decode().partition(":")
            except ValueError:
                return -1
            return self.account(key_id, secret)
        return -1

    def is_polygon(self, key: str | None) -> bool:
        """Whether this is the Polygon key."""
        return key == self.polygon_key
