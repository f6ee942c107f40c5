"""A strategy file is read strictly, and its hash covers what is in force."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.errors import StrategyError
from models.strategy import load_strategy

DEFAULT = Path(__file__).resolve().parents[2] / "strategies/momentum.toml"


def _load(tmp_path: Path, text: str):
    path = tmp_path / "s.toml"
    path.write_text(text)
    return load_strategy(path)


def test_the_default_strategy_stays_inside_the_executors_limits() -> None:
    book = load_strategy(DEFAULT).portfolio
    assert book.single_name < 0.12
    assert book.sector < 0.40
    assert book.gross < 1.00


@pytest.mark.parametrize(("universe", "held"), [(20, 12), (500, 35), (8, 8)])
def test_it_holds_a_dozen_of_twenty_and_three_dozen_of_five_hundred(universe: int, held: int) -> None:
    assert load_strategy(DEFAULT).names_held(universe) == held


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('name = "x"\n[portfolio]\nsingel_name = 0.1', "singel_name"),
        ('name = "x"\nleverage = 3', "leverage"),
        ('name = "x"\n[portfolio]\ngross = 1.5', "portfolio.gross"),
        ('name = "x"\n[label]\nhorizon_sessions = 0', "horizon_sessions"),
        ('name = "x"\n[model]\nrounds = "many"', "rounds"),
        ('name = "No Slug!"', "name"),
        ("[label]\nhorizon_sessions = 5", "name"),
        ('name = "x"\n[portfolio]\nnames = 3', "cannot reach"),
        ('name = "x"\n[portfolio]\nsector = 0.05', "under portfolio.single_name"),
        ('name = "x"\n[portfolio]\nsingle_name = 0.9\ngross = 0.5\nsector = 0.95', "over portfolio.gross"),
        ("name = ", "not valid TOML"),
    ],
)
def test_a_mistake_is_refused_by_its_name_and_file(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(StrategyError, match=r"s\.toml") as refused:
        _load(tmp_path, text)
    assert says in str(refused.value)


def test_a_missing_file_is_one_clear_message(tmp_path: Path) -> None:
    with pytest.raises(StrategyError, match="no strategy file"):
        load_strategy(tmp_path / "none.toml")


def test_files_that_mean_the_same_have_the_same_hash(tmp_path: Path) -> None:
    plain = _load(tmp_path, 'name = "x"')
    wordy = _load(tmp_path, '# why\nname = "x"\ndescription = "words"\n[label]\nhorizon_sessions = 5')
    assert plain.hash == wordy.hash


def test_any_value_in_force_changes_the_hash(tmp_path: Path) -> None:
    assert _load(tmp_path, 'name = "x"').hash != _load(tmp_path, 'name = "x"\n[costs]\nimpact_y = 1.1').hash
