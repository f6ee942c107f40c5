"""A strategy: one TOML file that says what is traded, predicted, held and charged.

The file is read strictly. An unknown key, a wrong type or a number out of range is an error that
names it: a mistyped limit must not become a limit that nobody reads. Every key has a default, so a
file holds only what its author wants to say, and ``Strategy.hash`` covers the values in force,
defaults included, so two files that mean the same have the same hash.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated

import msgspec

from models.errors import StrategyError

Fraction = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
Positive = Annotated[float, msgspec.Meta(gt=0.0)]
NotNegative = Annotated[float, msgspec.Meta(ge=0.0)]
Count = Annotated[int, msgspec.Meta(ge=1)]
CountOrNone = Annotated[int, msgspec.Meta(ge=0)]


class Universe(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which names may be held on a session. All three tests use only what was known that day."""

    min_price: NotNegative = 1.0
    """Raw close in USD below which a name is not bought."""
    min_sessions: Count = 252
    """Sessions of history a name needs before it is learned from or held."""
    min_dollar_volume: NotNegative = 0.0
    """Mean daily traded value over 21 sessions, USD."""
    max_names: Count = 1000
    """The most liquid names kept, by the same measure."""


class Label(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is predicted: the return over ``horizon_sessions``, entered at the next session's close."""

    horizon_sessions: Annotated[int, msgspec.Meta(ge=1, le=63)] = 5


class Model(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """LightGBM's parameters under LightGBM's names."""

    rounds: Annotated[int, msgspec.Meta(ge=1, le=5000)] = 120
    learning_rate: Annotated[float, msgspec.Meta(gt=0.0, le=1.0)] = 0.05
    num_leaves: Annotated[int, msgspec.Meta(ge=2, le=1024)] = 15
    min_data_in_leaf: Count = 200
    feature_fraction: Annotated[float, msgspec.Meta(gt=0.0, le=1.0)] = 0.7
    bagging_fraction: Annotated[float, msgspec.Meta(gt=0.0, le=1.0)] = 0.8
    lambda_l2: NotNegative = 10.0
    max_bin: Annotated[int, msgspec.Meta(ge=2, le=255)] = 63
    seed: CountOrNone = 7


class Training(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How much is learned from, and how often again."""

    window_years: Annotated[int, msgspec.Meta(ge=1, le=50)] = 5
    refit_sessions: Annotated[int, msgspec.Meta(ge=5)] = 252
    embargo: CountOrNone = 5
    """Sessions left out between the last label that is learned from and the first one tested."""
    folds: Count = 40
    """At most so many walk-forward folds, the latest ones."""
    max_rows: Annotated[int, msgspec.Meta(ge=500)] = 150_000
    """A longer window is thinned to every k-th session; labels overlap, so little is lost."""
    valid_sessions: Count = 30
    """Sessions a model may be traded with after it was trained; then it has expired."""


class Portfolio(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How scores become weights. Weights are fractions of equity."""

    names: Count = 12
    """Names held in a small universe; see ``names_fraction``."""
    names_fraction: Fraction = 0.07
    """Names held is the larger of ``names`` and this part of the universe (500 names -> 35)."""
    single_name: Annotated[float, msgspec.Meta(gt=0.0, le=1.0)] = 0.10
    sector: Annotated[float, msgspec.Meta(gt=0.0, le=1.0)] = 0.35
    gross: Annotated[float, msgspec.Meta(gt=0.0, le=1.0)] = 0.95
    concentration: Annotated[float, msgspec.Meta(ge=1.0, le=20.0)] = 3.0
    """A weight lies within this factor of the equal weight, both ways: estimates are not trusted further."""
    risk_aversion: Positive = 4.0
    """Lambda in  mu'w - lambda/2 w'Sigma w,  daily units."""
    keep: Annotated[float, msgspec.Meta(ge=1.0, le=10.0)] = 2.0
    """A held name stays while its rank is within ``keep`` times the names held."""
    band: Fraction = 0.25
    """A weight is left alone while it is within this part of its target."""
    rebalance_sessions: Annotated[int, msgspec.Meta(ge=1, le=63)] = 5
    """Sessions between two rebalances in the walk-forward."""


class Costs(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What trading is charged with in the walk-forward, on top of the fees of the date."""

    capital_usd: Positive = 1_000_000.0
    """Capital the square-root impact is computed for."""
    impact_y: NotNegative = 1.0
    commission_bps: NotNegative = 0.0


class Strategy(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A whole strategy. ``name`` is a slug: it becomes part of ids and file names."""

    name: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$")]
    description: str = ""
    universe: Universe = Universe()
    label: Label = Label()
    model: Model = Model()
    training: Training = Training()
    portfolio: Portfolio = Portfolio()
    costs: Costs = Costs()

    @property
    def hash(self) -> str:
        """SHA-256 of the values in force (the description left out: it changes nothing)."""
        content = msgspec.to_builtins(self)
        content.pop("description")
        return hashlib.sha256(msgspec.json.encode(content, order="deterministic")).hexdigest()

    def names_held(self, universe: int) -> int:
        """Names held out of a universe of this size: 12 of 20, 35 of 500 with the defaults."""
        wanted = max(self.portfolio.names, round(self.portfolio.names_fraction * universe))
        return min(wanted, universe)


def load_strategy(path: Path) -> Strategy:
    """Read a strategy file.

    Raises:
        StrategyError: no such file, not TOML, an unknown key, a value of the wrong kind or out of
            range, or limits that contradict each other.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise StrategyError(f"no strategy file at {path}: give the path of a .toml file") from None
    except OSError as error:
        raise StrategyError(f"cannot read the strategy file {path}: {error.strerror}") from error
    try:
        strategy = msgspec.toml.decode(content, type=Strategy)
    except msgspec.ValidationError as error:
        raise StrategyError(f"{path}: {error}; correct that key (see models/strategy.py)") from None
    except msgspec.DecodeError as error:
        raise StrategyError(f"{path} is not valid TOML: {error}") from None
    _refuse_contradictions(strategy, path)
    return strategy


def _refuse_contradictions(strategy: Strategy, path: Path) -> None:
    book = strategy.portfolio
    if book.single_name > book.gross:
        raise StrategyError(
            f"{path}: portfolio.single_name {book.single_name} is over portfolio.gross {book.gross}; lower it"
        )
    if book.sector < book.single_name:
        raise StrategyError(
            f"{path}: portfolio.sector {book.sector} is under portfolio.single_name {book.single_name}; "
            "a sector must be able to hold one name"
        )
    if book.names * book.single_name < book.gross:
        raise StrategyError(
            f"{path}: portfolio.names {book.names} x portfolio.single_name {book.single_name} cannot reach "
            f"portfolio.gross {book.gross}; raise one of the first two or lower the last"
        )
    minimum = strategy.universe.min_sessions
    if strategy.training.window_years * 252 < minimum // 2:
        raise StrategyError(
            f"{path}: training.window_years {strategy.training.window_years} is too short for "
            f"universe.min_sessions {minimum}; lengthen the window"
        )
