"""How much of what is known to be wrong the validation finds, and how much it rejects that is right.

Run `python bench/validation.py`; with `--labels FILE --root FOLDER` over another labelled collection (columns
file, symbol, start, end, fault, evidence, certainty; `file` relative to the root, its first folder may differ),
`--reference FILE` for a second vendor. Prints a table by fault class, the drops one by one, false alarms on
every file, the recall of planted faults on names and years that nothing was tuned on, and how long it takes
beside pandas doing the same.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from datetime import date, timedelta
from pathlib import Path

import polars as pl

from market.drops import judge_drop, read_drop
from market.file_quality import Judged, judge_file
from market.ingest import read_delivery
from market.quality import CHECKS, check_prices

HERE = Path(__file__).resolve().parents[1]
SHARED = HERE.parent / "shared" / "data"
REFERENCE = "daily/sp500_alphavantage_1999_2021.parquet"

STEPS = {
    "jump",
    "bad_print",
    "basis_flip",
    "unadjusted_split",
    "unadjusted_spin_off",
    "identity_change",
    "adjustment_mismatch",
    "misdated_action",
    "split_basis",
}
"""What a check may call a step of the price; a label of one of them is met by any."""
SAME: dict[str, set[str]] = {
    "missing_session": {
        "missing_rows",
        "missing_session",
        "partial_delivery",
        "truncated_delivery",
        "missing_bars",
    },
    "null_field": {"invalid_price"},
    "ohlc_inconsistent": {"ohlc_inconsistent", "invalid_price"},
    "price_jump_40pct": STEPS,
    "large_move": STEPS,
    "adjustment_inconsistent": {"adjustment_mismatch", "misdated_action"},
    "cross_vendor_mismatch": {"cross_vendor_mismatch", "split_basis"},
    "non_session_rows": {"phantom_session"},
    "vendor_error_payload": {"vendor_error"},
    "series_ends_early": {"series_ended"},
}
RETURN_DAY = timedelta(days=5)  # a bad bar's return is wrong on the session after it too
FALSE_ALARMS_PER = 10_000


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--labels", type=Path, default=SHARED / "faults" / "known_faults_labels.csv")
    parser.add_argument("--root", type=Path, default=SHARED)
    parser.add_argument("--reference", type=Path, default=SHARED / REFERENCE)
    parser.add_argument("--only-labels", action="store_true", help="leave out planted faults and speed")
    parser.add_argument("--measure", choices=("whole", "pandas", "day"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        measure(given.measure, given.reference)
        return
    if not given.labels.exists():
        print(f"no labels at {given.labels}; give --labels and --root")
        return
    labels = read_labels(given.labels)
    reference = read_delivery(given.reference) if given.reference.exists() else None
    judged = judge_all(labels, given.root, given.reference, reference)
    print_recall(score(labels, judged))
    print_alarms(labels, judged)
    drops = sorted(given.root.glob("**/*.tar.gz"))
    if drops:
        print_drops(drops)
    if not given.only_labels:
        print_planted()
        print_speed(given.reference)


def read_labels(path: Path) -> pl.DataFrame:
    labels = pl.read_csv(path, infer_schema_length=0).with_row_index("label")
    return labels.with_columns(
        *(pl.col(name).str.slice(0, 10).str.to_date("%Y-%m-%d", strict=False) for name in ("start", "end")),
        pl.when(pl.col("symbol").is_in(["*", ""])).then(None).otherwise("symbol").alias("symbol"),
    )


def find(root: Path, name: str) -> Path | None:
    for path in (root / name, root / Path(*Path(name).parts[1:]), root / Path(name).name):
        if path.exists():
            return path
    return next(iter(root.glob(f"**/{Path(name).name}")), None)


def judge_all(
    labels: pl.DataFrame, root: Path, reference_path: Path, reference: pl.DataFrame | None
) -> dict[str, tuple[Judged, float]]:
    judged: dict[str, tuple[Judged, float]] = {}
    for name in labels["file"].unique().sort():
        path = find(root, name)
        if path is None:
            print(f"! {name} is not under {root}: its labels are left out")
            continue
        began = time.perf_counter()
        other = None if path.resolve() == reference_path.resolve() else reference
        # Vintages are judged by themselves; only the feed has labels that need a second vendor.
        needs = labels.filter((pl.col("file") == name) & (pl.col("fault") == "cross_vendor_mismatch")).height
        judged[name] = (judge_file(path, reference=other if needs else None), time.perf_counter() - began)
    return judged


def score(labels: pl.DataFrame, judged: dict[str, tuple[Judged, float]]) -> pl.DataFrame:
    """One row a label: found by its own class, found by any, rejected (block or quarantine over it)."""
    rows = []
    for label in labels.iter_rows(named=True):
        if label["file"] not in judged:
            continue
        own = SAME.get(label["fault"], {label["fault"]})
        hits = overlapping(judged[label["file"]][0].findings, label)
        exact = overlapping(judged[label["file"]][0].findings, label, slack=False)
        rejected = exact.filter((pl.col("severity") != "note") & pl.col("symbol").is_not_null()).height > 0
        right = hits.filter(pl.col("check").is_in(sorted(own))).height > 0
        rows.append((label["label"], label["fault"], label["certainty"], right, hits.height > 0, rejected))
    schema = {
        "label": pl.UInt32,
        "fault": pl.String,
        "certainty": pl.String,
        "right": pl.Boolean,
        "found": pl.Boolean,
        "rejected": pl.Boolean,
    }
    return pl.DataFrame(rows, schema=schema, orient="row")


def overlapping(findings: pl.DataFrame, label: dict[str, object], *, slack: bool = True) -> pl.DataFrame:
    same = (
        pl.col("symbol").is_null()
        if label["symbol"] is None
        else (pl.col("symbol") == label["symbol"]) | pl.col("symbol").is_null()
    )
    start, end = label["start"], label["end"]
    if start is None:
        return (
            findings
            if label["symbol"] is None or findings["symbol"].null_count() == findings.height
            else findings.filter(same)
        )
    assert isinstance(start, date)
    assert end is None or isinstance(end, date)
    first, last = pl.col("first").cast(pl.Date), pl.col("last").cast(pl.Date)
    until = (
        last + pl.when(pl.col("check").is_in(sorted(STEPS))).then(RETURN_DAY).otherwise(timedelta())
        if slack
        else last
    )
    return findings.filter(same & (first <= (end or start)) & (until >= start))


def print_recall(scored: pl.DataFrame) -> None:
    print("\nby fault class                certainty             labels   found  by class  rejected")
    table = (
        scored.group_by("fault", "certainty")
        .agg(pl.len(), pl.col("found").sum(), pl.col("right").sum(), pl.col("rejected").sum())
        .sort("certainty", "fault")
    )
    for fault, certainty, count, found, right, rejected in table.iter_rows():
        print(f"{fault:29} {certainty:20} {count:7} {found:7} {right:9} {rejected:9}")
    for certainty, wanted in (("definite", 0.97), ("probable", 0.85)):
        part = scored.filter(pl.col("certainty") == certainty)
        if part.height:
            print(
                f"recall of {certainty}: {part['right'].mean():.1%} by class, {part['found'].mean():.1%} by any (wanted {wanted:.0%})"
            )
    legit = scored.filter(pl.col("certainty") == "legit_extreme")
    print(f"real extremes rejected: {legit['rejected'].sum()} of {legit.height} (wanted 0)")
    lost = scored.filter(~pl.col("right") & pl.col("certainty").is_in(["definite", "probable"]))
    if lost.height:
        print(
            f"not found by class, labels no. {', '.join(str(n + 2) for n in lost['label'].head(40))} (line of the file)"
        )


def print_alarms(labels: pl.DataFrame, judged: dict[str, tuple[Judged, float]]) -> None:
    print(
        "\nfile                                       kind    symbol-days  block  quarantine  notes  unlabelled per 10,000: rejections  all   seconds"
    )
    for name, (what, seconds) in judged.items():
        known = labels.filter(pl.col("file") == name)
        rows = what.findings
        unlabelled = [row for row in rows.iter_rows(named=True) if not explained(row, known)]
        per = FALSE_ALARMS_PER / max(what.rows, 1)
        rejections = sum(row["severity"] != "note" for row in unlabelled) * per
        counts = [
            rows.filter(pl.col("severity") == severity).height for severity in ("block", "quarantine", "note")
        ]
        print(
            f"{Path(name).name[:42]:42} {what.kind:7} {what.rows:11,} {counts[0]:6} {counts[1]:11} {counts[2]:6} {rejections:35.2f} {len(unlabelled) * per:6.2f} {seconds:8.1f}"
        )


def explained(finding: dict[str, object], labels: pl.DataFrame) -> bool:
    """Whether a label lies over the finding (a week's slack: a fault is often labelled on one of its days)."""
    if finding["first"] is None:
        return True
    first, last = (
        value if type(value) is date else value.date() for value in (finding["first"], finding["last"])
    )  # type: ignore[union-attr]
    week = timedelta(days=7)
    own = labels.filter(
        pl.col("symbol").is_null() | (pl.col("symbol") == finding["symbol"])
        if finding["symbol"]
        else pl.lit(True)
    )
    return (
        own.filter(
            (pl.col("start") <= last + week) & (pl.col("end").fill_null(pl.col("start")) >= first - week)
        ).height
        > 0
    )


def print_drops(paths: list[Path]) -> None:
    print("\ndrop                     symbols  listed  verdict")
    good = []
    for path in paths:
        drop = read_drop(path)
        findings = judge_drop(drop, good)
        bad = sorted(findings.filter(pl.col("severity") == "block")["check"])
        if not bad:
            good.append(drop)
        print(f"{drop.name:24} {drop.symbols:7} {drop.listed:7}  {', '.join(bad) or 'good'}")


def print_planted() -> None:
    sys.path.insert(0, str(HERE / "tests" / "market"))
    import planted_faults

    print("\nplanted into held-out names and years   planted   found  by class")
    for where, fault, planted, found, right in planted_faults.recall():
        print(f"{where:10} {fault:27} {planted:9} {found:7} {right:9}")


ONE_DAY_SYMBOLS = 4_000
ONE_DAY_SESSIONS = 90  # behind the delivery: what volatility and volume are judged by


def print_speed(path: Path) -> None:
    """Each in a process of its own, so that its memory is its own; the time is without start-up and reading."""
    if not path.exists():
        print(f"no {path}: speed is not measured")
        return
    print(
        "\nspeed                                                rows   seconds  (processor, whole run)   peak MB"
    )
    ours = timed("whole", path)
    baseline = timed("pandas", path)
    print(
        f"(whole history: ours {baseline[1] / ours[1]:.1f} times as fast as pandas, with all checks against its eight)"
    )
    timed("day", path)


def timed(what: str, path: Path) -> tuple[int, float]:
    command = [sys.executable, __file__, "--measure", what, "--reference", str(path)]
    said = subprocess.run(command, check=True, capture_output=True, text=True, cwd=HERE).stdout.split("\t")
    print(
        f"{said[0]:45} {int(said[1]):12,} {float(said[2]):9.2f} {float(said[3]):23.1f} {float(said[4]):9.0f}",
        flush=True,
    )
    return int(said[1]), float(said[2])


def measure(what: str, path: Path) -> None:
    if what == "pandas":
        label, rows, seconds = "whole history, pandas, eight of the checks", *in_pandas(path)
    elif what == "whole":
        prices = read_delivery(path)
        newest: date = prices["date"].max()  # type: ignore[assignment]
        began = time.perf_counter()
        check_prices(prices, as_of=newest)
        label, rows, seconds = (
            f"whole history, all {len(CHECKS)} checks",
            prices.height,
            time.perf_counter() - began,
        )
    else:
        label, rows, seconds = one_day(path)
    # Not getrusage: a child's peak there begins with its parent's.
    peak = next(
        int(line.split()[1]) / 1024
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith("VmHWM")
    )
    print(f"{label}\t{rows}\t{seconds}\t{time.process_time()}\t{peak}")


def one_day(path: Path) -> tuple[str, int, float]:
    """One delivery of 4,000 symbols: checks, Great Expectations, Data Docs and the page, once they are loaded."""
    from reports.data_validation import validate
    from reports.validation_report import write_validation_report

    real = pl.scan_parquet(path).select("symbol", "date").unique().collect()
    days = real["date"].unique().sort().tail(ONE_DAY_SESSIONS)
    part = read_delivery(path).filter(pl.col("date") >= days[0])
    copies = -(-ONE_DAY_SYMBOLS // part["symbol"].n_unique())
    # The same real names under other tickers, each on a level of its own, so that no two series are one.
    numbers = ("open", "high", "low", "close", "adj_close", "volume")
    many = pl.concat(
        [
            part.with_columns(pl.col("symbol") + f".{i}", *(pl.col(name) * (1 + i / 7) for name in numbers))
            for i in range(copies)
        ]
    )
    names = many["symbol"].unique().sort().head(ONE_DAY_SYMBOLS)
    many = many.filter(pl.col("symbol").is_in(names.implode())).sort("symbol", "date")
    with tempfile.TemporaryDirectory() as folder:
        few = part.filter(pl.col("symbol") < "B")
        validate(few, as_of=days[-1], out=Path(folder) / "warm")  # loads Great Expectations
        began = time.perf_counter()
        outcome = validate(many, as_of=days[-1], out=Path(folder) / "site")
        write_validation_report(many, outcome, out=Path(folder) / "page.html")
        seconds = time.perf_counter() - began
    return f"one delivery of {names.len():,} symbols, to the page", many.height, seconds


def in_pandas(path: Path) -> tuple[int, float]:
    """Nulls, signs, uniqueness, the four prices, robust steps, stale runs, adjustments and gaps, as pandas does them."""
    import numpy as np
    import pandas as pd

    frame = read_delivery(path).to_pandas()
    began = time.perf_counter()
    frame = frame.sort_values(["symbol", "date"])
    prices = frame[["open", "high", "low", "close", "adj_close"]]
    frame[prices.isna().any(axis=1) | (prices <= 0).any(axis=1) | (frame["volume"] < 0)]
    frame[frame.duplicated(["symbol", "date"])]
    body = frame[["open", "close"]]
    frame[(frame["high"] < body.max(axis=1)) | (frame["low"] > body.min(axis=1))]
    groups = frame.groupby("symbol", sort=False)
    step = np.log(frame["adj_close"] / groups["adj_close"].shift())
    size = step.abs()
    before = size.groupby(frame["symbol"], sort=False).shift()
    spread = 1.4826 * before.groupby(frame["symbol"], sort=False).rolling(
        63, min_periods=20
    ).median().droplevel(0)
    market = size.groupby(frame["date"]).transform("median")
    frame[(size > 0.25) & (size > 12 * np.maximum(spread, market))]
    same = frame["close"] == groups["close"].shift()
    frame[same].groupby((~same).cumsum()[same]).size()
    factor = frame["adj_close"] / frame["close"]
    implied = frame["split"] / (1 - frame["dividend"] / groups["close"].shift())
    frame[(factor / factor.groupby(frame["symbol"], sort=False).shift() / implied - 1).abs() > 0.01]
    place = pd.Series(range(frame["date"].nunique()), index=np.sort(frame["date"].unique()))
    position = frame["date"].map(place)
    frame[position - position.groupby(frame["symbol"], sort=False).shift() > 1]
    return len(frame), time.perf_counter() - began


if __name__ == "__main__":
    main()
