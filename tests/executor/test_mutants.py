"""A limit whose code is changed fails a claim; the whole sweep is ``make mutants``, this is one limit in six."""

from __future__ import annotations

import limit_cases
import mutants
import pytest

from executor.core.limits import LIMITS, Limit


@pytest.mark.parametrize("limit", LIMITS[::6], ids=lambda limit: limit.name)
def test_no_change_of_a_limits_code_goes_unnoticed(limit: Limit) -> None:
    tried, left = mutants.survivors(limit)
    assert tried >= 4
    assert left == []


def test_a_table_that_claims_too_little_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    (gross,) = [limit for limit in LIMITS if limit.name == "gross"]
    idle = limit_cases.Case("gross", inside=(limit_cases.buy("10"),))
    monkeypatch.setattr(mutants, "CASES", (idle,))
    tried, left = mutants.survivors(gross)
    assert 0 < len(left) < tried
    breach_passes = limit_cases.Case("gross", {"gross": "0.0001"}, inside=(limit_cases.buy("10"),))
    monkeypatch.setattr(mutants, "CASES", (breach_passes,))
    with pytest.raises(AssertionError, match="wrong about gross itself"):
        mutants.survivors(gross)


def test_every_equivalent_mutant_still_exists() -> None:
    there = {f"{limit.name} {said}" for limit in LIMITS for said, _ in mutants.mutants(limit)}
    assert set(mutants.EQUIVALENT) <= there
