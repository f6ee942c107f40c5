"""One real Prefect server and one real ledger for the flows' tests, and a small panel of real closes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from flows.server import PrefectServer, settle, use_server

STRATEGY = """
name = "small"
[universe]
min_price = 0.1
[model]
rounds = 20
num_leaves = 7
min_data_in_leaf = 50
[training]
window_years = 2
refit_sessions = 126
[portfolio]
names = 4
single_name = 0.30
sector = 0.60
"""


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServer]:
    """The server, and this process pointed at it; the environment is put back afterwards."""
    before = dict(os.environ)
    with PrefectServer(tmp_path_factory.mktemp("server"), services=False) as server:
        use_server(server.home, server.api_url)
        server.wait_ready()
        yield server
        settle()
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="session")
def panel() -> pl.DataFrame:
    """Eight companies of the sample over its last three and a half years."""
    from market.sample import sample_prices

    names = ["AAPL", "BAC", "CVX", "JNJ", "KO", "MSFT", "WMT", "XOM"]
    return sample_prices().filter(pl.col("symbol").is_in(names), pl.col("date") >= pl.date(2019, 6, 28))


@pytest.fixture(scope="session")
def sectors_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from market.sample import sample_instruments

    path = tmp_path_factory.mktemp("sectors") / "sectors.csv"
    sample_instruments().write_csv(path)
    return path


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A state directory of its own with a replay ledger, as the settings see it; yields the directory."""
    from sql.server import stop_embedded

    folder = tmp_path_factory.mktemp("installation")
    (folder / "small.toml").write_text(STRATEGY)
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("SALLYPORT_", "APCA_", "POLYGON_"))]:
            patch.delenv(name)
        patch.delenv("DATABASE_URL", raising=False)
        patch.setenv("SALLYPORT_CONFIG", str(folder / "none.toml"))
        patch.setenv("SALLYPORT_STATE_DIR", str(folder / "state"))
        patch.setenv("SALLYPORT_ENVIRONMENT", "replay")
        patch.setenv("SALLYPORT_STRATEGY", str(folder / "small.toml"))
        yield folder / "state"
    stop_embedded(folder / "state")
