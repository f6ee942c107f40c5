"""A label enters at the next close and says when it became known."""

from __future__ import annotations

import polars as pl
import pytest

from models.alpha.labels import forward_return
from models.errors import FeatureError


def _bars(closes: list[float], symbol: str = "A") -> pl.DataFrame:
    days = pl.date_range(pl.date(2020, 1, 1), pl.date(2020, 3, 1), eager=True)[: len(closes)]
    return pl.DataFrame({"symbol": [symbol] * len(closes), "date": days, "close": closes})


def test_it_enters_at_the_next_close_and_leaves_a_horizon_later() -> None:
    bars = _bars([100.0, 110.0, 121.0, 60.5, 80.0])
    labels = forward_return(bars, 2)
    # Decided on day 0, bought at 110 on day 1, sold at 60.5 on day 3: today's close plays no part.
    assert labels["label"][0] == pytest.approx(60.5 / 110 - 1)
    assert labels["label_end"][0] == bars["date"][3]
    assert labels["label"][1] == pytest.approx(80 / 121 - 1)


def test_an_outcome_that_is_not_known_yet_is_missing() -> None:
    labels = forward_return(_bars([1.0, 2.0, 3.0, 4.0]), 2)
    assert labels["label"].null_count() == 3
    assert labels["label_end"].null_count() == 3


def test_one_name_never_sees_the_prices_of_the_next() -> None:
    both = pl.concat([_bars([1.0] * 6, "A"), _bars([100.0, 1.0] * 3, "B")])
    labels = forward_return(both, 1)
    assert set(labels.filter(pl.col("symbol") == "A")["label"].drop_nulls()) == {0.0}


def test_a_horizon_of_nothing_and_a_missing_column_are_refused() -> None:
    with pytest.raises(FeatureError, match="at least one session"):
        forward_return(_bars([1.0]), 0)
    with pytest.raises(FeatureError, match="close"):
        forward_return(_bars([1.0]).drop("close"), 5)
