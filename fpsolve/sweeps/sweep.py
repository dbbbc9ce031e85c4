"""`sweep`: any solver or study over many problems, here or anywhere."""

from __future__ import annotations

import functools
import inspect
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np

from fpsolve.density.solve import solve_pde
from fpsolve.errors import ParameterError, StoreError
from fpsolve.problem.checks import integer
from fpsolve.problem.problem import Problem
from fpsolve.progress import Callback, Progress, progress_to, stops
from fpsolve.reduction import ORDER_PARAMETER_NAMES, OrderParameters
from fpsolve.sweeps.axes import Axes
from fpsolve.sweeps.batch import Outcome, Packed, Question, checked_call, unpack
from fpsolve.sweeps.dispatch import Ledger, solve_elsewhere, solve_here
from fpsolve.sweeps.engines import Engine, Executor, Mapper, cores, engine_on, local_engine
from fpsolve.sweeps.folder import Folder
from fpsolve.sweeps.keys import point_key, question_token, refused_key
from fpsolve.sweeps.result import ELSEWHERE, INTERRUPTED, SweepResult, gather

__all__ = ["collect_sweep", "sweep"]

# Seconds solved here before other workers are thought of, and seconds of work that are worth them.
_TRIAL, _WORTH = 0.1, 2.5
# Seconds between two files of a sweep that is solved here.
_EVERY = 1.0


def sweep(
    base: Problem | Sequence[Problem],
    axes: Mapping[str, Sequence[Any]],
    solve: Callable[..., Any],
    *,
    executor: Executor | Mapper | None = None,
    workers: int | None = None,
    store: str | Path | None = None,
    part: tuple[int, int] | None = None,
    progress: bool = False,
    callback: Callback = None,
    **solve_options: Any,
) -> SweepResult:
    """Ask one question of many problems, the product of all `axes`.

    Parameters
    ----------
    base : Problem or sequence of Problem
        Holds whatever the axes do not vary; a list of problems is an axis "problem" of its own.
    axes : mapping
        Dotted field name of `Problem` -> values (dimensionless), e.g.
        `{"weight_quantizer.omega": [0.5, 1.0],
        "learning_rate": [0.01, 0.04], "teacher": [Teacher.rademacher()]}`. Names joined by "+"
        change together: `{"ridge+batch_size": [(0.1, 1), (0.2, 4)]}`; `sample_axes` draws such.
    solve : callable
        A solver or study (`solve_pde`, `solve_ode`, `simulate_ste`, `simulate_sde`,
        `stationary_states`, `isotropic_fixed_points`, `optimal_range`, `closure_error` …) or any
        function called as `solve(problem, **solve_options)` that returns numbers, arrays, a
        mapping to them, or a trajectory. One whose first argument is called `trajectory`, as that
        of `flip_rate`, is given that of `solve_pde`.
    executor : optional
        Where to solve: an executor of `concurrent.futures`, `mpi4py.futures` or `submitit`, a Dask
        `Client`, or a pool with `map`. None takes the cores of this machine.
    workers : int, optional
        Number of local workers, all cores by default, 1 for none but this process; with
        `executor` how many it has, where it does not say; for `submitit` the number of jobs.
    store : str or Path, optional
        Folder where answers are kept as they come; the same call then solves only what is not
        there yet, whatever ended the last one. One folder can serve several sweeps and processes.
    part : (int, int), optional
        (I, N): solve only the I-th of N parts, 1 ≤ I ≤ N, into `store`.
    progress : bool, default False
        Whether to show progress over the points.
    callback : callable, optional
        Called in this process, as answers come, with the index of every point that is solved and
        its `OrderParameters` (a dict of arrays where `solve` answers others, None where the point
        failed); if it returns a true value the sweep ends as after Ctrl-C.
    **solve_options
        Passed to `solve`, e.g. `times=[0, 10, 100]`. A `seed` gives every point streams of its
        own, drawn from it and the problem (`SweepResult.seed`).

    Returns
    -------
    SweepResult
        The same bit for bit wherever it was solved. A point that raises, or whose worker died
        twice, is recorded in its `errors`. After Ctrl-C the points that were not reached are there
        too, what was solved is kept, and `stats["interrupted"]` is True.

    Raises
    ------
    ParameterError
        If an axis is empty, names no field, or a value is not allowed there, or options do not
        fit together; nothing has been solved then.
    TypeError
        If `solve` takes no such options.
    StoreError
        If `store` cannot be written.

    Notes
    -----
    The first points are solved in this process, which compiles what is not compiled yet and shows
    what a point costs; local workers start where a few seconds of work are left.
    """
    grid = Axes.of(base, axes)
    solve = _of_problems(solve)
    checked_call(solve, grid.base, solve_options)
    _check_places(executor, workers, store, part)
    options = _with_seed(solve, solve_options, store)
    folder = None if store is None else _Shelf(store, solve, options, grid)
    shared = workers != 1 or executor is not None
    asked = _one_thread(solve, options, shared)
    token = "" if folder is None else folder.token
    question = Question(solve, asked, grid.base, tuple(grid.values), token)
    count = int(np.prod(grid.shape))
    mine = range(count) if part is None else range(part[0] - 1, count, part[1])
    outcomes = {} if folder is None else folder.known(mine)
    interrupted = False
    missing = [number for number in mine if number not in outcomes]
    with progress_to(len(missing), "sweep", shown=progress, unit="points") as shown:
        ledger = _ledger(grid, missing, outcomes, folder, shown, callback)
        try:
            _solve(ledger, question, executor, workers)
        except (KeyboardInterrupt, _Enough):
            interrupted = True
    untried = INTERRUPTED if interrupted or part is None else ELSEWHERE
    stats = {**_stats(solve, options), "interrupted": interrupted}
    return gather(grid, outcomes, untried, stats, options.get("times", [np.nan]))


def collect_sweep(
    base: Problem | Sequence[Problem],
    axes: Mapping[str, Sequence[Any]],
    solve: Callable[..., Any],
    *,
    store: str | Path,
    **solve_options: Any,
) -> SweepResult:
    """Return what a `sweep` with the same arguments has kept in `store`; nothing is solved.

    Parameters
    ----------
    base, axes, solve, **solve_options
        As they were given to `sweep`.
    store : str or Path
        Its folder.

    Returns
    -------
    SweepResult
        Points that are not there are among its `not_reached`.

    Raises
    ------
    StoreError
        If there is no such folder.
    """
    if not Path(store).is_dir():
        raise StoreError(f"{store}: is no folder of answers; run the sweep with store first")
    grid = Axes.of(base, axes)
    solve = _of_problems(solve)
    checked_call(solve, grid.base, solve_options)
    options = _with_seed(solve, solve_options, store)
    there = _Shelf(store, solve, options, grid).known(range(int(np.prod(grid.shape))))
    stats = {**_stats(solve, options), "interrupted": False}
    return gather(grid, there, ELSEWHERE, stats, options.get("times", [np.nan]))


class _Shelf:
    """The answers of this sweep in a folder."""

    def __init__(
        self,
        path: str | Path,
        solve: Callable[..., Any],
        options: Mapping[str, Any],
        grid: Axes,
    ) -> None:
        self.token = question_token(solve, options)
        self._folder = Folder(path)
        self._grid = grid

    def _key(self, number: int) -> str:
        try:
            return point_key(self.token, self._grid.problem(self._grid.index(number)))
        except ParameterError as error:
            return refused_key(self.token, self._grid.base, str(error))

    def known(self, numbers: Sequence[int]) -> dict[int, Outcome]:
        """Return the answers that are there, by flat number."""
        there = self._folder.known()
        if not there:
            return {}
        keys = {number: self._key(number) for number in numbers}
        return {number: there[key] for number, key in keys.items() if key in there}

    def keep(self, packed: Packed) -> None:
        """Keep a batch."""
        self._folder.keep(packed)


def _solve(ledger: Ledger, question: Question, executor: Any, workers: int | None) -> None:
    """Solve all that is left: here where that is soon done, on an engine otherwise."""
    if not ledger.left:
        return
    if executor is not None:
        _on_engine(ledger, question, engine_on(executor, workers))
        return
    width = cores() if workers is None else workers
    start = time.perf_counter()

    def worthwhile() -> bool:
        tried = time.perf_counter() - start >= _TRIAL
        return width > 1 and tried and ledger.left * ledger.cost > _WORTH

    every = _TRIAL if width > 1 else _EVERY
    solve_here(ledger, question, worthwhile, every)
    if ledger.left:
        _on_engine(ledger, question, local_engine(question.name, min(width, ledger.left)))


def _on_engine(ledger: Ledger, question: Question, engine: Engine) -> None:
    try:
        pickled = cloudpickle.dumps(question)
    except Exception as error:
        allowed = f"cannot be sent to another process ({error}); pass workers=1"
        raise ParameterError("solve", question.solve, allowed) from None
    finished = False
    try:
        solve_elsewhere(ledger, pickled, engine)
        finished = True
    finally:
        engine.close(kill=not finished)


def _ledger(
    grid: Axes,
    missing: Sequence[int],
    outcomes: dict[int, Outcome],
    folder: _Shelf | None,
    shown: Progress,
    callback: Callback,
) -> Ledger:
    """Return the ledger of what is missing; answers go wherever somebody waits for them."""
    failed = reached = 0

    def deliver(numbers: Sequence[int], packed: Packed) -> None:
        nonlocal failed, reached
        if folder is not None:
            folder.keep(packed)
        fresh = unpack(packed)
        outcomes.update(zip(numbers, fresh, strict=True))
        failed += sum(outcome.answer is None for outcome in fresh)
        reached += len(fresh)
        shown.reach(reached, failed=failed)
        for number, outcome in zip(numbers, fresh, strict=True):
            if callback is not None and stops(callback, grid.index(number), _told(outcome)):
                raise _Enough

    def values(number: int) -> tuple[Any, ...]:
        return grid.at(grid.index(number))

    return Ledger(missing, values, deliver)


class _Enough(Exception):
    """A callback wants no more."""


def _told(outcome: Outcome) -> OrderParameters | dict[str, Any] | None:
    """What a callback is told of a point."""
    if outcome.answer is None:
        return None
    arrays = outcome.answer.arrays
    if not set(ORDER_PARAMETER_NAMES) <= arrays.keys():
        return dict(arrays)
    return OrderParameters(**{name: arrays[name] for name in ORDER_PARAMETER_NAMES})


def _of_problems(solve: Callable[..., Any]) -> Callable[..., Any]:
    """Return `solve`, or what solves the density first where it asks for a trajectory."""
    try:
        parameters = inspect.signature(solve).parameters
    except ValueError:
        return solve
    if next(iter(parameters), "") != "trajectory":
        return solve
    return _OfDensity(solve)


class _OfDensity:
    """A study of a trajectory as one of a problem."""

    def __init__(self, study: Callable[..., Any]) -> None:
        self._study = study
        self._own = set(inspect.signature(study).parameters)
        functools.update_wrapper(self, study)
        self.__signature__ = inspect.signature(self.__call__)

    def __call__(self, problem: Problem, **options: Any) -> Any:
        own = {name: value for name, value in options.items() if name in self._own}
        others = {name: value for name, value in options.items() if name not in self._own}
        return self._study(solve_pde(problem, **others), **own)


def _check_places(
    executor: Any, workers: int | None, store: Any, part: tuple[int, int] | None
) -> None:
    if workers is not None:
        integer("workers", workers, least=1)
    if executor is not None and isinstance(executor, str):
        raise ParameterError("executor", executor, "must be an executor, not the name of one")
    if part is None:
        return
    if len(part) != 2 or not 1 <= part[0] <= part[1]:
        raise ParameterError("part", part, "must be (I, N) with 1 <= I <= N")
    if store is None:
        raise ParameterError("store", None, "must be a folder where the parts meet")


def _with_seed(solve: Callable[..., Any], options: Mapping[str, Any], store: Any) -> dict[str, Any]:
    """Return the options with a seed drawn where the solver wants one and has none."""
    made = dict(options)
    if "seed" in _parameters(solve) and made.get("seed") is None:
        if store is not None:
            allowed = "must be given with a store: other streams would be other answers"
            raise ParameterError("seed", None, allowed)
        made["seed"] = int(np.random.SeedSequence().entropy)  # type: ignore[arg-type]
    elif made.get("seed") is not None:
        integer("seed", made["seed"], least=0)
    return made


def _one_thread(solve: Callable[..., Any], options: dict[str, Any], shared: bool) -> dict[str, Any]:
    """Let every point run on one thread where points share the machine."""
    if shared and "threads" in _parameters(solve) and options.get("threads") is None:
        return {**options, "threads": 1}
    return options


def _parameters(solve: Callable[..., Any]) -> Mapping[str, Any]:
    try:
        return inspect.signature(solve).parameters
    except ValueError:
        return {}


def _stats(solve: Callable[..., Any], options: Mapping[str, Any]) -> dict[str, Any]:
    plain = {
        name: value if isinstance(value, bool | int | float | str | None) else repr(value)
        for name, value in options.items()
        if name != "times"
    }
    return {"solver": getattr(solve, "__name__", repr(solve)), "options": plain}
