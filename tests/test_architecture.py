"""What no other tool checks: no circles of imports, nothing too long, packages that only say what they are."""

import ast
import re
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
LIBRARY = REPOSITORY / "core" / "gnjobs"
DASHBOARD = REPOSITORY / "gnjobs_tui"
TESTS = REPOSITORY / "tests"
MOST_ENTRIES = 14
LONGEST_FUNCTION = 60
LONGEST_MODULE = 400


def modules() -> dict[str, Path]:
    """Every module of the library and the dashboard, by its dotted name."""
    found = {}
    for package in (LIBRARY, DASHBOARD):
        for path in package.rglob("*.py"):
            parts = path.relative_to(package.parent).with_suffix("").parts
            found[".".join(parts).removesuffix(".__init__")] = path
    return found


def imports(path: Path) -> Iterator[str]:
    """What a file imports anywhere in it: late and for the type checker alone, too. All imports here are absolute."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            yield from (f"{node.module}.{name.name}" for name in node.names)


def module_of(name: str, known: dict[str, Path]) -> str | None:
    """The module that an import refers to: its name, or that of what holds it."""
    while name and name not in known:
        name = name.rpartition(".")[0]
    return name or None


def test_no_module_imports_itself_in_a_circle() -> None:
    known = modules()
    assert len(known) > 100
    graph = {name: {module_of(imported, known) for imported in imports(path)} for name, path in known.items()}
    ours = {name: {each for each in found if each and each != name} for name, found in graph.items()}
    try:
        TopologicalSorter(ours).prepare()
    except CycleError as error:
        pytest.fail(" ← ".join(error.args[1]))


def test_the_first_look_shows_few_names() -> None:
    entries = [each for each in LIBRARY.iterdir() if each.name not in ("__pycache__", "py.typed")]
    assert len(entries) <= MOST_ENTRIES, sorted(each.name for each in entries)


def test_no_program_that_is_started_imports_from_where_it_is_started() -> None:
    """`-m` without `-P` imports from the working directory first, which may be anybody's."""
    sources = "".join(path.read_text() for package in (LIBRARY, DASHBOARD) for path in package.rglob("*.py"))
    started = re.findall(r'("-P",\s*)?"-m",\s*f?"gnjobs', sources)
    assert len(started) >= 4
    assert all(started)


@pytest.mark.parametrize("package", [LIBRARY, DASHBOARD], ids=lambda package: package.name)
def test_a_package_holds_nothing_but_what_it_is(package: Path) -> None:
    for path in package.rglob("__init__.py"):
        if path != LIBRARY / "__init__.py":  # the public names
            tree = ast.parse(path.read_text())
            assert ast.get_docstring(tree), f"{path} does not say what the room is"
            assert len(tree.body) == 1, f"{path} holds more than a docstring"


@pytest.mark.parametrize("package", [LIBRARY, DASHBOARD], ids=lambda package: package.name)
def test_each_module_says_in_its_first_line_what_stands_in_it(package: Path) -> None:
    for path in package.rglob("*.py"):
        said = ast.get_docstring(ast.parse(path.read_text())) or ""
        assert said.partition("\n")[0].endswith("."), f"{path} does not say in one line what it is"


@pytest.mark.parametrize("package", [LIBRARY, DASHBOARD], ids=lambda package: package.name)
def test_functions_and_modules_can_be_read_whole(package: Path) -> None:
    too_long = []
    for path in package.rglob("*.py"):
        source = path.read_text()
        if (length := len(source.splitlines())) > LONGEST_MODULE:
            too_long.append(f"{path}: {length} lines")
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or 0) - node.lineno + 1
                if length > LONGEST_FUNCTION:
                    too_long.append(f"{path}:{node.lineno}: {node.name} has {length} lines")
    assert not too_long


def test_tests_share_only_what_stands_in_support() -> None:
    """A test imports from `tests.support` and from its own folder, and never from another test."""
    wrong = []
    for path in TESTS.rglob("*.py"):
        room = path.relative_to(TESTS).parts[0]
        for imported in imports(path):
            if imported.startswith("tests."):
                allowed = imported.startswith(("tests.support.", f"tests.{room}."))
                if not allowed or ".test_" in imported:
                    wrong.append(f"{path.relative_to(TESTS)} imports {imported}")
    assert not wrong
