"""What the source makes for a moment or beside a screen: toasts, dialogs, palette entries, tooltips, titles."""

import ast
from functools import cache

from tests.end_to_end.places import all_modules


@cache
def nodes() -> tuple[tuple[str, ast.AST], ...]:
    """Everything in the source of the dashboard, with the name of its module."""
    paths = [path for path in all_modules() if path.parent.name != "cli"]
    return tuple((path.stem, node) for path in paths for node in ast.walk(ast.parse(path.read_text())))


def _name(node: ast.Call) -> str:
    return node.func.attr if isinstance(node.func, ast.Attribute) else ast.unparse(node.func)


def is_constant(node: ast.AST) -> bool:
    """Whether no data can be in an expression: a literal."""
    return isinstance(node, ast.Constant)


def arguments_of(*names: str) -> set[str]:
    """The first arguments with which functions of these names are called, where data may be in them."""
    return {
        f"{module}: {ast.unparse(node.args[0])}"
        for module, node in nodes()
        if isinstance(node, ast.Call) and _name(node) in names and node.args and not is_constant(node.args[0])
    }


def keywords(*names: str) -> set[str]:
    """What is given under these names, to whatever is called, where data may be in it."""
    return {
        f"{module}: {ast.unparse(node.value)}"
        for module, node in nodes()
        if isinstance(node, ast.keyword) and node.arg in names and not is_constant(node.value)
    }


def assigned(*names: str) -> set[str]:
    """What is assigned to attributes, or constants, of these names, where data may be in it."""
    found = set()
    for module, node in nodes():
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for target in targets:
                name = target.attr if isinstance(target, ast.Attribute) else ast.unparse(target)
                is_local = isinstance(target, ast.Name) and not name.isupper()
                if name in names and not is_local and not is_constant(node.value):
                    found.add(f"{module}: {ast.unparse(node.value)}")
    return found


def calls_of(*names: str) -> set[str]:
    """Every call of functions of these names, whole."""
    return {
        f"{module}: {ast.unparse(node)}"
        for module, node in nodes()
        if isinstance(node, ast.Call) and _name(node) in names
    }


def defined(*names: str) -> set[str]:
    """Functions and classes with these names, or that derive from one of them."""
    found = set()
    for module, node in nodes():
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name in names:
            found.add(f"{module}: {node.name}")
        if isinstance(node, ast.ClassDef) and {ast.unparse(base) for base in node.bases} & set(names):
            found.add(f"{module}: {node.name}")
    return found
