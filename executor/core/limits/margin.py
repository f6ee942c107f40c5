"""What the account can pay for and carry."""

from __future__ import annotations

from executor.core.limits.limit import KEPT, Bounds, Limit, Measured, Rule
from executor.core.limits.proposal import Proposal, Unknown, short_side

SHORT_ENTRY = 1.03
"""The broker values an opening short at the larger of its limit and 103 % of the ask."""


class AccountAllows(Rule):
    """The broker lets the account trade, and shows buying power for the order."""

    name = "account"
    formula = (
        "breaches among: trading or account blocked · a short sale where shorting is not enabled · the order's "
        "value over the buying power the broker last showed"
    )
    source = "the broker's account; an order it must refuse is not sent"
    unknown = "the account was read and showed no buying power; before the first reading the other limits hold alone"
    passing = True

    def measure(self, order: Proposal, bounds: Bounds) -> Measured:
        account = order.account
        if account is None:
            return KEPT
        if account.buying_power is None:
            raise Unknown("the broker showed no buying power")
        blocked = account.trading_blocked or account.account_blocked
        no_shorts = order.sells_short() and not account.shorting_enabled
        breaches = float(blocked) + float(no_shorts) + float(order.notional > float(account.buying_power))
        return 0.0, 0.0, breaches


class BuyingPower(Limit):
    """Worst-case positions as the broker values them when they are entered.

    An open sell gives buying power back only once it has filled, which is what the worst case says too.
    """

    name = "buying_power"
    formula = (
        "(Σ worst value, with the ordered name's short side at max(limit price, 1.03 × ask)) ÷ equity; "
        "1 is a cash account, 2 an account on Reg T margin"
    )
    source = "Regulation T (initial margin 50 %); the broker's buying power rules"
    unknown = "equity is unknown, or a short sale without an ask"

    def measure(self, order: Proposal, bounds: Bounds) -> Measured:
        equity, gross, line = order.equity, order.exposure.gross, order.line
        # What the order adds to the short side is entered at the broker's dearer price.
        opened = short_side(order.low) - short_side(line.low)
        price = max(order.limit_price, line.mid, line.top)
        dearer = max(price, SHORT_ENTRY * line.ask) / price - 1.0
        after = gross + order.added + dearer * opened
        return bounds["buying_power"], gross / equity, after / equity


class IntradayMargin(Limit):
    """Maintenance margin of the worst case: there is no pattern-day-trader count any more, but this."""

    name = "intraday_margin"
    formula = (
        "Σ margin ÷ equity; margin is 25 % of a long; of a short 30 % but at least 5 USD a share, under 5 USD "
        "all of it or 2.50"
    )
    source = "FINRA Rule 4210(c) and the intraday margin standard of SR-FINRA-2025-017"
    unknown = "equity is unknown"

    def measure(self, order: Proposal, bounds: Bounds) -> Measured:
        equity, required = order.equity, order.exposure.required
        after = required + order.required - order.line.required
        return bounds["intraday_margin"], required / equity, after / equity
