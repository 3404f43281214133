"""The layout that docs/architecture.md describes, where import-linter cannot check it.

Each rule has its exceptions here, with the reason. One that is no longer needed fails, too.
"""

import ast
import re
from pathlib import Path

from tests.conftest import REPOSITORY

PACKAGE = REPOSITORY / "tenant_backup"

LONGEST_FILE = 400
LONG_FILES: dict[str, str] = {}
"""Files that may be longer, and why."""

LONGEST_CLASS = 200
LONG_CLASSES: dict[str, str] = {}
"""Classes that may be longer, as `file:Class`, and why."""

SAYS_NOTHING = {"util", "helper", "service", "manager", "misc", "common", "tool", "lib"}
"""A module of such a name holds whatever nobody found a place for."""

LATE_IMPORTS = {
    "apps.py": "models can be imported only when the apps are loaded",
}
"""Files in which functions import, and why."""

NO_FACES = {"", "management", "management/commands", "migrations", "templatetags"}
"""Packages that Django looks into by itself, and our own, whose face is each package in it."""


def trees():
    for file in sorted(PACKAGE.rglob("*.py")):
        name = file.relative_to(PACKAGE).as_posix()
        if not name.startswith("migrations/0"):
            yield name, ast.parse(file.read_text())


TREES = dict(trees())


def lines_of(node):
    first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
    return node.end_lineno - first + 1


def faces():
    """Each package that has a public face: its folder, and the tree of its `__init__.py`."""
    for name, tree in TREES.items():
        if Path(name).name == "__init__.py":
            folder = name.removesuffix("__init__.py").rstrip("/")
            if folder not in NO_FACES:
                yield folder, tree


def public_names(tree):
    for node in tree.body:
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == [
            "__all__"
        ]:
            return set(ast.literal_eval(node.value))
    return None


def test_no_file_is_too_long():
    lengths = {name: len((PACKAGE / name).read_text().splitlines()) for name in TREES}
    assert {name for name, lines in lengths.items() if lines > LONGEST_FILE} == set(LONG_FILES)


def test_no_class_is_too_long():
    lengths = {
        f"{name}:{node.name}": lines_of(node)
        for name, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    }
    assert {name for name, lines in lengths.items() if lines > LONGEST_CLASS} == set(LONG_CLASSES)


def test_every_module_has_a_name_that_says_what_is_in_it():
    for name in TREES:
        words = re.split(r"[/_.]", name.removesuffix(".py"))
        assert not SAYS_NOTHING & {word.removesuffix("s") for word in words}, name


def test_functions_import_nothing():
    found = {
        name
        for name, tree in TREES.items()
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    assert found == set(LATE_IMPORTS)


def test_every_package_has_a_public_face_without_logic():
    for folder, tree in faces():
        assert ast.get_docstring(tree), folder
        assert public_names(tree), f"{folder} has no __all__"
        for node in tree.body[1:]:
            is_all = isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
            assert is_all or isinstance(node, ast.Import | ast.ImportFrom), ast.unparse(node)


def test_what_a_face_declares_is_what_it_imports():
    for folder, tree in faces():
        imported = {
            alias.asname or alias.name
            for node in tree.body
            if isinstance(node, ast.ImportFrom) and node.module != "__future__"
            for alias in node.names
        }
        assert public_names(tree) == imported, folder


def test_no_module_hides_a_public_name_of_its_package():
    """`backups.delete` must be the function, whatever was imported before."""
    for folder, tree in faces():
        inside = {path.stem for path in (PACKAGE / folder).iterdir() if path.suffix != ".html"}
        assert not public_names(tree) & inside, folder


def test_no_package_takes_what_another_keeps_private():
    """A name with an underscore belongs to the file that it is in."""
    for name, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tenant_backup"):
                private = [alias.name for alias in node.names if alias.name.startswith("_")]
                assert not private, f"{name} imports {private} from {node.module}"


def test_the_tour_names_every_module():
    tour = (REPOSITORY / "docs" / "architecture.md").read_text()
    named = set(re.findall(r"^\| `([\w/]+\.py)` \|", tour, re.MULTILINE))
    modules = {name for name in TREES if not name.endswith("__init__.py")}
    assert named == modules
