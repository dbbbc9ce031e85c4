"""A result outside its file: `xarray.Dataset`, CSV, NPZ, Zarr. All hold what the file holds."""

from __future__ import annotations

import csv
import io
import itertools
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from fpsolve.errors import ParameterError, StoreError
from fpsolve.recording.target import check_target, new_file, put_in_place, refusal
from fpsolve.store.files import kind_of, write_result

__all__ = ["FORMATS", "export", "to_xarray"]

FORMATS = (".csv", ".npz", ".zarr")
# A table of every density value would be no table any more.
_MOST_ROWS = 10_000_000


def to_xarray(result: Any) -> Any:
    """Return any result as an `xarray.Dataset`, with the variables and attributes of its file.

    Raises
    ------
    StoreError
        If `result` is none, or xarray is not installed.
    """
    try:
        import xarray  # An optional companion, only here.
    except ImportError:
        raise StoreError("needs xarray; pip install 'fpsolve[xarray]'") from None
    with _as_file(result) as file:
        coordinates = {n: _variable(v) for n, v in _datasets(file) if v.is_scale}
        variables = {n: _variable(v) for n, v in _datasets(file) if not v.is_scale}
        return xarray.Dataset(variables, coords=coordinates, attrs=_attributes(file))


def export(result: Any, path: str | Path, *, overwrite: bool = False) -> None:
    """Write `result` as CSV, NPZ or Zarr, by the ending of `path`.

    Parameters
    ----------
    result : any result
        As for `save`.
    path : str or Path
        `.csv`: a long table of the order parameters (or whatever stands beside them), one row a
        time and run; `.npz`: every variable, and the attributes as JSON under `attributes`;
        `.zarr`: a folder that `xarray.open_zarr` opens (needs xarray and zarr).
    overwrite : bool, default False
        Whether what exists may be replaced.

    Raises
    ------
    ParameterError
        If the ending is none of these.
    StoreError
        If it cannot be written.

    Examples
    --------
    >>> import pathlib, fpsolve
    >>> problem = fpsolve.Problem(weight_quantizer=None, input_quantizer=None, learning_rate=0.1)
    >>> fpsolve.export(fpsolve.solve_ode(problem, [0, 1, 2]), "out.csv")
    >>> len(pathlib.Path("out.csv").read_text().splitlines())  # A header, and a line a time.
    4
    """
    ending = Path(path).suffix.lower()
    if ending not in FORMATS:
        raise ParameterError("path", str(path), f"must end in one of {', '.join(FORMATS)}")
    if ending == ".zarr":
        _write_zarr(result, Path(path), overwrite=overwrite)
        return
    content = _csv(result) if ending == ".csv" else _npz(result)
    target = check_target(path, overwrite=overwrite)
    try:
        with new_file(target) as new:
            with os.fdopen(os.dup(new.descriptor), "wb") as file:
                file.write(content)
            put_in_place(new, target, overwrite=overwrite)
    except OSError as error:
        raise refusal(path, error) from None


def _as_file(result: Any) -> h5py.File:
    kind = kind_of(result)
    if kind is None:
        raise StoreError(f"a {type(result).__name__} is not a result")
    file = h5py.File(io.BytesIO(), "w", libver=("v110", "v110"), track_order=True)
    write_result(file, kind, result)
    return file


def _datasets(file: h5py.File) -> list[tuple[str, h5py.Dataset]]:
    """Return the variables at the root; groups hold what only fpsolve goes on from."""
    return [(name, node) for name, node in file.items() if isinstance(node, h5py.Dataset)]


def _variable(node: h5py.Dataset) -> tuple[tuple[str, ...], NDArray[Any], dict[str, Any]]:
    values = node.asstr()[...] if node.dtype.kind == "O" else node[...]
    skipped = {"CLASS", "NAME", "DIMENSION_LIST", "REFERENCE_LIST"}
    about = {name: value for name, value in node.attrs.items() if name not in skipped}
    return _dimensions(node), values, about


def _dimensions(node: h5py.Dataset) -> tuple[str, ...]:
    if node.is_scale:
        return (node.name.lstrip("/"),)
    return tuple(next(iter(axis.values())).name.lstrip("/") for axis in node.dims)


def _attributes(file: h5py.File) -> dict[str, Any]:
    return {
        name: value.tolist() if isinstance(value, np.ndarray | np.generic) else value
        for name, value in file.attrs.items()
    }


def _csv(result: Any) -> bytes:
    text = io.StringIO(newline="")
    with _as_file(result) as file:
        csv.writer(text, lineterminator="\n").writerows(_rows(file))
    return text.getvalue().encode()


def _rows(file: h5py.File) -> Iterator[list[Any]]:
    """Yield a header, then a row for every combination of what the order parameters depend on."""
    axes = _table_axes(file)
    shape = tuple(file[axis].size for axis in axes)
    if np.prod(shape, dtype=np.float64) > _MOST_ROWS:
        raise StoreError(f"a table of {shape} rows is too long; export to .npz or .zarr")
    columns = {
        name: _variable(node)[1]
        for name, node in _datasets(file)
        if not node.is_scale and _dimensions(node) == axes
    }
    yield [*axes, *columns]
    coordinates = [_variable(file[axis])[1].tolist() for axis in axes]
    lists = [column.ravel().tolist() for column in columns.values()]
    for place, values in zip(
        itertools.product(*coordinates), zip(*lists, strict=True), strict=True
    ):
        yield [*place, *values]


def _table_axes(file: h5py.File) -> tuple[str, ...]:
    for name in ("generalization_error", "standard_errors", "functionals"):
        if name in file:
            return _dimensions(file[name])
    raise StoreError("holds no table; export to .npz or .zarr")


def _npz(result: Any) -> bytes:
    stream = io.BytesIO()
    with _as_file(result) as file:
        arrays = {name: _variable(node)[1] for name, node in _datasets(file)}
        arrays = {n: a.astype(str) if a.dtype.kind == "O" else a for n, a in arrays.items()}
        arrays["attributes"] = np.array(json.dumps(_attributes(file), default=str))
    np.savez_compressed(stream, allow_pickle=False, **arrays)
    return stream.getvalue()


def _write_zarr(result: Any, path: Path, *, overwrite: bool) -> None:
    try:
        import zarr  # noqa: F401  An optional companion, only here.
    except ImportError:
        raise StoreError("needs zarr; pip install 'fpsolve[zarr]'") from None
    if path.exists() and not overwrite:
        raise StoreError(f"{path}: exists; choose another name, or pass overwrite")
    dataset = to_xarray(result)
    # Zarr has no text of any length among its agreed types.
    for name in [n for n, v in dataset.variables.items() if v.dtype.kind == "O"]:
        dataset[name] = dataset[name].astype(str)
    try:
        with tempfile.TemporaryDirectory(prefix=f".{path.name[:200]}.", dir=path.parent) as folder:
            new, old = Path(folder) / "new", Path(folder) / "old"
            dataset.to_zarr(new, mode="w", consolidated=False, zarr_format=2)
            if path.exists():  # It goes when the new one is whole.
                path.rename(old)
            new.rename(path)
    except OSError as error:
        raise refusal(path, error) from None
