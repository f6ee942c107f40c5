#!/usr/bin/env python3
"""Verify an exported audit chain against anchors, far from the ledger.

One file, standard library only, no code shared with the system that wrote the chain: copy it to
another machine and run ``python -I offline_verifier.py CHAIN.jsonl --anchors ANCHORS.jsonl``.
Exit code 0: everything holds; 1: it does not, and the first bad entry is named; 2: bad input.
The format is written down in docs/audit-format.md.
"""

import argparse
import datetime
import hashlib
import json
import sys
from collections.abc import Iterator, Sequence
from typing import Any


class Broken(Exception):
    """Something does not hold."""


class BadInput(Exception):
    """A file that cannot be read as what it should be."""


def read_lines(path: str) -> Iterator[tuple[int, bytes, Any]]:
    try:
        with open(path, "rb") as file:
            for number, stored in enumerate(file, start=1):
                line = stored.rstrip(b"\n")
                try:
                    yield number, line, json.loads(line)
                except ValueError:
                    raise BadInput(f"{path} line {number} is not JSON") from None
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror}") from None


def entry_hash(entry: dict[str, Any], previous: bytes) -> bytes:
    data = bytearray(previous)
    data += b"%d|%d" % (entry["seq"], entry["at_us"])
    for name in ("actor", "kind", "ref", "body"):
        field = entry[name].encode("utf-8")
        data += b"|%d|" % len(field) + field
    return hashlib.sha256(data).digest()


def read_anchors(paths: Sequence[str], ledger: str) -> list[tuple[int, str, float, str]]:
    anchors = []
    for path in paths:
        previous = "0" * 64
        for number, line, entry in read_lines(path):
            if not isinstance(entry, dict) or entry.get("sallyport_anchor") != 1:
                raise BadInput(f"{path} line {number} is not an anchor of version 1")
            if entry["previous"] != previous:
                raise Broken(f"{path} was edited: line {number} does not follow the line before it")
            previous = hashlib.sha256(line).hexdigest()
            if entry["ledger"] == ledger:
                at = datetime.datetime.fromisoformat(entry["at"]).timestamp() * 1e6
                anchors.append((entry["seq"], entry["hash"], at, f"{path} line {number}"))
    return anchors


def verify(chain: str, anchor_paths: Sequence[str]) -> tuple[dict[str, Any], int, int, int, str]:
    rows = read_lines(chain)
    try:
        _, _, header = next(rows)
    except StopIteration:
        raise BadInput(f"{chain} is empty") from None
    if not isinstance(header, dict) or header.get("sallyport_audit_export") != 1:
        raise BadInput(f"{chain} is not an audit export of version 1")
    anchors = read_anchors(anchor_paths, header["ledger"])
    hashes: dict[int, str] = {}
    cuts: list[tuple[int, int]] = []
    wanted = {seq for seq, _, _, _ in anchors}
    previous = hashlib.sha256(b"sallyport:genesis").digest() if header["first"] == 1 else None
    count, expected = 0, header["first"]
    for number, _, entry in rows:
        try:
            if entry["seq"] != expected:
                raise Broken(f"entry {expected} is missing (line {number} holds {entry['seq']})")
            if previous is not None and bytes.fromhex(entry["prev_hash"]) != previous:
                raise Broken(f"entry {expected} does not follow its predecessor")
            computed = entry_hash(entry, bytes.fromhex(entry["prev_hash"]))
            if computed.hex() != entry["hash"]:
                raise Broken(f"entry {expected} does not match its hash")
            if entry["kind"] == "RESTORE":
                cuts.append((json.loads(entry["body"])["kept_seq"], entry["at_us"]))
        except (KeyError, TypeError, ValueError) as error:
            raise Broken(f"{chain} line {number} is not an entry: {error!r}") from None
        previous = computed
        if expected in wanted:
            hashes[expected] = computed.hex()
        count += 1
        expected += 1
    if expected - 1 != header["last"]:
        raise Broken(f"entry {expected} is missing: the export says it goes to {header['last']}")
    if (
        header["last"] == header["head_seq"]
        and previous is not None
        and previous.hex() != header["head_hash"]
    ):
        raise Broken("the head is not the last entry")
    agreed = abandoned = 0
    for seq, value, at, where in anchors:
        if hashes.get(seq) == value:
            agreed += 1
        elif seq < header["first"] or (seq >= expected and header["last"] != header["head_seq"]):
            continue  # outside the exported range
        elif any(seq > kept and at < cut for kept, cut in cuts):
            abandoned += 1
        else:
            raise Broken(
                f"the anchor of {where} (entry {seq}) is not in the chain: history at or before it was rewritten or cut"
            )
    return header, count, agreed, abandoned, "" if previous is None else previous.hex()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Verify an exported audit chain.")
    parser.add_argument("chain", help="file written by: executor audit export")
    parser.add_argument("--anchors", nargs="*", default=[], help="anchor files, best from another machine")
    options = parser.parse_args(arguments)
    try:
        header, count, agreed, abandoned, head = verify(options.chain, options.anchors)
    except Broken as problem:
        print(f"BROKEN: {problem}")
        return 1
    except BadInput as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 2
    print(f"holds: {count} entries of ledger {header['ledger']}, head {head}")
    print(f"anchors: {agreed} agree" + (f", {abandoned} lie past a declared restore" if abandoned else ""))
    if not agreed:
        print("no anchor was compared: a chain that was hashed anew would look the same")
    return 0


if __name__ == "__main__":
    sys.exit(main())
