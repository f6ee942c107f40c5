"""Listed instruments as the broker describes them. The tape knows symbols only; the rest is made up, stably."""

from __future__ import annotations

import hashlib
import uuid
import zlib
from dataclasses import dataclass

_NAMESPACE = uuid.UUID("5a11f0a7-0000-4000-8000-000000000001")
_EXCHANGES = ("NASDAQ", "NYSE")
# The few whose listing people know by heart; the rest get one by checksum.
_NASDAQ = frozenset(
    [
        "AAPL",
        "MSFT",
        "AMZN",
        "GOOG",
        "GOOGL",
        "FB",
        "META",
        "NVDA",
        "TSLA",
        "AMD",
        "INTC",
        "CSCO",
        "CMCSA",
        "PEP",
        "COST",
        "ADBE",
        "NFLX",
        "QCOM",
        "AVGO",
        "TXN",
        "SBUX",
        "AMGN",
        "QQQ",
    ]
)
_NYSE = frozenset(
    [
        "IBM",
        "BAC",
        "JPM",
        "GE",
        "XOM",
        "CVX",
        "WMT",
        "JNJ",
        "PG",
        "KO",
        "PFE",
        "MRK",
        "HD",
        "UNH",
        "LLY",
        "BBY",
        "RRC",
        "T",
        "VZ",
        "V",
        "MA",
        "DIS",
        "C",
        "WFC",
        "AIG",
        "GS",
        "MS",
    ]
)


@dataclass(slots=True)
class Asset:
    """One tradable instrument; the flags are what order entry checks and what tests switch."""

    id: str
    symbol: str
    exchange: str
    name: str
    active: bool = True
    tradable: bool = True
    marginable: bool = True
    shortable: bool = True
    easy_to_borrow: bool = True
    fractionable: bool = True
    overnight_tradable: bool = True

    @property
    def attributes(self) -> list[str]:
        """The broker's words for what else may be done with it."""
        flags = {"fractional_eh_enabled": self.fractionable, "overnight_tradable": self.overnight_tradable}
        return [name for name, on in flags.items() if on]

    @property
    def tape_letter(self) -> str:
        """A for NYSE, B for the regionals, C for Nasdaq."""
        return {"NYSE": "A", "NASDAQ": "C"}.get(self.exchange, "B")


def asset_of(symbol: str) -> Asset:
    """The asset of `symbol`: the same id in every run."""
    if symbol in _NASDAQ:
        exchange = "NASDAQ"
    elif symbol in _NYSE:
        exchange = "NYSE"
    else:
        exchange = _EXCHANGES[zlib.crc32(symbol.encode()) & 1]
    return Asset(str(uuid.uuid5(_NAMESPACE, symbol)), symbol, exchange, f"{symbol} Common Stock")


class Identities:
    """Version-4-shaped UUIDs from a seed and a counter: the same run gives the same ids."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._count = 0

    def next(self, kind: str) -> str:
        """A new id; `kind` only spreads the sequences."""
        self._count += 1
        digest = hashlib.blake2b(f"{self._seed}|{kind}|{self._count}".encode(), digest_size=16).hexdigest()
        # Version 4, variant 1, as random UUIDs are.
        return f"{digest[:8]}-{digest[8:12]}-4{digest[13:16]}-{'89ab'[int(digest[16], 16) & 3]}{digest[17:20]}-{digest[20:]}"
