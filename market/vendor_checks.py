"""Two vendors side by side: where one disagrees with the other, from when to when, and whether it is a share
basis or another instrument.

Closing prints of two sources differ by a few basis points (which print is the close); a per cent apart they
do not describe the same trade. A constant ratio over a stretch is another basis (a split one of them adjusted
for); a ratio that wanders is another instrument.
"""

from __future__ import annotations

import polars as pl

from market.findings import each_row, no_findings, previous, text

VENDOR_CHECKS: dict[str, str] = {
    "cross_vendor_mismatch": "a second vendor closes within two per cent",
    "split_basis": "a second vendor is on the same split basis",
}

_OFF = 0.02  # log ratio of the closes
_STEADY = 0.01  # spread of a log ratio that is a basis
_OTHER_LEVEL = 0.15  # log ratio: a step of it begins another stretch
_JOIN_SESSIONS = 10  # stretches this near to one another are one


def compare_vendors(prices: pl.DataFrame, reference: pl.DataFrame) -> pl.DataFrame:
    """Findings about `prices` where the closes of `reference` (both canonical frames) say otherwise.

    Prices may be raw or adjusted for splits: each symbol is compared on the basis, of the two, on which more of
    its sessions agree. Symbols and dates of one side only are not judged.
    """
    later = pl.col("split").log().reverse().cum_sum().reverse().over("symbol") - pl.col("split").log()
    end = prices["date"].max()
    side = (
        reference.filter((pl.col("close") > 0) & (pl.col("date") <= end))
        .sort("symbol", "date")
        .select("symbol", "date", pl.col("close").log().alias("raw"), later.alias("later"))
    )
    both = (
        prices.filter(pl.col("close") > 0)
        .sort("symbol", "date")
        .select("symbol", "date", "close", pl.int_range(pl.len()).over("symbol").alias("place"))
        .join(side, on=["symbol", "date"], maintain_order="left")
        .with_columns((pl.col("close").log() - pl.col("raw")).alias("as_traded"))
        .with_columns((pl.col("as_traded") + pl.col("later")).alias("adjusted"))
    )
    if both.is_empty():
        return no_findings()
    agree = [(pl.col(name).abs() <= _OFF).sum().over("symbol") for name in ("as_traded", "adjusted")]
    off = (
        both.with_columns(pl.when(agree[0] >= agree[1]).then("as_traded").otherwise("adjusted").alias("ratio"))
        .filter(pl.col("ratio").abs() > _OFF)
        .with_columns(
            (
                ((pl.col("place") - previous("place")).fill_null(10**6) > _JOIN_SESSIONS)
                | ((pl.col("ratio") - previous("ratio")).abs() > _OTHER_LEVEL).fill_null(True)
            ).alias("starts")
        )
        .with_columns(pl.col("starts").cum_sum().alias("stretch"))
        .group_by("stretch", maintain_order=True)
        .agg(
            pl.col("symbol").first(), pl.col("date").min().alias("first"), pl.col("date").max().alias("last"),
            pl.len().alias("sessions"), pl.col("ratio").median().alias("ratio"),
            (pl.col("ratio").quantile(0.9) - pl.col("ratio").quantile(0.1)).alias("spread"),
        )
    )  # fmt: skip
    basis = (pl.col("spread") < _STEADY) & (pl.col("sessions") >= 3) & (pl.col("ratio").abs() > 0.15)
    times = pl.col("ratio").exp().round(4)
    return each_row(
        off, pl.when(basis).then(pl.lit("split_basis")).otherwise(pl.lit("cross_vendor_mismatch")), "quarantine",
        first=pl.col("first"), last=pl.col("last"), value=pl.col("ratio").exp() - 1,
        confidence=pl.when(pl.col("ratio").abs() > 0.1).then(0.9).otherwise(0.7),
        action=pl.when(basis).then(text("bring both to one basis: divide by {}", times)).otherwise(pl.lit("find out which instrument this is; until then leave the symbol out")),
        detail=text("{} sessions at {} times the close of the second vendor", "sessions", times),
        evidence={"sessions": pl.col("sessions"), "times": pl.col("ratio").exp(), "spread": pl.col("spread")},
    )  # fmt: skip
