"""Suites of ONNX-format tests: folders, or the onnx package's own node tests."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, ValueInfoProto, numpy_helper

from mxc.errors import BadInput

RTOL, ATOL = 1e-3, 1e-7
"""The tolerance of folders, which state none: that of onnx's runner."""

Values = Sequence[Any]


@dataclass(frozen=True)
class Case:
    """One test: a model, and sets of inputs with the outputs they must give."""

    name: str
    model: ModelProto
    data: Sequence[tuple[Values, Values]]
    rtol: float = RTOL
    atol: float = ATOL


def load_suite(suite: str, names: Sequence[str] | None = None) -> Iterator[Case]:
    """The tests of `suite`, those called `names` or all, in the suite's order."""
    cases = _package_cases() if suite == "onnx" else _folder_cases(Path(suite))
    wanted = None if names is None else set(names)
    for case in cases:
        if wanted is None or case.name in wanted:
            yield case
        if wanted is not None:
            wanted.discard(case.name)
    if wanted:
        raise BadInput(f"suite {suite!r} has no test {sorted(wanted)[0]!r}")


def _package_cases() -> Iterator[Case]:
    from onnx.backend.test.loader import load_model_tests

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tests = load_model_tests(kind="node")
    for test in tests:
        if test.model is not None and test.data_sets is not None:
            data = [(_values(inputs), _values(outputs)) for inputs, outputs in test.data_sets]
            yield Case(test.name, test.model, data, test.rtol, test.atol)


def _values(given: Values) -> list[Any]:
    """Tensors as arrays; anything else as it is."""
    return [numpy_helper.to_array(v) if isinstance(v, TensorProto) else v for v in given]


def _folder_cases(folder: Path) -> Iterator[Case]:
    models = sorted(folder.rglob("model.onnx"))
    if not models:
        raise BadInput("there is no test: no model.onnx below this folder", at=str(folder))
    for path in models:
        model = ModelProto.FromString(path.read_bytes())
        sets = sorted(path.parent.glob("test_data_set_*"))
        data = [
            (_arrays(one, "input", model.graph.input), _arrays(one, "output", model.graph.output))
            for one in sets
        ]
        yield Case(path.parent.name, model, data)


def _arrays(folder: Path, kind: str, infos: Sequence[ValueInfoProto]) -> list[Any]:
    """The values of `folder`; None for what is no tensor."""
    count = len(list(folder.glob(f"{kind}_*.pb")))
    return [_array(folder / f"{kind}_{i}.pb", infos[i]) for i in range(count)]


def _array(path: Path, info: ValueInfoProto) -> Any:
    if info.type.WhichOneof("value") != "tensor_type":
        return None
    return numpy_helper.to_array(TensorProto.FromString(path.read_bytes()))


def unfit(case: Case) -> str:
    """Why the test cannot be tried: it passes values that are no numeric tensors."""
    for values in (part for pair in case.data for part in pair):
        for value in values:
            if not isinstance(value, np.ndarray | np.generic | int | float | bool):
                return "a value is a sequence or an optional"
            if np.asarray(value).dtype.kind in "OUSc":
                return "a value is of strings or complex numbers"
    return ""
