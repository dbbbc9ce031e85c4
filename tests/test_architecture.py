"""The shape of the house: which way imports run, what may be imported where, what is public."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import fpsolve

ROOT = Path(fpsolve.__file__).parent
MODULES = {
    ".".join(path.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(ROOT.rglob("*.py"))
}
# From what is told to what tells: a module imports from its own room and the rooms before it.
ROOMS = [
    "_version",
    "errors",
    "display",
    "progress",
    "compilation",
    "numerics",
    "problem",
    "reduction",
]
ROOMS += ["recording"]
ROOMS += ["line", "density", "macro", "particles", "comparison", "studies"]
ROOMS += ["sweeps", "store", "plots", "explorer", "cli", "__main__"]
# Rooms on one floor: none imports another.
SIBLINGS = {"line", "density", "macro", "particles"}
# The numerics know no quantizer: they import nothing of the package but these.
NUMERICS_KNOW = {"numerics", "errors", "progress", "compilation"}
# External package -> the only rooms that may import it.
CONFINED = {
    "matplotlib": {"plots"},
    "h5py": {"recording", "store"},
    "argparse": {"cli"},
    "tqdm": {"progress"},
    "xarray": {"density", "macro", "particles", "store", "sweeps"},
    "panel": {"explorer"},
    "bokeh": {"explorer"},
}


def imports(path: Path) -> list[tuple[str, bool]]:
    """All modules imported anywhere in the file, and whether at import time."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inner = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
    }
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, id(node) not in inner) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: imports are absolute"
            found.append((node.module, id(node) not in inner))
    return found


def room(module: str) -> str:
    return module.split(".")[1]


def inside() -> list[str]:
    return [name for name in MODULES if name != "fpsolve"]


def test_every_module_belongs_to_a_room() -> None:
    assert {room(name) for name in inside()} == set(ROOMS)


@pytest.mark.parametrize("module", inside())
def test_imports_run_one_way(module: str) -> None:
    mine = ROOMS.index(room(module))
    for name, _ in imports(MODULES[module]):
        if name.startswith("fpsolve."):
            assert ROOMS.index(room(name)) <= mine, f"{module} imports {name}"
            if room(module) == "numerics":
                assert room(name) in NUMERICS_KNOW, f"{module} imports {name}"
            if room(module) in SIBLINGS and room(name) != room(module):
                assert room(name) not in SIBLINGS, f"{module} imports its sibling {name}"
        elif name == "fpsolve":
            assert room(module) == "cli", f"{module} imports the package that offers it"


def test_no_import_cycles() -> None:
    edges = {
        # Imports inside functions count: a cycle deferred to the first call is a cycle.
        module: {n for n, _ in imports(path) if n in MODULES and n != "fpsolve"}
        for module, path in MODULES.items()
        if module != "fpsolve"
    }
    free: set[str] = set()
    while edges:
        ready = {m for m, needs in edges.items() if needs <= free}
        assert ready, f"import cycle among {sorted(edges)}"
        free |= ready
        edges = {m: needs for m, needs in edges.items() if m not in ready}


@pytest.mark.parametrize("package", CONFINED)
def test_confined_packages(package: str) -> None:
    users = {
        room(module)
        for module in inside()
        for name, _ in imports(MODULES[module])
        if name.split(".")[0] == package
    }
    assert users == CONFINED[package]


def test_pictures_have_no_global_state() -> None:
    # A figure of pyplot stays in memory until closed, and may want a screen.
    for module in inside():
        assert not any("pyplot" in name for name, _ in imports(MODULES[module]))


def test_importing_the_package_is_cheap() -> None:
    heavy = ("matplotlib", "h5py", "scipy", "xarray", "tqdm", "tomli_w", "pandas", "panel", "bokeh")
    code = f"import sys, fpsolve; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


def test_the_table_of_public_names_agrees_with_the_imports_for_type_checkers() -> None:
    tree = ast.parse(MODULES["fpsolve"].read_text(encoding="utf-8"))
    guarded = next(
        node
        for node in tree.body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    )
    told = {}
    for node in guarded.body:
        assert isinstance(node, ast.ImportFrom)
        for alias in node.names:
            assert alias.asname == alias.name, f"write {alias.name} as {alias.name}: it is public"
            told[alias.name] = node.module
    assert told == fpsolve._HOME
    assert fpsolve.__all__ == ["__version__", *sorted(told)]
    assert list(fpsolve._HOME) == sorted(fpsolve._HOME), "the table is in alphabetical order"


@pytest.mark.parametrize("name", sorted(fpsolve._HOME))
def test_public_names_are_where_they_are_said_to_be_and_documented(name: str) -> None:
    value = getattr(fpsolve, name)
    home = importlib.import_module(fpsolve._HOME[name])
    assert name in home.__all__
    assert value is getattr(home, name)
    text = inspect.getdoc(value)
    assert text
    for other in re.findall(r"as for\s+`(\w+)`", text):
        text += inspect.getdoc(getattr(fpsolve, other))
    if inspect.isfunction(value) and len(inspect.signature(value).parameters) > 2:
        for parameter in inspect.signature(value).parameters.values():
            assert parameter.name in text, f"{name} does not document {parameter.name}"


def test_submodules_do_not_hide_public_names() -> None:
    # Importing a submodule sets it as an attribute of the package, over a function of that name.
    submodules = {m.name for m in pkgutil.iter_modules([str(ROOT)])}
    assert not submodules & set(fpsolve._HOME)


@pytest.mark.parametrize("module", MODULES)
def test_modules_state_their_subject_and_their_names(module: str) -> None:
    loaded = importlib.import_module(module) if module != "fpsolve.__main__" else None
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    assert ast.get_docstring(tree) or module == "fpsolve._version"
    if loaded is not None:
        for name in getattr(loaded, "__all__", []):
            assert hasattr(loaded, name)


def functions() -> list[tuple[str, ast.FunctionDef]]:
    return [
        (f"{module}.{node.name}", node)
        for module, path in MODULES.items()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef)
    ]


def test_no_function_is_longer_than_seventy_lines() -> None:
    """Docstrings do not count, signatures do."""
    long = {}
    for name, node in functions():
        told, lines = node.body[0], (node.end_lineno or 0) - node.lineno + 1
        if ast.get_docstring(node) is not None:
            lines -= (told.end_lineno or 0) - told.lineno + 1
        if lines > 70:
            long[name] = lines
    assert not long


def test_no_function_takes_many_arguments_by_position() -> None:
    """Ten for kernels, which know no keywords, eight for all others."""
    many = {}
    for name, node in functions():
        decorators = " ".join(ast.unparse(d) for d in node.decorator_list)
        given = [a.arg for a in (*node.args.posonlyargs, *node.args.args)]
        # What callers do not give: the object, and of code that writes code where it is written.
        given = given[1:] if given[:1] in (["self"], ["cls"], ["context"]) else given
        compiled = re.search(
            r"njit|_kernel|_maker|_part|_inlined|_fused|_summing|intrinsic", decorators
        )
        if len(given) > (10 if compiled else 8) and node.name != "__init__":
            many[name] = len(given)
    assert not many


def test_unknown_names_are_attribute_errors() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        fpsolve.nonsense  # noqa: B018
    assert dir(fpsolve) == sorted(fpsolve.__all__)
