"""What a back-test came to: figures, a chart for the terminal, and files others can read."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from executor.backtest.history import History
from executor.backtest.run import Day, Result
from executor.backtest.tables import write_returns
from executor.errors import InputError
from models.risk.snapshot import Floats

SESSIONS_A_YEAR = 252
BLOCKS = "▁▂▃▄▅▆▇█"
RETURNS = ("date", "gross", "cost", "net", "benchmark", "turnover", "held")


def returns_of(result: Result, history: History, first: int) -> dict[str, Any]:
    """Columns of the walk-forward's frame of returns, one row a session but the first.

    ``benchmark`` is the equal-weighted mean return of the names that traded on both closes.
    """
    days = result.days
    equity = np.array([d.equity for d in days])
    net = equity[1:] / equity[:-1] - 1.0
    cost = np.array([d.cost for d in days[1:]])
    close = history.close[first : first + len(days)]
    with np.errstate(invalid="ignore"):
        moves = close[1:] / close[:-1] - 1.0
    seen = np.isfinite(moves)
    count = seen.sum(axis=1)
    benchmark = np.where(seen, moves, 0.0).sum(axis=1) / np.maximum(count, 1)
    return {
        "date": [d.session for d in days[1:]],
        "gross": net + cost,
        "cost": cost,
        "net": net,
        "benchmark": benchmark,
        "turnover": np.array([d.turnover for d in days[1:]]),
        "held": np.array([d.held for d in days[1:]]),
    }


def figures(result: Result, returns: dict[str, Any]) -> dict[str, Any]:
    """The summary as it is printed and written: plain numbers, fractions unless the name says otherwise."""
    net, benchmark = returns["net"], returns["benchmark"]
    equity = np.array([d.equity for d in result.days])
    years = max(len(net), 1) / SESSIONS_A_YEAR
    peak = np.maximum.accumulate(equity)
    trades = result.trades
    return {
        "sessions": len(result.days),
        "first": result.days[0].session.isoformat(),
        "last": result.days[-1].session.isoformat(),
        "equity_first_usd": round(float(equity[0]), 2),
        "equity_last_usd": round(float(equity[-1]), 2),
        "cagr": float((equity[-1] / equity[0]) ** (1 / years) - 1.0),
        "benchmark_cagr": float(np.prod(1.0 + benchmark) ** (1 / years) - 1.0),
        "volatility": float(net.std(ddof=1) * np.sqrt(SESSIONS_A_YEAR)) if len(net) > 1 else 0.0,
        "sharpe": _sharpe(net),
        "max_drawdown": float((1.0 - equity / peak).max()),
        "turnover_a_year": float(sum(d.turnover for d in result.days) / years),
        "cost_a_year": float(sum(d.cost for d in result.days) / years),
        "costs_usd": {
            "fees": round(sum(t.fees for t in trades), 2),
            "spread": round(sum(t.spread for t in trades), 2),
            "impact": round(sum(t.impact for t in trades), 2),
        },
        "trades": len(trades),
        "exits": sum(t.purpose != "target" for t in trades),
        "bars": result.bars,
        "commands": result.commands,
        "mode_last": result.days[-1].mode,
        "refusals": dict(result.refusals.most_common()),
        "breaker_trips": [
            {"session": s.isoformat(), "title": title, "text": text} for s, title, text in result.trips
        ],
    }


def _sharpe(net: Floats) -> float:
    spread = float(net.std(ddof=1)) if len(net) > 1 else 0.0
    return float(net.mean()) / spread * float(np.sqrt(SESSIONS_A_YEAR)) if spread > 0 else 0.0


def chart(values: Sequence[float], width: int = 44) -> str:
    """A line of blocks, lowest to highest: enough to see how it went."""
    if not values:
        return ""
    points = np.asarray(values, dtype=float)
    if len(points) > width:
        points = np.array([part[-1] for part in np.array_split(points, width)])
    low, high = float(points.min()), float(points.max())
    if high == low:
        return BLOCKS[3] * len(points)
    steps = np.floor((points - low) / (high - low) * (len(BLOCKS) - 1) + 0.5).astype(int)
    return "".join(BLOCKS[i] for i in steps)


def write(folder: Path, result: Result, returns: dict[str, Any], summary: dict[str, Any]) -> list[Path]:
    """``summary.json``, ``equity.csv``, ``trades.csv`` and ``returns.parquet`` (what the tear sheet takes).

    Raises :class:`InputError` if the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "summary.json").write_text(json.dumps(summary, indent=1) + "\n")
        with (folder / "equity.csv").open("w", newline="") as file:
            rows = csv.DictWriter(file, list(Day.__dataclass_fields__))
            rows.writeheader()
            rows.writerows(asdict(d) for d in result.days)
        with (folder / "trades.csv").open("w", newline="") as file:
            names = (
                "session", "client_order_id", "symbol", "side", "qty", "price", "mid", "purpose", "fees", "spread",
                "impact",
            )  # fmt: skip
            out = csv.writer(file)
            out.writerow(names)
            out.writerows([getattr(t, n) for n in names] for t in result.trades)
        write_returns(folder / "returns.parquet", returns, RETURNS)
    except OSError as error:
        raise InputError(f"cannot write the result to {folder}: {error.strerror}") from None
    return [folder / n for n in ("summary.json", "equity.csv", "trades.csv", "returns.parquet")]
