"""One ONNX node taken through the pipeline to the loops level, and run by the interpreter."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from mxc.driver import Options, interpret, lowered
from mxc.model import Model

Array = NDArray[Any]


@dataclass(frozen=True)
class Const:
    """An input that the model holds as a constant."""

    value: Array


Input = Array | Const | None


def const(*values: Any, dtype: Any = np.int64) -> Const:
    """A constant vector."""
    return Const(np.array(values, dtype))


def model_of(
    op_type: str, inputs: Sequence[Input], attrs: Mapping[str, Any], outputs: int = 1
) -> Any:
    """A ModelProto of one node."""
    names = ["" if value is None else f"x{i}" for i, value in enumerate(inputs)]
    results = [f"y{i}" for i in range(outputs)]
    node = helper.make_node(op_type, names, results, name="the/node", **attrs)
    infos: list[Any] = []
    constants: list[Any] = []
    for name, value in zip(names, inputs, strict=True):
        if isinstance(value, Const):
            constants.append(numpy_helper.from_array(value.value, name))
        elif value is not None:
            kind = helper.np_dtype_to_tensor_dtype(value.dtype)
            infos.append(helper.make_tensor_value_info(name, kind, value.shape))
    ends = [helper.make_empty_tensor_value_info(name) for name in results]
    graph = helper.make_graph([node], "one", infos, ends, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 28)])


def lower_node(op_type: str, inputs: Sequence[Input], outputs: int = 1, **attrs: Any) -> Model:
    """The node at the loops level, elementary functions expanded."""
    proto = model_of(op_type, inputs, attrs, outputs)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(proto.SerializeToString())
        return lowered(path, Options(format="f32"), "expand-math")


def run_node(op_type: str, inputs: Sequence[Input], outputs: int = 1, **attrs: Any) -> list[Array]:
    """The node's outputs, by the interpreter at the loops level."""
    model = lower_node(op_type, inputs, outputs, **attrs)
    feeds = {f"x{i}": value for i, value in enumerate(inputs) if isinstance(value, np.ndarray)}
    return list(interpret(model, [feeds[port.name] for port in model.inputs]))


def reference(op_type: str, inputs: Sequence[Input], outputs: int = 1, **attrs: Any) -> list[Array]:
    """The node's outputs, by the reference evaluator of the onnx package."""
    proto = model_of(op_type, inputs, attrs, outputs)
    feeds = {f"x{i}": value for i, value in enumerate(inputs) if isinstance(value, np.ndarray)}
    with np.errstate(all="ignore"):
        evaluator: Any = ReferenceEvaluator(proto)
        results = evaluator.run(None, feeds)
    return [np.asarray(one) for one in results]


def check(
    op_type: str, inputs: Sequence[Input], outputs: int = 1, rtol: float = 0, **attrs: Any
) -> None:
    """The interpreter and the reference give the same, up to `rtol`."""
    have = run_node(op_type, inputs, outputs, **attrs)
    want = reference(op_type, inputs, outputs, **attrs)
    for mine, theirs in zip(have, want, strict=True):
        assert mine.dtype == theirs.dtype
        assert mine.shape == theirs.shape
        wide = np.float64 if mine.dtype.kind in "fV" else mine.dtype
        np.testing.assert_allclose(mine.astype(wide), theirs.astype(wide), rtol=rtol, atol=rtol)


def check_onnxruntime(op_type: str, inputs: Sequence[Input], rtol: float = 0, **attrs: Any) -> None:
    """The interpreter and onnxruntime give the same, up to `rtol`."""
    proto = model_of(op_type, inputs, attrs)
    proto.opset_import[0].version, proto.ir_version = 22, 10
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    providers = ["CPUExecutionProvider"]
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers)
    feeds = {f"x{i}": value for i, value in enumerate(inputs) if isinstance(value, np.ndarray)}
    (want,) = session.run(None, feeds)
    np.testing.assert_allclose(run_node(op_type, inputs, **attrs)[0], want, rtol=rtol, atol=rtol)


def body_operations(model: Model) -> list[str]:
    """The names of all operations of the module, in order, those inside loops too."""
    return [op.name for op in model.module.walk()]
