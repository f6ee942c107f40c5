"""Whether this order may be sent at all: the name, the terms, the hour, halts, bands, short sales."""

from __future__ import annotations

from executor.core.limits.limit import BROKEN, KEPT, Bounds, Limit, Measured, Rule
from executor.core.limits.proposal import Proposal, Unknown, short_side

TERMS = {
    "limit": frozenset({"day", "gtc", "ioc", "fok", "opg", "cls"}),
    "stop_limit": frozenset({"day", "gtc"}),
    "stop": frozenset({"day", "gtc"}),
    "market": frozenset({"opg", "cls"}),
}
"""Order types and the times in force they may have. A market order has no price to check outside an auction."""
AUCTIONS = frozenset({"opg", "cls"})
EXACT = 6
"""Decimals of a tick that count; what is smaller is a float's rounding."""


class SymbolAllowed(Rule):
    """The name is in the approved universe and may be traded."""

    name = "symbol"
    formula = "1 if the broker says that it is not tradable"
    source = "RTS 6 article 15(5); an allow-list, so a name nobody entered is not tradable"
    unknown = "the name is in no list of instruments"

    def measure(self, order: Proposal, bounds: Bounds) -> Measured:
        instrument = order.seen.instrument
        if instrument is not None:
            return KEPT if instrument.tradable else BROKEN
        if order.line.sector is None:
            raise Unknown(f"{order.symbol} is not in the universe of instruments")
        return KEPT


class OrderTermsAllowed(Rule):
    """Type, time in force, whole shares and tick are ones the broker takes."""

    name = "order_terms"
    formula = (
        "breaches among: type and time in force that do not go together · no quantity · a part of "
        "a share where the name or the time in force has none · a price off the tick (the name's own, else 0.01 "
        "USD from 1 USD up, 0.0001 below) · through zero in one order"
    )
    source = "Reg NMS Rule 612 (tick); the broker's order entry rules"
    unknown = "never"

    def measure(self, order: Proposal, bounds: Bounds) -> Measured:
        instrument, qty, price, held = order.seen.instrument, order.qty, order.limit_price, order.line.held
        breaches = 0.0
        if order.time_in_force not in TERMS.get(order.order_type, ()):
            breaches += 1.0
        fractions = instrument is not None and instrument.fractionable and order.time_in_force == "day"
        if qty <= 0.0 or (qty % 1.0 and not fractions):
            breaches += 1.0
        tick = instrument.tick if instrument is not None else None
        per_usd = 1.0 / float(tick) if tick is not None else (100.0 if price >= 1.0 else 10_000.0)
        if price <= 0.0 or round(price * per_usd, EXACT) % 1.0:
            breaches += 1.0
        if held * (held + order.direction * qty) < 0.0:
            breaches += 1.0
        return 0.0, 0.0, breaches


class InSession(Rule):
    """The market is open, or the order is one for the hours it is sent in."""

    name = "session"
    formula = (
        "1 outside the exchange's session, unless the order is for an auction, or a limit order for extended "
        "hours in a name that trades then"
    )
    source = "exchange calendar; the broker's order entry rules"
    unknown = "never"
    passing = True

    def measure(self, order: Proposal, bounds: Bounds) -> Measured:
        if order.in_session or order.time_in_force in AUCTIONS:
            return KEPT
        instrument = order.seen.instrument
        early_or_late = order.extended_hours and order.order_type == "limit"
        return KEPT if early_or_late and instrument is not None and instrument.extended_hours else BROKEN


class Halted(Rule):
    """The name trades: no halt, no pause."""

    name = "halt"
    formula = "1 if the newest status message says that it does not trade"
    source = "SEC Rule 15c3-5(c)(2)(i); exchanges' status messages"
    unknown = "never: messages come on a change only; a doubtful feed blocks new risk by itself"
    passing = True

    def measure(self, order: Proposal, bounds: Bounds) -> Measured:
        return BROKEN if order.seen.halted else KEPT


class PriceBands(Rule):
    """The limit price is inside the price bands, and the name is not in a limit state."""

    name = "luld"
    formula = (
        "breaches among: a buy above the upper band or a sell below the lower · the bid at or above the upper "
        "band or the ask at or below the lower (limit state)"
    )
    source = "Limit Up-Limit Down plan (Reg NMS Rule 608)"
    unknown = "never: without a published band the price collar holds alone"
    passing = True

    def measure(self, order: Proposal, bounds: Bounds) -> Measured:
        band = order.seen.band
        if band is None:
            return KEPT
        line, lower, upper = order.line, float(band.low), float(band.high)
        outside = order.limit_price > upper if order.side == "buy" else order.limit_price < lower
        limit_state = line.bid >= upper or 0.0 < line.ask <= lower
        return 0.0, 0.0, float(outside) + float(limit_state)


class ShortSaleRestriction(Rule):
    """A restricted name is sold short only above the best bid."""

    name = "short_sale"
    formula = (
        "1 if the order sells short at or below the bid a name that is restricted: by a message, or because it "
        "was a tenth under the prior close today or in the last session"
    )
    source = "SEC Rule 201 of Regulation SHO (the alternative uptick rule)"
    unknown = "for short sales: the risk snapshot does not say who fell, or the name is not in it"
    passing = True

    def measure(self, order: Proposal, bounds: Bounds) -> Measured:
        if not order.sells_short():
            return KEPT
        if order.modelled().restricted is None:
            raise Unknown("the risk snapshot does not say which names fell by a tenth: propose again")
        restricted = order.line.fell or order.seen.short_restricted
        return BROKEN if restricted and order.limit_price <= order.line.bid else KEPT


class Borrow(Rule):
    """What is sold short can be borrowed."""

    name = "borrow"
    formula = "1 if the order sells short a name that is not shortable or not easy to borrow"
    source = "Regulation SHO Rule 203(b) (locate); the broker shorts easy-to-borrow names only"
    unknown = "for short sales: the broker did not say whether it can be borrowed"

    def measure(self, order: Proposal, bounds: Bounds) -> Measured:
        if not order.sells_short():
            return KEPT
        instrument = order.seen.instrument
        if instrument is None or instrument.shortable is None or instrument.borrow is None:
            raise Unknown(f"whether {order.symbol} can be borrowed is unknown")
        return KEPT if instrument.shortable and instrument.borrow == "easy" else BROKEN


class ShortExposure(Limit):
    """Worst-case value of one short position: sides that may be taken."""

    name = "short_name"
    formula = "max(0, −lowest value of the name) ÷ equity"
    source = "the loss of a short has no bound; 0 forbids short sales"
    unknown = "equity is unknown"

    def measure(self, order: Proposal, bounds: Bounds) -> Measured:
        equity = order.equity
        return bounds["short_name"], short_side(order.line.low) / equity, short_side(order.low) / equity
