"""The documentation: all public names have a place and a running example, and links a target."""

from __future__ import annotations

import argparse
import dataclasses
import doctest
import inspect
import logging
import re
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest

import fpsolve

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
API = sorted((DOCS / "api").glob("*.rst"))
PAGES = sorted([*DOCS.rglob("*.md"), ROOT / "README.md"])
NAMES = [name for name in fpsolve.__all__ if name != "__version__"]
_ENTRY = re.compile(r"^\.\. auto(?:class|function|exception):: fpsolve\.(\w+)$", re.MULTILINE)


def entries() -> dict[str, str]:
    """Public name -> what its page says below it."""
    found: dict[str, str] = {}
    for page in API:
        parts = _ENTRY.split(page.read_text(encoding="utf-8"))
        for name, text in zip(parts[1::2], parts[2::2], strict=True):
            assert name not in found, f"{name} is documented twice"
            found[name] = text
    return found


def test_every_public_name_is_on_an_api_page() -> None:
    assert sorted(entries()) == sorted(NAMES)


def test_the_changes_name_every_public_name() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert [name for name in NAMES if not re.search(rf"\b{name}\b", text)] == []


@pytest.mark.parametrize("name", NAMES)
def test_every_public_name_has_an_example(name: str) -> None:
    text = entries()[name] + (inspect.getdoc(getattr(fpsolve, name)) or "")
    assert ">>> " in text


@pytest.mark.parametrize("name", NAMES)
def test_every_public_verb_describes_its_arguments(name: str) -> None:
    value = getattr(fpsolve, name)
    if not inspect.isfunction(value) or len(inspect.signature(value).parameters) < 2:
        return
    text = inspect.getdoc(value) or ""
    described = text + "".join(
        inspect.getdoc(getattr(fpsolve, other)) or ""
        for other in re.findall(r"[Aa]s (?:for|in)\s+`(\w+)`", text)
        if hasattr(fpsolve, other)
    )
    for parameter in inspect.signature(value).parameters:
        assert re.search(rf"\b{parameter}\b", described), f"{name} says nothing of {parameter}"


# Names without a section, and why they need none.
_NO_RAISES = dict.fromkeys(
    ("FpsolveError", "ParameterError", "SolveError", "StoreError"), "are raised themselves"
)
_NO_UNITS = {
    **dict.fromkeys(("FpsolveError", "ParameterError", "StoreError"), "hold no quantity"),
    **dict.fromkeys(("save", "load", "export", "save_figure"), "move results, whose class says it"),
    **dict.fromkeys(("plot", "collect_sweep"), "take and return results, whose class says it"),
}
# What computes something of the theory; what is left reads, writes, draws or finds in curves.
_OF_THEORY = (
    "McKeanVlasov", "OrderParameters", "Problem", "SmallRateLimit", "StepQuantizer", "Surrogate",
    "UniformQuantizer", "best_rate", "best_schedule", "closure_error", "flip_rate", "fluctuations",
    "isotropic_fixed_points", "macroscopic_rates", "optimal_range", "order_parameters",
    "range_curve", "simulate_sde", "simulate_ste", "small_rate_limit", "solve_mckean_vlasov",
    "solve_ode", "solve_pde", "stability_boundary", "stationary_states", "time_to_error",
    "usual_ranges",
)  # fmt: skip
_SOURCE = re.compile(
    r"paper\W+(?:§|Figs?|Eqs?\.|Theorem|Proposition|Assumption)|[Tt]heory[:,]|J\. Stat"
)
_ENTRIES = re.compile(r"^(\*{0,2}\w[\w, *]*) : (.*(?:\n(?: .*)?(?=\n|$))*)", re.MULTILINE)


def validates(value: object) -> bool:
    """Whether calling it checks what it is given."""
    own_init = "__init__" in vars(value) and not hasattr(value, "__dataclass_fields__")
    return inspect.isfunction(value) or hasattr(value, "__post_init__") or own_init


@pytest.mark.parametrize("name", NAMES)
def test_every_public_name_says_its_errors_units_shapes_and_source(name: str) -> None:
    value = getattr(fpsolve, name)
    text = inspect.getdoc(value) or ""
    if validates(value) and name not in _NO_RAISES:
        assert re.search(r"^Raises\n-{6}\n\w+Error\n    \w", text, re.MULTILINE), "no Raises"
    if name not in _NO_UNITS:
        assert re.search(r"dimensionless|\bseconds\b", text), "no units"
    if name in _OF_THEORY:
        assert _SOURCE.search(text), "no source"
    common = "every field has the same shape" in text
    for entry, described in _ENTRIES.findall(text):
        if re.match(r".*\b(?:ndarray|array_like|OrderParameters)\b", described.split("\n")[0]):
            assert common or re.search(r"\bshapes?\b", described), f"{entry} has no shape"


def methods(name: str) -> dict[str, object]:
    """Public functions and properties of a public class, by their own name."""
    found = {}
    for own, member in vars(getattr(fpsolve, name)).items():
        plain = getattr(member, "__func__", getattr(member, "fget", member))
        if not own.startswith("_") and inspect.isfunction(plain):
            found[own] = plain
    return found


# Words that tell a shape without the word.
_SHAPED = re.compile(r"\bshapes?\b|elementwise|broadcast|\([A-Z], [A-Z](?:, [A-Z])*\)")


@pytest.mark.parametrize("name", NAMES)
def test_whatever_returns_an_array_says_its_shape(name: str) -> None:
    value = getattr(fpsolve, name)
    told = {name: value} if inspect.isfunction(value) else methods(name)
    for own, function in told.items():
        annotation = str(inspect.signature(function).return_annotation)
        if annotation in ("None", "Any") and not inspect.isfunction(value):
            continue
        text = inspect.getdoc(function) or ""
        if function is value and annotation != "None":
            assert re.search(r"^Returns\n-{7}\n\w", text, re.MULTILINE), "no Returns"
        if re.search(r"\bArray\b|NDArray", annotation):
            assert _SHAPED.search(text), f"{own} returns an array of a shape that it does not say"


@pytest.fixture(scope="module")
def samples() -> list[tuple[object, dict[str, int]]]:
    """One of every class that holds arrays, its sizes all different, and what they are."""
    teacher = fpsolve.Teacher([-1.0, 0.2, 0.6], [0.3, 0.3, 0.4])
    quantizer = fpsolve.StepQuantizer([-1.0, -0.4, 0.1, 0.5, 1.0])
    problem = fpsolve.Problem(
        weight_quantizer=quantizer, input_quantizer=None, learning_rate=0.2, teacher=teacher
    )
    uniform = dataclasses.replace(problem, weight_quantizer=fpsolve.UniformQuantizer(2, 1.0))
    times, sizes = [0.0, 1.0, 2.0, 3.0, 4.0, 6.0], {"T": 6, "K": 3, "L": 4}
    density = fpsolve.solve_pde(problem, times, rtol=1e-3)
    ste = fpsolve.simulate_ste(problem, times, dimension=50, runs=2, seed=1, count_flips=True)
    closure = fpsolve.solve_ode(problem, times)
    rates = fpsolve.best_rate(problem, horizon=2.0, bounds=(0.05, 0.2))
    model = fpsolve.McKeanVlasov(lambda x: -x, 1.0, functionals=[lambda x: x, np.square])
    line = fpsolve.solve_mckean_vlasov(model, fpsolve.GaussianInitial(), times)
    return [
        (density, {**sizes, "N": density.edges.size - 1, "M": density.dense_times.size}),
        (ste, {**sizes, "runs": 2, "d": 50, "M": ste.dense_times.size}),
        (closure, {**sizes, "M": closure.dense_times.size}),
        (line, {**sizes, "r": 2, "N": line.dense_times.size}),
        (fpsolve.closure_error(problem, times), sizes),
        (fpsolve.fluctuations(problem, [1.0, 2.0], rtol=0.1), {"T": 2}),
        (fpsolve.stationary_states(problem)[0], sizes),
        (fpsolve.small_rate_limit(problem), sizes),
        (fpsolve.optimal_range(uniform, points=8), {"points": 8}),
        (rates, {"n": rates.scanned.size}),
        (problem, sizes),
        (quantizer, sizes),
        (teacher, sizes),
    ]


_ONE_SHAPE = r"\([^()]*\)"
_SHAPE = re.compile(rf"\bshapes? ({_ONE_SHAPE}(?:(?:, | and ){_ONE_SHAPE})*)")


def shapes_told(value: object) -> dict[str, str]:
    """Name of an attribute or property -> the shape that the documentation gives it."""
    kind = type(value)
    found = {}
    for names, described in _ENTRIES.findall(inspect.getdoc(kind) or ""):
        if shape := _SHAPE.search(described):
            told, each = re.findall(_ONE_SHAPE, shape[1]), names.split(", ")
            found.update(zip(each, told * len(each), strict=False))
    for name, member in inspect.getmembers(kind, lambda m: isinstance(m, property)):
        if shape := _SHAPE.search(inspect.getdoc(member) or ""):
            found.setdefault(name, re.findall(_ONE_SHAPE, shape[1])[0])
    return found


def test_documented_shapes_are_those_of_the_arrays(samples) -> None:
    looked_at = 0
    for value, sizes in samples:
        for name, told in shapes_told(value).items():
            if "`" in told or not hasattr(value, name):
                continue  # told in words, or an argument and no attribute
            unknown = set(re.findall(r"[a-zA-Z]+", told)) - sizes.keys()
            assert not unknown, f"{type(value).__name__}.{name} {told}"
            expected = eval(told.replace("−", "-"), dict(sizes))  # such as "(T, N + 1)"
            held = getattr(value, name)
            parts = [held]
            if isinstance(held, fpsolve.OrderParameters):
                parts = [getattr(held, field.name) for field in dataclasses.fields(held)]
            elif isinstance(held, tuple):
                parts = list(held)
            for part in parts:
                assert np.shape(part) == expected, f"{type(value).__name__}.{name} {told}"
            looked_at += 1
    assert looked_at >= 40


def test_exempt_names_are_public() -> None:
    assert {*_NO_RAISES, *_NO_UNITS, *_OF_THEORY} <= set(NAMES)


@pytest.mark.parametrize("page", API, ids=lambda path: path.stem)
def test_the_examples_of_the_api_run(page: Path, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = doctest.testfile(str(page), module_relative=False, optionflags=doctest.ELLIPSIS)
    assert done.failed == 0


@pytest.mark.parametrize("name", NAMES)
def test_the_examples_of_docstrings_run(name: str, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    for test in doctest.DocTestFinder(recurse=True).find(getattr(fpsolve, name), name):
        runner.run(test)
    assert runner.failures == 0


def anchors(page: Path) -> set[str]:
    """What the headings of a page are called in links."""
    found = set()
    for line in page.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            kept = re.sub(r"[^\w\- ]", "", line.lstrip("#").strip().lower())
            found.add(kept.replace(" ", "-"))
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target:
            # Others' pages are not asked for in a test; a link to one can at least be well formed.
            host = urlsplit(target).hostname or ""
            assert target.startswith("https://"), f"{page.name}: {target}"
            assert "." in host, f"{page.name}: {target}"
            continue
        name, _, anchor = target.partition("#")
        if "gallery/" in name:  # made by the build from examples/
            script = ROOT / "examples" / (Path(name).stem + ".py")
            assert script.exists() or Path(name).stem == "index", f"{page.name}: {target}"
            continue
        path = (page.parent / name).resolve() if name else page
        if path.stem == "contributing" or page.name == "CONTRIBUTING.md":
            path = ROOT / "CONTRIBUTING.md"
        assert path.exists(), f"{page.name}: {target}"
        if anchor:
            assert anchor in anchors(path), f"{page.name}: {target}"


def test_the_problem_file_of_the_docs_is_valid(tmp_path) -> None:
    text = (DOCS / "howto" / "problem.md").read_text(encoding="utf-8")
    path = tmp_path / "p.toml"
    path.write_text(re.search(r"```toml\n(.*?)```", text, re.DOTALL)[1], encoding="utf-8")
    assert fpsolve.Problem.from_toml(path).teacher == fpsolve.Teacher.gaussian(1.0, 9)


def test_the_docs_list_every_command() -> None:
    from fpsolve.cli.parser import COMMANDS

    text = (DOCS / "command_line.md").read_text(encoding="utf-8")
    assert tuple(re.findall(r"^\| `fpsolve ([a-z-]+) ", text, re.MULTILINE)) == COMMANDS


def options(parser: argparse.ArgumentParser) -> dict[str, set[str]]:
    """Command -> its options."""
    (commands,) = [a for a in parser._actions if a.dest == "command"]
    return {
        name: {text for action in command._actions for text in action.option_strings}
        for name, command in commands.choices.items()
    }


def test_the_docs_name_every_option_and_no_other() -> None:
    from fpsolve.cli.parser import build_parser

    known = options(build_parser())
    text = (DOCS / "command_line.md").read_text(encoding="utf-8")
    told = set(re.findall(r"`(--?[a-z-]+)`", text))
    every = set().union(*known.values()) - {"-h", "--help"}
    assert told - {"--quiet", "--verbose"} == every - {"--quiet", "--verbose"}
    for row in re.findall(r"^\| (`-.*?) \| (.*?) \| .*\|$", text, re.MULTILINE):
        named, of = (re.findall(r"`([^`]+)`", part) for part in row)
        if of and "whatever" not in row[1]:
            for option in named:
                assert {c for c in known if option in known[c]} == set(of), option


def test_the_docs_use_options_that_commands_have() -> None:
    from fpsolve.cli.parser import build_parser

    known = options(build_parser())
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for command, rest in re.findall(r"\bfpsolve ([a-z-]+)\b([^`\n|]*)", text):
            if command in known:
                for option in re.findall(r"(?<![\w-])--?[a-z][a-z-]*", rest):
                    assert option in known[command], f"{page.name}: {command} {option}"


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_pages_name_what_there_is(page: Path) -> None:
    rooms = {path.stem for path in Path(fpsolve.__file__).parent.iterdir()}
    text = page.read_text(encoding="utf-8")
    for name in re.findall(r"\bfpsolve\.([a-zA-Z_]\w*)", text):
        assert name in fpsolve.__all__ or name in rooms, name
    for block in re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        compile(block, page.name, "exec")


@pytest.fixture
def prepared(tmp_path, monkeypatch):
    """What the pages of the how-to take for granted: a problem, its files, a simulation."""
    monkeypatch.chdir(tmp_path)
    problem = fpsolve.Problem(
        weight_quantizer=fpsolve.UniformQuantizer(2, 1.0),
        input_quantizer=None,
        learning_rate=0.1,
        ridge=0.5,
    )
    Path("problem.toml").write_text(problem.to_toml(), encoding="utf-8")
    np.save("layer.npy", 0.02 * np.random.default_rng(0).standard_normal(500))
    times = np.array([0.0, 5.0])
    models = fpsolve.simulate_ste(problem, times, dimension=300, runs=3, seed=1)
    fpsolve.save(fpsolve.solve_pde(problem, times), "out.h5")
    names = {"problem": problem, "times": times, "weights": models.weights, "fpsolve": fpsolve}
    level = logging.getLogger("fpsolve").level
    yield {**names, "teacher_weights": models.teacher_weights}
    logging.getLogger("fpsolve").setLevel(level)


@pytest.mark.parametrize("page", sorted(DOCS.glob("howto/*.md")), ids=lambda path: path.stem)
def test_the_code_of_the_how_to_runs(page: Path, prepared) -> None:
    text = page.read_text(encoding="utf-8")
    for block in re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        if "torch" not in block and "layer.weight" not in block:  # PyTorch is not needed here
            exec(block, prepared)
