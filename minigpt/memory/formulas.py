"""Formulas in a small grammar, which minigpt/browser/formulas.js reads as well.

formula    either ["if" either "else" formula]
either     both ("or" both)*,   both: negated ("and" negated)*,   negated: "not" negated | comparison
comparison sum [("<" | ">" | "==" | "!=") sum | ("==" | "!=") 'text'],   sum: product (("+" | "-") product)*
product    atom (("*" | "//") atom)*,   atom: integer | name | "max(" formula ("," formula)+ ")" | "(" formula ")"
"""

import ast
import copy
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from types import CodeType

TOKENS = re.compile(
    r"( *((0|[1-9][0-9]*+)(?![\w.])|[A-Za-z_][A-Za-z0-9_]*+(?!')|'[a-z0-9-]*'(?! *')|//|==|!=|[-+*(<>]|,(?! *\))|\)))+"
)
NODES = (
    ast.Expression, ast.BinOp, ast.Add, ast.Sub, ast.Mult, ast.FloorDiv, ast.BoolOp, ast.And, ast.Or, ast.UnaryOp,
    ast.Not, ast.Compare, ast.Lt, ast.Gt, ast.Eq, ast.NotEq, ast.IfExp, ast.Constant, ast.Name, ast.Load, ast.Call,
)  # fmt: skip
FUNCTIONS = {"__builtins__": {}, "max": max}


@dataclass(frozen=True)
class Formula:
    """A formula that keeps to the grammar and uses known names: as it was written, and as Python's syntax tree."""

    text: str
    tree: ast.expr

    def simplified(self, values: Mapping[str, object], varying: Collection[str] = ()) -> str:
        """Return the formula as it is for these values, without summands of 0 and with one side of each condition.

        Args:
            values: the values of its names.
            varying: the names whose values are examples; what depends on them is left in. No condition may.
        """
        return ast.unparse(Simplifier(values, varying).visit(copy.deepcopy(self.tree))).replace(" * ", "·")


def formula(text: str, names: Collection[str], where: str) -> Formula:
    """Read a formula.

    Args:
        text: the formula.
        names: the names that it may use.
        where: its place, for errors.

    Raises:
        ValueError: the text is no formula of this grammar, or uses another name or function.
    """
    if not TOKENS.fullmatch(text):
        raise ValueError(f"{where} must be a formula of names, integers, + - * // ( ) and conditions; got {text!r}")
    try:
        tree = ast.parse(text, mode="eval")
    except SyntaxError as error:
        raise ValueError(f"{where} must be a formula ({error.msg}); got {text!r}") from None
    for node in ast.walk(tree):
        check_node(node, names, where, text)
    return Formula(text, tree.body)


def evaluate(code: CodeType, values: dict[str, object]):
    """Return the result of compiled formulas for the values of their names."""
    return eval(code, FUNCTIONS, values)


def compiled(tree: ast.expr) -> CodeType:
    """Return a formula's tree, or what is built of several, as code for `evaluate`."""
    return compile(ast.fix_missing_locations(ast.Expression(tree)), "<formula>", "eval")


def in_order(formulas: Mapping[str, Formula]) -> CodeType:
    """Return code that evaluates formulas one after another, each into the value of its name."""
    named = [ast.NamedExpr(ast.Name(name, ast.Store()), each.tree) for name, each in formulas.items()]
    return compiled(ast.Tuple(named, ast.Load()))


def at_once(formulas: Iterable[Formula], only_if: Formula | None = None) -> CodeType:
    """Return code that evaluates formulas to a tuple, or to None where a condition does not hold."""
    results = ast.Tuple([each.tree for each in formulas], ast.Load())
    return compiled(ast.IfExp(only_if.tree, results, ast.Constant(None)) if only_if else results)


def check_node(node: ast.AST, names: Collection[str], where: str, text: str) -> None:
    """Raise a ValueError unless a part of a formula belongs to the grammar and its name is known."""
    known = isinstance(node, NODES)
    if isinstance(node, ast.Compare):
        known = len(node.ops) == 1
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        known = text[: node.col_offset].rstrip().endswith(("==", "!="))
    elif isinstance(node, ast.Constant):
        known = type(node.value) is int
    elif isinstance(node, ast.Call):
        known = isinstance(node.func, ast.Name) and node.func.id == "max" and len(node.args) > 1
    elif isinstance(node, ast.Name) and node.id not in names and not is_function(node, text):
        raise ValueError(f"{where} must use known names only; got {node.id!r} in {text!r}")
    if not known:
        raise ValueError(f"{where} must keep to the grammar of formulas.py; got {ast.unparse(node)!r} in {text!r}")


def is_function(name: ast.Name, text: str) -> bool:
    """Whether a name is that of a function that is called."""
    return name.id == "max" and text[name.end_col_offset :].lstrip().startswith("(")


class Simplifier(ast.NodeTransformer):
    """Leaves out of a formula's tree, for given values, what is 0 and what conditions rule out."""

    def __init__(self, values: Mapping[str, object], varying: Collection[str]):
        self.values, self.varying = values, varying

    def result(self, node: ast.expr) -> object:
        """Return the value of a part; None if it depends on what varies."""
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
            factors = self.result(node.left), self.result(node.right)
            return 0 if 0 in factors else None if None in factors else factors[0] * factors[1]
        if any(isinstance(part, ast.Name) and part.id in self.varying for part in ast.walk(node)):
            return None
        return evaluate(compiled(node), self.values)

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return ast.Constant(0) if self.result(node) == 0 else node

    def visit_IfExp(self, node: ast.IfExp) -> ast.expr:
        return self.visit(node.body if self.result(node.test) else node.orelse)

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        left, right = self.result(node.left), self.result(node.right)
        if isinstance(node.op, ast.Add | ast.Sub) and right == 0:
            return self.visit(node.left)
        if isinstance(node.op, ast.Add) and left == 0 or isinstance(node.op, ast.Mult) and left is True:
            return self.visit(node.right)
        return self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> ast.expr:
        results = [self.result(each) for each in node.args]
        return self.visit(node.args[results.index(max(results))])
