"""Checks of a price panel, in Polars: what is wrong, with which symbol, on which session, and how much it matters.

Severity decides what follows. `block`: nothing may be trained on, proposed from or traded on this data. `quarantine`:
the symbol is left out of training and signals. `note`: a person should know. Structural faults (rows from the
future, duplicates, whole sessions missing, a part of the symbols missing, one series under many names) block at any
age; a fault of one symbol blocks only in the newest sessions, where an order would be priced from it, and is a
quarantine or a note further back, because every long real history has some.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import polars as pl

from market.calendar import is_session, previous_session, session_offset, sessions
from market.errors import MarketError
from market.ingest import PRICE_COLUMNS

FINDING_SCHEMA: dict[str, type[pl.DataType]] = {
    "check": pl.String,
    "severity": pl.String,
    "symbol": pl.String,
    "date": pl.Date,
    "value": pl.Float64,
    "detail": pl.String,
}

SEVERITIES = ("block", "quarantine", "note")

CHECKS: dict[str, str] = {
    "future_rows": "no row is dated after the as-of date",
    "duplicate_rows": "one row a symbol and session",
    "missing_newest_session": "the newest closed session has been delivered",
    "missing_session": "every session of the exchange has rows",
    "partial_delivery": "each session holds nearly all of the symbols that should trade on it",
    "identical_series": "no two symbols carry the same series of closes",
    "phantom_session": "every row lies on a session of the exchange",
    "invalid_price": "prices are there, finite and positive; volume is there and not negative",
    "ohlc_inconsistent": "low <= open, close <= high",
    "unadjusted_split": "no adjusted return has the size of a split",
    "bad_print": "no close jumps away and straight back",
    "stale_run": "no series stands still for five sessions",
    "adjustment_mismatch": "the adjusted close moves as splits and dividends say",
    "series_ended": "each symbol is delivered up to the newest session",
    "missing_rows": "no session is missing inside a symbol's life",
    "bad_wick": "no high or low lies half the price away from the body",
    "zero_volume": "every session has volume",
    "jump": "no return is beyond twelve of its own robust standard deviations",
}
"""Every check that `check_prices` runs, each with the claim it makes of good data."""

STALE_SESSIONS = 5
_PARTIAL_BLOCK = 0.90  # of the symbols expected on a session
_PARTIAL_NOTE = 0.98
_MASS_FRACTION = 0.10  # of a session's symbols with the same fault: then it is the delivery, not the symbol
_IDENTICAL_SESSIONS = 20
_LONG_GAP_SESSIONS = 20
_JUMP_Z = 12.0
_JUMP_RETURN = 0.25  # log return: smaller moves are news on any day
_SPLIT_Z = 8.0
_MARKET_SYMBOLS = 20  # below that, a cross-section says nothing about the market
_OHLC_TOLERANCE = 0.005  # of the price: rounding and late prints, in real feeds
_SPLITS = (2, 3, 4, 5, 6, 7, 8, 10, 12, 15, 20, 25, 30, 50, 100, 1.5)


@dataclass(frozen=True)
class _Panel:
    rows: (
        pl.DataFrame
    )  # canonical rows up to as_of, sorted, with `position` (of the session, null on others), `newest`
    days: list[date]  # the sessions from the first row to the newest due
    newest_due: date
    newest_from: date


def check_prices(prices: pl.DataFrame, *, as_of: date, newest_sessions: int = 5) -> pl.DataFrame:
    """Run every check over a canonical daily frame and return its findings, worst first.

    `as_of` is the last date that may be known; the newest session due is the one on or before it. Returns columns
    check, severity (block, quarantine or note), symbol (null: the whole delivery), date (null: no single session),
    value (Float64, what the check measured, null where there is nothing to measure) and detail (one sentence).

    Raises MarketError for a frame without rows up to `as_of`, or `newest_sessions` below 1.
    """
    if newest_sessions < 1:
        raise MarketError(f"newest_sessions is {newest_sessions}; give at least 1")
    future = prices.filter(pl.col("date") > as_of)
    known = prices.filter(pl.col("date") <= as_of) if future.height else prices
    if known.is_empty():
        raise MarketError(f"there are no prices up to {as_of} to check; ingest data that reaches that date")
    panel = _panel(known, as_of, newest_sessions)
    findings = [_future_rows(future, as_of)]
    findings += [
        check(panel)
        for check in (
            _duplicate_rows, _missing_newest_session, _missing_sessions, _partial_delivery, _identical_series,
            _phantom_sessions, _invalid_prices, _ohlc, _returns, _stale_runs, _adjustment, _series_ended,
            _missing_rows, _bad_wicks, _zero_volume,
        )
    ]  # fmt: skip
    rank = pl.col("severity").replace_strict(
        {name: i for i, name in enumerate(SEVERITIES)}, return_dtype=pl.Int8
    )
    return (
        _mass_faults_block(pl.concat(findings), panel)
        .with_columns(rank.alias("_rank"))
        .sort(
            "_rank", "check", "date", "value", "symbol",
            descending=[False, False, True, True, False], nulls_last=True,
        )
        .drop("_rank")
    )  # fmt: skip


def _panel(known: pl.DataFrame, as_of: date, newest_sessions: int) -> _Panel:
    first: date = known["date"].min()  # type: ignore[assignment]
    newest_due = as_of if is_session(as_of) else previous_session(as_of)
    days = sessions(first, newest_due) or [newest_due]
    newest_from = session_offset(newest_due, 1 - newest_sessions)
    calendar = pl.DataFrame({"date": days}, schema={"date": pl.Date}).with_row_index("position")
    rows = (
        known.sort("symbol", "date", maintain_order=True)
        .join(calendar, on="date", how="left", maintain_order="left")
        .with_columns((pl.col("date") >= newest_from).alias("newest"), pl.col("position").cast(pl.Int32))
    )
    return _Panel(rows, days, newest_due, newest_from)


def _findings(
    rows: pl.DataFrame,
    check: str | pl.Expr,
    severity: pl.Expr,
    *,
    symbol: pl.Expr | None = None,
    day: pl.Expr | None = None,
    value: pl.Expr | None = None,
    detail: pl.Expr,
) -> pl.DataFrame:
    """One finding a row of `rows`; by default symbol and date are the row's own."""
    columns = {
        "check": pl.lit(check) if isinstance(check, str) else check,
        "severity": severity,
        "symbol": pl.col("symbol") if symbol is None else symbol,
        "date": pl.col("date") if day is None else day,
        "value": pl.lit(None) if value is None else value,
        "detail": detail,
    }
    return rows.select(columns[name].cast(kind).alias(name) for name, kind in FINDING_SCHEMA.items())


def _text(template: str, *values: str | pl.Expr) -> pl.Expr:
    """`pl.format`, which in Polars 2.1 panics where a when/then branch has no rows."""
    parts: list[pl.Expr] = []
    for text, value in zip(template.split("{}"), [*values, None], strict=True):
        parts.append(pl.lit(text))
        if value is not None:
            parts.append(
                (pl.col(value) if isinstance(value, str) else value).cast(pl.String).fill_null("null")
            )
    return pl.concat_str(parts)


def _one(check: str, severity: str, day: date | None, value: float, detail: str) -> pl.DataFrame:
    return pl.DataFrame(
        [(check, severity, None, day, float(value), detail)], schema=FINDING_SCHEMA, orient="row"
    )


def _none() -> pl.DataFrame:
    return pl.DataFrame(schema=FINDING_SCHEMA)


def _newest(then: str, otherwise: str) -> pl.Expr:
    return pl.when("newest").then(pl.lit(then)).otherwise(pl.lit(otherwise))


def _previous(column: str) -> pl.Expr:
    """The value on the same symbol's row before; null on its first. Needs rows sorted by symbol and date."""
    return pl.when(pl.col("symbol") == pl.col("symbol").shift(1)).then(pl.col(column).shift(1))


def _future_rows(future: pl.DataFrame, as_of: date) -> pl.DataFrame:
    if future.is_empty():
        return _none()
    names = future["symbol"].n_unique()
    last: date = future["date"].max()  # type: ignore[assignment]
    return _one(
        "future_rows", "block", last, future.height,
        f"{future.height} rows of {names} symbols are dated after {as_of}, up to {last}: they could not be known",
    )  # fmt: skip


def _duplicate_rows(panel: _Panel) -> pl.DataFrame:
    repeated = panel.rows.filter(pl.col("date") == _previous("date"))
    by_symbol = repeated.group_by("symbol").agg(pl.col("date").min(), pl.len().alias("count"))
    return _findings(
        by_symbol, "duplicate_rows", pl.lit("block"), value=pl.col("count"),
        detail=_text("{} repeated rows, the first on {}", "count", "date"),
    )  # fmt: skip


def _missing_newest_session(panel: _Panel) -> pl.DataFrame:
    last: date = panel.rows["date"].max()  # type: ignore[assignment]
    missing = [day for day in panel.days if day > last]
    if not missing:
        return _none()
    return _one(
        "missing_newest_session", "block", panel.newest_due, len(missing),
        f"the newest rows are of {last}; sessions missing up to {panel.newest_due}: {len(missing)}",
    )  # fmt: skip


def _missing_sessions(panel: _Panel) -> pl.DataFrame:
    present = set(panel.rows["date"].unique())
    last: date = panel.rows["date"].max()  # type: ignore[assignment]
    missing = [day for day in panel.days if day not in present and day < last]
    table = pl.DataFrame({"date": missing}, schema={"date": pl.Date})
    return _findings(
        table, "missing_session", pl.lit("block"), symbol=pl.lit(None),
        detail=_text("no symbol has a row on the session of {}", "date"),
    )  # fmt: skip


def _partial_delivery(panel: _Panel) -> pl.DataFrame:
    """Rows a session against the symbols expected on it.

    A symbol is expected from its first row to its last, without its long gaps (those are its own fault), and up to
    the newest session when it stopped only inside the newest ones (that may be the delivery's fault).
    """
    rows = panel.rows.filter(pl.col("position").is_not_null()).select("symbol", "position").unique()
    rows = rows.sort("symbol", "position").with_columns(
        (pl.col("position") - _previous("position")).alias("gap")
    )
    newest_from = len(panel.days) - len([day for day in panel.days if day >= panel.newest_from])
    spells = (
        rows.with_columns(
            (pl.col("gap").is_null() | (pl.col("gap") > _LONG_GAP_SESSIONS)).cum_sum().alias("spell")
        )
        .group_by("spell")
        .agg(pl.col("position").min().alias("born"), pl.col("position").max().alias("died"))
        .with_columns(
            pl.when(pl.col("died") >= newest_from - 1).then(len(panel.days)).otherwise("died").alias("died")
        )
    )
    births = spells.select(pl.col("born").cast(pl.Int64).alias("position"), pl.lit(1).alias("change"))
    deaths = spells.select((pl.col("died").cast(pl.Int64) + 1).alias("position"), pl.lit(-1).alias("change"))
    expected = (
        pl.concat([births, deaths])
        .group_by("position")
        .agg(pl.col("change").sum())
        .sort("position")
        .select("position", pl.col("change").cum_sum().alias("expected"))
    )
    counts = rows.group_by(pl.col("position").cast(pl.Int64)).agg(pl.len().alias("count")).sort("position")
    table = counts.join_asof(expected, on="position").with_columns(
        pl.col("position").map_elements(panel.days.__getitem__, return_dtype=pl.Date).alias("date"),
        (pl.col("count") / pl.col("expected")).alias("share"),
    )
    # Two symbols missing from a handful are their own fault, unless it is of today.
    several = (pl.col("expected") - pl.col("count") > 2) | (pl.col("position") >= newest_from)
    table = table.filter((pl.col("share") < _PARTIAL_NOTE) & several)
    return _findings(
        table,
        "partial_delivery",
        pl.when(pl.col("share") < _PARTIAL_BLOCK).then(pl.lit("block")).otherwise(pl.lit("note")),
        symbol=pl.lit(None),
        value=pl.col("share"),
        detail=_text("{} of the {} symbols expected on {} were delivered", "count", "expected", "date"),
    )


def _identical_series(panel: _Panel) -> pl.DataFrame:
    """Blocks of twenty sessions, counted back from the newest, in which two symbols closed equal every day."""
    rows = panel.rows.filter(pl.col("position").is_not_null() & pl.col("close").is_not_null())
    block = (pl.lit(len(panel.days) - 1) - pl.col("position")) // _IDENTICAL_SESSIONS
    series = (
        rows.with_columns(block.alias("block"), pl.struct("date", "close").hash().alias("mark"))
        .group_by("symbol", "block")
        .agg(
            # Only compared, never stored: a wrapping sum of row hashes is order-free and cheap.
            pl.col("mark").sum(),
            pl.col("date").max(),
            pl.len().alias("rows"),
            pl.col("close").n_unique().alias("distinct"),
        )
        .filter((pl.col("rows") >= _IDENTICAL_SESSIONS // 2) & (pl.col("distinct") >= STALE_SESSIONS))
    )
    groups = (
        series.group_by("block", "mark")
        .agg(pl.col("symbol").sort(), pl.col("date").max())
        .filter(pl.col("symbol").list.len() > 1)
        .sort("block")
    )
    if groups.is_empty():
        return _none()
    total = max(rows["symbol"].n_unique(), 1)
    members = (
        groups.explode("symbol", empty_as_null=True, keep_nulls=True)
        .group_by("symbol")
        .agg(pl.col("date").max(), pl.col("block").min(), pl.len().alias("blocks"))
    )
    if members.height >= max(3, _MASS_FRACTION * total):
        return _one(
            "identical_series", "block", members["date"].max(), members.height,  # type: ignore[arg-type]
            f"{members.height} of {total} symbols carry a series of closes that another symbol carries too: "
            "a downloader or the source mixed them up",
        )  # fmt: skip
    twins = (
        groups.unique("symbol", keep="first", maintain_order=True)
        .explode("symbol", empty_as_null=True, keep_nulls=True)
        .unique("symbol", keep="first", maintain_order=True)
    )
    others = groups.select(pl.col("symbol").alias("all"), "block", "mark")
    twins = twins.join(others, on=["block", "mark"]).join(members.select("symbol", "blocks"), on="symbol")
    return _findings(
        twins, "identical_series",
        pl.when(pl.col("block") == 0).then(pl.lit("block")).otherwise(pl.lit("quarantine")),
        value=pl.col("blocks") * _IDENTICAL_SESSIONS,
        detail=_text("same closes under {} for {} sessions up to {}", pl.col("all").list.join(" and "),
                         pl.col("blocks") * _IDENTICAL_SESSIONS, "date"),
    )  # fmt: skip


def _phantom_sessions(panel: _Panel) -> pl.DataFrame:
    phantom = panel.rows.filter(pl.col("position").is_null())
    by_day = phantom.group_by("date").agg(pl.len().alias("count"), pl.col("newest").first())
    return _findings(
        by_day, "phantom_session", _newest("block", "note"), symbol=pl.lit(None), value=pl.col("count"),
        detail=_text("{} rows on {} ({}), when the exchange was closed", "count", "date",
                         pl.col("date").dt.strftime("%A")),
    )  # fmt: skip


def _invalid_prices(panel: _Panel) -> pl.DataFrame:
    numbers = [*PRICE_COLUMNS, "volume", "adj_close"]
    invalid = {
        name: pl.col(name).is_null()
        | ~pl.col(name).is_finite()
        | ((pl.col(name) < 0) if name == "volume" else (pl.col(name) <= 0))
        for name in numbers
    }
    rows = panel.rows.filter(pl.any_horizontal(invalid.values()))
    named = pl.concat_str(
        [pl.when(test).then(_text("{} {}", pl.lit(name), pl.col(name).cast(pl.String).fill_null("null"))) for name, test in invalid.items()],
        separator=", ", ignore_nulls=True,
    )  # fmt: skip
    return _findings(rows, "invalid_price", _newest("block", "quarantine"), detail=named)


def _ohlc(panel: _Panel) -> pl.DataFrame:
    top, bottom = pl.max_horizontal("open", "close"), pl.min_horizontal("open", "close")
    rows = panel.rows.filter(
        (pl.col("high") < top) | (pl.col("low") > bottom) | (pl.col("high") < pl.col("low"))
    )
    rows = rows.with_columns(
        (
            pl.max_horizontal(top - pl.col("high"), pl.col("low") - bottom, pl.col("low") - pl.col("high"))
            / pl.col("close")
        ).alias("excess")
    )
    severe = (pl.col("excess") > _OHLC_TOLERANCE) | (pl.col("high") < pl.col("low"))
    return _findings(
        rows, "ohlc_inconsistent",
        pl.when(severe).then(_newest("block", "quarantine")).otherwise(pl.lit("note")), value=pl.col("excess"),
        detail=_text("open {}, high {}, low {}, close {}", *PRICE_COLUMNS),
    )  # fmt: skip


def _returns(panel: _Panel) -> pl.DataFrame:
    """Adjusted returns against the symbol's own spread: split-sized steps, prints that revert, other jumps."""
    rows = panel.rows.filter((pl.col("close") > 0) & (pl.col("adj_close") > 0))
    rows = rows.with_columns((pl.col("adj_close") / _previous("adj_close")).log().alias("step"))
    size = pl.col("step").abs()
    # The day's own restlessness: what half of the market does on one day is no fault of a symbol.
    market = rows.group_by("date").agg(
        pl.when(size.count() >= _MARKET_SYMBOLS).then(1.4826 * size.median()).alias("market_sigma")
    )
    before = size.shift(1)  # of the 63 returns before, so that a jump does not hide itself
    wide = rows.with_columns(
        (1.4826 * before.rolling_median(63, min_samples=20).over("symbol")).alias("robust_sigma"),
        # Half the plain estimate: keeps a series that mostly stands still from having no spread at all.
        (0.5 * 1.2533 * before.rolling_mean(63, min_samples=20).over("symbol")).alias("plain_sigma"),
        pl.col("volume").shift(1).rolling_median(21, min_samples=5).over("symbol").alias("usual_volume"),
        pl.col("step").shift(-1).over("symbol").alias("after"),
        (pl.col("open") * pl.col("adj_close") / pl.col("close") / _previous("adj_close")).log().alias("gap"),
    ).filter(size > _JUMP_RETURN)
    wide = wide.join(market, on="date").with_columns(
        pl.max_horizontal(
            pl.col("robust_sigma").fill_null(0.02), "plain_sigma", "market_sigma", pl.lit(0.005)
        ).alias("sigma")
    )
    step, sigma = pl.col("step"), pl.col("sigma")
    ratios = [pl.lit(float(ratio)).log() * sign for ratio in _SPLITS for sign in (1, -1)]
    # The whole step happens overnight, and trading is ordinary in the new shares: a real crash has neither.
    near = (2.5 * sigma).clip(0.02, 0.08)
    sized = pl.any_horizontal(
        ((step - ratio).abs() < pl.min_horizontal(near, 0.1 * ratio.abs()))
        & ((pl.col("gap") - ratio).abs() < pl.min_horizontal(near, 0.15 * ratio.abs()))
        for ratio in ratios
    ) & (step.abs() > _SPLIT_Z * sigma)
    ordinary = (pl.col("volume") / pl.col("usual_volume")).fill_null(1.0) < 2.5 * pl.max_horizontal(
        1.0, (-step).exp()
    )
    reverts = ((step + pl.col("after")).abs() < 0.15 * step.abs()) & (step.abs() > 10 * sigma)
    kind = (
        pl.when(reverts).then(pl.lit("bad_print"))
        .when(sized & ordinary).then(pl.lit("unadjusted_split"))
        .when(step.abs() > _JUMP_Z * sigma).then(pl.lit("jump"))
    )  # fmt: skip
    wide = wide.with_columns(kind.alias("kind"), ((step.exp() - 1) * 100).round(1).alias("percent")).filter(
        pl.col("kind").is_not_null()
    )
    severity = (
        pl.when(pl.col("kind") == "jump").then(pl.lit("note")).otherwise(_newest("block", "quarantine"))
    )
    detail = (
        pl.when(pl.col("kind") == "bad_print").then(_text("moved {} % and straight back", "percent"))
        .when(pl.col("kind") == "unadjusted_split")
        .then(_text("stepped {} % overnight on ordinary volume, the size of a split", "percent"))
        .otherwise(_text("moved {} %, {} times its usual day", "percent", (step / sigma).abs().cast(pl.Int64)))
    )  # fmt: skip
    return _findings(wide, pl.col("kind"), severity, value=step.exp() - 1, detail=detail)


def _stale_runs(panel: _Panel) -> pl.DataFrame:
    same_close = (pl.col("close") == _previous("close")).fill_null(False)
    same_bar = same_close & pl.all_horizontal(
        (pl.col(name) == _previous(name)).fill_null(False) for name in ("open", "high", "low", "volume")
    )
    runs = (
        panel.rows.select("symbol", "date", "newest", same_close.alias("same"), same_bar.alias("copied"))
        .with_columns((~pl.col("same")).cum_sum().alias("run"))
        .filter("same")
        .group_by("run")
        .agg(
            pl.col("symbol").first(), pl.col("date").max(), (pl.len() + 1).alias("length"),
            pl.col("newest").any(), (pl.col("copied").sum() + 1).alias("copies"),
        )
        .filter(pl.col("length") >= STALE_SESSIONS)
    )  # fmt: skip
    copied = pl.col("copies") >= STALE_SESSIONS
    severity = (
        pl.when(copied).then(_newest("block", "quarantine"))
        .otherwise(_newest("quarantine", "note"))
    )  # fmt: skip
    return _findings(
        runs, "stale_run", severity, value=pl.col("length"),
        detail=pl.when(copied).then(_text("the same whole bar {} sessions in a row", "length"))
        .otherwise(_text("the same close {} sessions in a row", "length")),
    )  # fmt: skip


def _adjustment(panel: _Panel) -> pl.DataFrame:
    """The step of adj_close/close against split and dividend; only where the source delivers both sides."""
    rows = panel.rows
    stated = rows.select(
        ((pl.col("dividend") != 0).any() | (pl.col("split") != 1).any())
        & (pl.col("adj_close") != pl.col("close")).any()
    ).item()
    if not stated:
        return _none()
    factor = pl.col("adj_close") / pl.col("close")
    table = rows.with_columns(factor.alias("factor"), _previous("close").alias("before"))
    implied = pl.col("split") / (1 - pl.col("dividend") / pl.col("before"))
    table = table.with_columns(
        (pl.col("factor") / _previous("factor")).alias("step"), implied.alias("implied")
    )
    table = table.with_columns((pl.col("step") / pl.col("implied") - 1).abs().alias("off")).filter(
        pl.col("off") > 0.01
    )
    return _findings(
        table, "adjustment_mismatch",
        pl.when(pl.col("off") > 0.1).then(pl.lit("quarantine")).otherwise(pl.lit("note")), value=pl.col("off"),
        detail=_text("the adjustment steps by {}, split {} and dividend {} say {}", pl.col("step").round(4),
                         "split", "dividend", pl.col("implied").round(4)),
    )  # fmt: skip


def _series_ended(panel: _Panel) -> pl.DataFrame:
    newest: date = panel.rows["date"].max()  # type: ignore[assignment]
    lives = panel.rows.group_by("symbol").agg(pl.col("date").max(), pl.col("newest").any())
    ended = lives.filter(pl.col("date") < newest)
    return _findings(
        ended, "series_ended", _newest("quarantine", "note"),
        detail=_text("last delivered on {}: delisted, renamed or missing", "date"),
    )  # fmt: skip


def _missing_rows(panel: _Panel) -> pl.DataFrame:
    rows = panel.rows.filter(pl.col("position").is_not_null())
    present = rows.select("position").unique().sort("position").with_row_index("rank")
    # Counted in sessions that anyone traded on, so a wholly missing session is one finding and not one a symbol.
    rows = rows.join(
        present.with_columns(pl.col("rank").cast(pl.Int32)), on="position", maintain_order="left"
    )
    gaps = rows.with_columns(
        (pl.col("rank") - _previous("rank") - 1).alias("gap"), _previous("date").alias("before")
    ).filter(pl.col("gap") > 0)
    severity = pl.when(pl.col("newest") | (pl.col("gap") >= _LONG_GAP_SESSIONS)).then(pl.lit("quarantine"))
    return _findings(
        gaps, "missing_rows", severity.otherwise(pl.lit("note")), value=pl.col("gap"),
        detail=_text("{} sessions missing between {} and {}", "gap", "before", "date"),
    )  # fmt: skip


def _bad_wicks(panel: _Panel) -> pl.DataFrame:
    top, bottom = pl.max_horizontal("open", "close"), pl.min_horizontal("open", "close")
    rows = panel.rows.with_columns(
        pl.max_horizontal(pl.col("high") / top - 1, bottom / pl.col("low") - 1).alias("wick")
    ).filter((pl.col("wick") > 0.5) & pl.col("wick").is_finite())
    return _findings(
        rows, "bad_wick", _newest("quarantine", "note"), value=pl.col("wick"),
        detail=_text("open {}, high {}, low {}, close {}", *PRICE_COLUMNS),
    )  # fmt: skip


def _zero_volume(panel: _Panel) -> pl.DataFrame:
    rows = panel.rows.filter(pl.col("volume") == 0)
    return _findings(rows, "zero_volume", _newest("quarantine", "note"), detail=pl.lit("no share traded"))


def _mass_faults_block(findings: pl.DataFrame, panel: _Panel) -> pl.DataFrame:
    """The same quarantine in a tenth of a session's symbols is a fault of the delivery, however old: it blocks."""
    counts = panel.rows.group_by("date").agg(pl.col("symbol").n_unique().alias("traded"))
    own = findings.filter(pl.col("symbol").is_not_null() & (pl.col("severity") == "quarantine"))
    mass = (
        own.filter(~pl.col("check").is_in(["series_ended", "missing_rows"]))
        .group_by("check", "date")
        .agg(pl.col("symbol").n_unique().alias("hit"))
        .join(counts, on="date")
        .filter((pl.col("hit") >= 3) & (pl.col("hit") >= _MASS_FRACTION * pl.col("traded")))
    )
    if mass.is_empty():
        return findings
    blocks = _findings(
        mass, pl.col("check"), pl.lit("block"), symbol=pl.lit(None), value=pl.col("hit"),
        detail=_text("{} of {} symbols on {} have this fault at once: the delivery is bad", "hit", "traded", "date"),
    )  # fmt: skip
    return pl.concat([findings, blocks])
