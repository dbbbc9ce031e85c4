"""Where batches are solved: local threads or processes, or any executor that exists already."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol

from fpsolve.errors import ParameterError
from fpsolve.problem.checks import integer
from fpsolve.sweeps.lanes import Lanes

__all__ = ["Engine", "Executor", "Mapper", "cores", "engine_on", "local_engine"]

# Solvers whose compiled loops let go of the interpreter's lock: threads serve them best.
_THREADED = frozenset({"simulate_ste", "simulate_sde"})
# Seconds a batch should take: long against a round trip, short against losing it.
_LOCAL_SECONDS, _DISTANT_SECONDS = 0.25, 2.0
# Jobs of a batch queue, unless `workers` says how many.
_JOBS = 16


class Executor(Protocol):
    """What `concurrent.futures`, `mpi4py.futures`, Dask's and submitit's executors offer."""

    def submit(self, call: Callable[..., Any], /, *arguments: Any) -> Any:
        """Return a future, or a job that has `done` and `result`."""


class Mapper(Protocol):
    """What `multiprocessing.Pool` offers."""

    def map(self, call: Callable[..., Any], items: Iterable[Any], /) -> Iterable[Any]:
        """Apply `call` to every item, results in order."""


class Engine:
    """An executor, with what has to be known to feed it.

    Parameters
    ----------
    executor : Executor
        Solves batches.
    width : callable
        Returns how many batches it solves at a time, asked again as it may grow.
    depth : int, default 1
        Batches handed out per worker; 2 where a round trip takes time.
    seconds : float
        Seconds a batch should take.
    at_once : bool, default False
        Whether to hand out everything at once, in `width` batches: a queue of jobs.
    """

    def __init__(
        self,
        executor: Executor,
        width: Callable[[], int],
        *,
        depth: int = 1,
        seconds: float = _DISTANT_SECONDS,
        at_once: bool = False,
    ) -> None:
        self.executor, self.width, self.depth = executor, width, depth
        self.seconds, self.at_once = seconds, at_once

    def close(self, *, kill: bool) -> None:
        """End what the engine itself has started; an executor of the caller's stays open."""
        if isinstance(self.executor, Lanes):
            self.executor.close(kill=kill)
        elif isinstance(self.executor, _OwnThreads):
            self.executor.shutdown(wait=not kill, cancel_futures=True)
        elif isinstance(self.executor, _Mapping):
            self.executor.close()


class _OwnThreads(ThreadPoolExecutor):
    """Threads of our own, to be told from the caller's."""


class _Mapping:
    """`submit` for what can only map: threads that map one batch each."""

    def __init__(self, mapper: Mapper, width: int) -> None:
        self._mapper = mapper
        self._threads = ThreadPoolExecutor(width)

    def submit(self, call: Callable[..., Any], /, *arguments: Any) -> Future[Any]:
        return self._threads.submit(self._one, call, arguments)

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _one(self, call: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        return next(iter(self._mapper.map(_Applied(call), [arguments])))


class _Applied:
    """A call of several arguments as one of a tuple."""

    def __init__(self, call: Callable[..., Any]) -> None:
        self._call = call

    def __call__(self, arguments: tuple[Any, ...]) -> Any:
        return self._call(*arguments)


def cores() -> int:
    """Return the number of cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def local_engine(solver: str, workers: int) -> Engine:
    """Return threads where `solver` profits from them, processes otherwise."""
    own: Executor = _OwnThreads(workers) if solver in _THREADED else Lanes(workers)
    return Engine(own, lambda: workers, seconds=_LOCAL_SECONDS)


def engine_on(executor: Any, workers: int | None) -> Engine:
    """Return an engine that feeds an executor of the caller's.

    Raises
    ------
    ParameterError
        If it is none.
    """
    if workers is not None:
        integer("workers", workers, least=1)
    if hasattr(executor, "get_executor"):  # a Dask client
        client = executor

        def threads() -> int:
            return sum(client.nthreads().values()) or 1

        return Engine(client.get_executor(pure=False), threads, depth=2)
    if hasattr(executor, "map_array"):  # submitit
        return Engine(executor, lambda: workers or _JOBS, at_once=True)
    size = workers or _size(executor)
    if hasattr(executor, "submit"):
        return Engine(executor, lambda: size, depth=2)
    if hasattr(executor, "map"):
        return Engine(_Mapping(executor, size), lambda: size)
    allowed = "must be an executor with `submit`, a Dask Client, or a pool with `map`"
    raise ParameterError("executor", executor, allowed)


def _size(executor: Any) -> int:
    for name in ("num_workers", "_max_workers", "_processes"):
        count = getattr(executor, name, None)
        if isinstance(count, int) and count > 0:
            return count
    return cores()
