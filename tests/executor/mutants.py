"""Broken copies of every limit: each must fail a claim of ``limit_cases.py``.

``make mutants``, or ``python tests/executor/mutants.py [NAME ...]`` tries every mutant of every limit (or of those named) and names
the ones nothing noticed; it fails if there is one. The measure's own code is taken apart and put together
again with one thing wrong: a comparison turned or its edge moved, a term or a factor dropped, an operator or a
constant changed, a minus lost, a branch always or never taken, two of the three numbers swapped or nothing.
"""

from __future__ import annotations

import ast
import copy
import inspect
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FunctionType
from typing import Any

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parent)]

from limit_cases import CASES

from executor.core.limits import LIMITS, Limit

Change = Callable[[ast.AST], ast.AST | None]
"""A node as it is wrong, or None where the change does not apply."""

COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.GtE, ast.LtE), ast.LtE: (ast.Gt, ast.Lt), ast.Gt: (ast.LtE, ast.GtE), ast.GtE: (ast.Lt, ast.Gt),
    ast.Eq: (ast.NotEq,), ast.NotEq: (ast.Eq,), ast.Is: (ast.IsNot,), ast.IsNot: (ast.Is,), ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}  # fmt: skip
OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult,
}  # fmt: skip
EQUIVALENT: dict[str, str] = {
    "order_terms line 10: price >= 1.0 by Gt": "at one dollar both ticks take the same prices",
    "leverage line 5: left <= 0.0 by Lt": "with nothing left it is a division by zero, which is unknown too",
    "leverage line 5: 0.0 as 1.0": "a dollar left is no more leverage than none",
    "beta line 6: line.beta < 0.0 by LtE": "a beta of 0 adds nothing either way",
    "factor_risk line 11: loading >= 0.0 by Gt": "a loading of 0 adds nothing either way",
    "daily_loss line 6: before and after swapped": "an order loses nothing by being sent: both are the same",
}
"""Mutants that cannot be told from the original, each with its reason."""


def sites(node: ast.AST) -> Iterator[tuple[str, ast.AST, Change]]:
    """Everything that can be made wrong about one node."""
    match node:
        case ast.Compare(ops=[op]):
            for other in COMPARISONS.get(type(op), ()):
                yield f"{ast.unparse(node)} by {other.__name__}", node, _with(ops=[other()])
        case ast.BinOp(op=op) if type(op) in OPERATORS:
            yield (
                f"{ast.unparse(node)} by {OPERATORS[type(op)].__name__}",
                node,
                _with(op=OPERATORS[type(op)]()),
            )
            yield f"{ast.unparse(node)} without its right", node, lambda n: n.left  # type: ignore[attr-defined]
            yield f"{ast.unparse(node)} without its left", node, lambda n: n.right  # type: ignore[attr-defined]
        case ast.UnaryOp(op=ast.USub()) if not isinstance(node.operand, ast.Constant):
            yield f"{ast.unparse(node)} without its minus", node, lambda n: n.operand  # type: ignore[attr-defined]
        case ast.UnaryOp(op=ast.Not()):
            yield f"{ast.unparse(node)} without its not", node, lambda n: n.operand  # type: ignore[attr-defined]
        case ast.BoolOp(values=values):
            for i in range(len(values)):
                rest = values[:i] + values[i + 1 :]
                yield (
                    f"{ast.unparse(node)} without part {i + 1}",
                    node,
                    _with(values=rest) if len(rest) > 1 else _as(rest[0]),
                )
        case ast.If():
            yield f"if {ast.unparse(node.test)}: always", node, _with(test=ast.Constant(True))
            yield f"if {ast.unparse(node.test)}: never", node, _with(test=ast.Constant(False))
        case ast.IfExp():
            yield f"{ast.unparse(node)}: always the first", node, lambda n: n.body  # type: ignore[attr-defined]
            yield f"{ast.unparse(node)}: always the second", node, lambda n: n.orelse  # type: ignore[attr-defined]
        case ast.Constant(value=float() | int() as value) if not isinstance(value, bool):
            yield f"{value} as {value + 1}", node, _as(ast.Constant(value + 1))
        case ast.Call(func=ast.Name(id="min" | "max" as which)):
            other = "max" if which == "min" else "min"
            yield f"{ast.unparse(node)} by {other}", node, _with(func=ast.Name(other, ast.Load()))
        case ast.Return(value=ast.Tuple(elts=[bound, before, after])):
            yield "before and after swapped", node, _with(value=ast.Tuple([bound, after, before], ast.Load()))
            yield "bound and after swapped", node, _with(value=ast.Tuple([after, before, bound], ast.Load()))
            nothing = ast.Constant(0.0)
            yield "after is nothing", node, _with(value=ast.Tuple([bound, before, nothing], ast.Load()))
        case ast.Return(value=ast.Name(id="KEPT" | "BROKEN" as word)):
            other = "BROKEN" if word == "KEPT" else "KEPT"
            yield f"{word} is {other}", node, _with(value=ast.Name(other, ast.Load()))
        case ast.Raise():
            yield "nothing is unknown", node, lambda n: ast.Pass()
        case ast.Expr(value=ast.Call()):
            yield f"{ast.unparse(node)} is left out", node, lambda n: ast.Pass()


def _with(**fields: Any) -> Change:
    def change(node: ast.AST) -> ast.AST:
        changed = copy.copy(node)
        for name, value in fields.items():
            setattr(changed, name, value)
        return changed

    return change


def _as(other: ast.AST) -> Change:
    return lambda node: other


class _Put(ast.NodeTransformer):
    """Exchange one node."""

    def __init__(self, place: ast.AST, change: Change) -> None:
        self.place, self.change = place, change

    def visit(self, node: ast.AST) -> Any:
        return self.change(node) if node is self.place else self.generic_visit(node)


def mutants(limit: Limit) -> Iterator[tuple[str, FunctionType]]:
    """Every broken measure of a limit, with what is wrong about it."""
    original = type(limit).measure
    source = textwrap.dedent(inspect.getsource(original))
    count = sum(1 for node in ast.walk(ast.parse(source)) for _ in sites(node))
    for wanted in range(count):
        tree = ast.parse(source)
        said, place, change = [site for node in ast.walk(tree) for site in sites(node)][wanted]
        broken = ast.fix_missing_locations(_Put(place, change).visit(tree))
        names: dict[str, Any] = dict(original.__globals__)
        exec(
            compile(broken, f"<mutant of {limit.name}>", "exec"), names
        )  # the mutated source of our own function
        yield f"line {getattr(place, 'lineno', 0)}: {said}", names["measure"]


def noticed(limit: Limit, broken: FunctionType) -> bool:
    """Whether a claim of the table fails with the broken measure in place."""
    whole = type(limit).measure
    type(limit).measure = broken  # type: ignore[method-assign]
    try:
        for case in CASES:
            if case.name == limit.name:
                case.check()
    except Exception:  # any failure is a notice: an assertion, or a mutant that cannot even run
        return True
    finally:
        type(limit).measure = whole  # type: ignore[method-assign]
    return False


def survivors(limit: Limit) -> tuple[int, list[str]]:
    """How many mutants there are, and those that nothing noticed."""
    if noticed(limit, type(limit).measure):  # type: ignore[arg-type]
        raise AssertionError(
            f"the table is wrong about {limit.name} itself; mutants mean nothing before it is right"
        )
    tried, left = 0, []
    for said, broken in mutants(limit):
        tried += 1
        if not noticed(limit, broken) and f"{limit.name} {said}" not in EQUIVALENT:
            left.append(said)
    return tried, left


def main(names: list[str]) -> int:
    started, total, unnoticed = time.monotonic(), 0, 0
    for limit in LIMITS:
        if names and limit.name not in names:
            continue
        tried, left = survivors(limit)
        total, unnoticed = total + tried, unnoticed + len(left)
        for said in left:
            print(f"{limit.name} {said}")
    print(
        f"{total} mutants of {len(names) or len(LIMITS)} limits, {unnoticed} unnoticed, {time.monotonic() - started:.0f} s"
    )
    return 1 if unnoticed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
