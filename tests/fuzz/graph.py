"""A random ONNX graph that grows node by node, and knows its values as it grows.

Each node is run alone by onnxruntime when it is added, so that shapes and values are known, nodes
that are invalid or badly conditioned can be turned down, and each value has a tolerance: 0 where
right implementations agree to the bit, else what rounding can do to it, measured by perturbing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper, numpy_helper

Array = NDArray[Any]

NEWEST_ORT = 24
"""The newest opset that onnxruntime runs in full."""

MAX_ELEMENTS = 4096

MOVES = frozenset(
    [
        "Concat", "DepthToSpace", "Expand", "Flatten", "Gather", "GatherElements", "GatherND",
        "Identity", "Pad", "Reshape", "ReverseSequence", "ScatterND", "Slice", "SpaceToDepth",
        "Split", "Squeeze", "Tile", "Transpose", "Trilu", "Unsqueeze", "Where",
    ]
)  # fmt: skip
"""Operators whose results are as uncertain as their inputs."""

FLOATS = ("float16", "float32", "float64")


class Unfit(Exception):
    """The proposed node is not possible, or not wanted, here."""


@dataclass(frozen=True)
class Tensor:
    """A value of the graph for the graph's inputs."""

    name: str
    array: Array
    tolerance: float
    """How far two right implementations may be apart, in absolute terms."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape."""
        return self.array.shape

    @property
    def rank(self) -> int:
        """The rank."""
        return self.array.ndim

    @property
    def dtype(self) -> str:
        """The element type's name."""
        return self.array.dtype.name


@dataclass
class Graph:
    """A graph that grows."""

    rng: np.random.Generator
    opset: int
    nodes: list[NodeProto] = field(default_factory=list[NodeProto])
    weights: dict[str, Array] = field(default_factory=dict[str, Array])
    inputs: dict[str, Array] = field(default_factory=dict[str, Array])
    values: list[Tensor] = field(default_factory=list[Tensor])
    """All values that nodes may use."""

    computed: list[Tensor] = field(default_factory=list[Tensor])
    """The values among them that nodes computed."""

    count: int = 0

    # Chance.

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return bool(self.rng.random() < probability)

    def integer(self, low: int, high: int) -> int:
        """An integer in [low, high]."""
        return int(self.rng.integers(low, high + 1))

    def choice(self, options: Sequence[Any]) -> Any:
        """One of the options."""
        if not options:
            raise Unfit("nothing to choose from")
        return options[self.integer(0, len(options) - 1)]

    def shape(self, rank: int, most: int = 6) -> tuple[int, ...]:
        """A random shape; sizes above 1 more often."""
        sizes = [self.integer(1, most) for _ in range(rank)]
        return tuple(max(size, self.integer(1, 3)) for size in sizes)

    # Values.

    def name(self, stem: str) -> str:
        """A name that is not taken."""
        self.count += 1
        return f"{stem}{self.count}"

    def weight(self, array: Any) -> str:
        """The name of a new initializer."""
        name = self.name("w")
        self.weights[name] = np.asarray(array)
        return name

    def ints(self, *values: int) -> str:
        """A new initializer: a vector of int64."""
        return self.weight(np.array(values, np.int64))

    def random(self, shape: Sequence[int], dtype: str) -> Array:
        """Random content; integers are small, so that sums and products do not wrap."""
        rng = self.rng
        if dtype == "bool":
            return rng.random(shape) < 0.5
        if dtype.startswith("uint"):
            return rng.integers(0, 12, shape).astype(dtype)
        if dtype.startswith("int"):
            return rng.integers(-6, 7, shape).astype(dtype)
        if self.chance(0.15):  # ties, zeros, halves
            return (rng.integers(-6, 7, shape) / 2).astype(dtype)
        return rng.uniform(-2, 2, shape).astype(dtype)

    def new(self, shape: Sequence[int], dtype: str, *, constant: bool | None = None) -> Tensor:
        """A new input, or a constant."""
        array = self.random(shape, dtype)
        if constant is None:
            constant = self.chance(0.5) and bool(self.inputs)
        if constant:
            name = self.weight(array)
        else:
            name = self.name("x")
            self.inputs[name] = array
        tensor = Tensor(name, array, 0.0)
        self.values.append(tensor)
        return tensor

    def pick(
        self,
        dtypes: Sequence[str] = ("float32",),
        ranks: Sequence[int] = (1, 2, 3, 4),
        where: Callable[[Tensor], bool] = lambda _: True,
    ) -> Tensor:
        """A value with one of these types and ranks, the later the likelier; or a new one."""
        fits = [v for v in self.values if v.dtype in dtypes and v.rank in ranks and where(v)]
        if fits and self.chance(0.85):
            return fits[max(self.integer(0, len(fits) - 1), self.integer(0, len(fits) - 1))]
        tensor = self.new(self.shape(self.choice(ranks)), self.choice(dtypes))
        if not where(tensor):
            raise Unfit("no such value")
        return tensor

    def exact(self, *dtypes: str, ranks: Sequence[int] = (1, 2, 3, 4)) -> Tensor:
        """A value that is known to the bit."""
        return self.pick(dtypes or ("float32",), ranks, lambda v: v.tolerance == 0)

    def broadcastable(self, like: Tensor, *, exact: bool = False) -> Tensor:
        """A value of the type of `like` whose shape broadcasts with it, either way."""
        shape = [s if self.chance(0.7) else 1 for s in like.shape]
        shape = shape[self.integer(0, len(shape)) :] if self.chance(0.4) else shape
        if self.chance(0.15):
            shape = [self.integer(1, 3), *shape] if len(shape) == like.rank else shape

        def fits(v: Tensor) -> bool:
            if v.dtype != like.dtype or (exact and v.tolerance):
                return False
            try:
                np.broadcast_shapes(v.shape, like.shape)
            except ValueError:
                return False
            return True

        same = [v for v in self.values if fits(v)]
        return self.choice(same) if same and self.chance(0.6) else self.new(shape, like.dtype)

    # Nodes.

    def add(
        self,
        op_type: str,
        inputs: Sequence[Tensor | str],
        attrs: Mapping[str, Any] | None = None,
        outputs: int = 1,
        *,
        exact: bool = False,
        sure: bool = False,
    ) -> list[Tensor]:
        """Adds a node.

        `exact`: of exact inputs the outputs are known to the bit; `sure`: of any inputs.

        Raises:
            Unfit: and leaves the graph as it was.
        """
        names = [v if isinstance(v, str) else v.name for v in inputs]
        outs = [self.name("y") for _ in range(outputs)]
        node = helper.make_node(op_type, names, outs, name=self.name(op_type), **dict(attrs or {}))
        tensors = {v.name: v for v in inputs if isinstance(v, Tensor)}
        known = {n: self.weights[n] for n in names if n and n not in tensors}
        feeds = {name: tensor.array for name, tensor in tensors.items()}
        run = _Single(node, feeds | known, self.opset)
        arrays = run(feeds | known)
        worst = max((t.tolerance for t in tensors.values()), default=0.0)
        if sure or (exact and not worst):
            tolerances = [0.0] * outputs
        elif op_type in MOVES:
            tolerances = [worst] * outputs
        else:
            tolerances = self._tolerances(run, tensors, known, arrays)
        results = [
            Tensor(name, array, tolerance)
            for name, array, tolerance in zip(outs, arrays, tolerances, strict=True)
        ]
        for result in results:
            _judge(result)
        self.nodes.append(node)
        self.values += results
        self.computed += results
        return results

    def _tolerances(
        self,
        run: _Single,
        tensors: Mapping[str, Tensor],
        known: Mapping[str, Array],
        arrays: Sequence[Array],
    ) -> list[float]:
        """What rounding may do: from three perturbations, and from the size of the terms."""
        if any(array.dtype.name not in FLOATS for array in arrays):
            raise Unfit("rounding would decide an integer")
        spread = [0.0] * len(arrays)
        for _ in range(3):
            moved = {name: self._moved(tensor) for name, tensor in tensors.items()}
            for i, (a, b) in enumerate(zip(run({**moved, **known}), arrays, strict=True)):
                spread[i] = max(spread[i], _distance(a, b))
        sizes = run({**{n: _absolute(t.array) for n, t in tensors.items()}, **known})
        return [
            4 * s + 8 * _eps(array) * max(_largest(size), _largest(array))
            for s, size, array in zip(spread, sizes, arrays, strict=True)
        ]

    def _moved(self, tensor: Tensor) -> Array:
        if tensor.dtype not in FLOATS:
            return tensor.array
        step = max(tensor.tolerance, 2 * _eps(tensor.array) * _largest(tensor.array))
        moved = tensor.array + step * self.rng.uniform(-1, 1, tensor.shape)
        return np.asarray(moved, tensor.dtype)

    # The model.

    def model(self) -> tuple[ModelProto, list[Tensor]]:
        """The model, and its outputs: what no node uses, and some of the rest."""
        used = {name for node in self.nodes for name in node.input}
        outputs = [v for v in self.computed if v.name not in used or self.chance(0.15)]
        graph = helper.make_graph(
            self.nodes,
            "fuzz",
            [_info(name, array) for name, array in self.inputs.items()],
            [_info(v.name, v.array) for v in outputs],
            [numpy_helper.from_array(array, name) for name, array in self.weights.items()],
        )
        return _model(graph, self.opset), outputs


class _Single:
    """One node, run by onnxruntime."""

    def __init__(self, node: NodeProto, arrays: Mapping[str, Array], opset: int) -> None:
        names = dict.fromkeys(name for name in node.input if name)
        graph = helper.make_graph(
            [node],
            "node",
            [_info(name, arrays[name]) for name in names],
            [onnx.ValueInfoProto(name=name) for name in node.output],
        )
        self.names = names
        try:
            self.session = session(_model(graph, min(opset, NEWEST_ORT)))
        except Exception as error:
            raise Unfit(f"onnxruntime: {error}") from None

    def __call__(self, arrays: Mapping[str, Array]) -> list[Array]:
        try:
            return self.session.run(None, {name: arrays[name] for name in self.names})
        except Exception as error:
            raise Unfit(f"onnxruntime: {error}") from None


def session(model: ModelProto) -> Any:
    """An onnxruntime session that computes what the model says, one node after the other."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def _model(graph: onnx.GraphProto, opset: int) -> ModelProto:
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def _info(name: str, array: Array) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(
        name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape
    )


def _judge(result: Tensor) -> None:
    """Turns down what is large, not finite, empty, or known too badly."""
    array = result.array
    if not 0 < array.size <= MAX_ELEMENTS or array.ndim > 6:
        raise Unfit("size")
    if array.dtype == np.bool_:
        return
    limit = 500 if array.dtype == np.float16 else 5000
    if not np.all(np.isfinite(array)) or _largest(array) > limit:
        raise Unfit("range")
    share = 0.1 if array.dtype == np.float16 else 1e-2
    if not np.isfinite(result.tolerance) or result.tolerance > share * max(_largest(array), 0.1):
        raise Unfit("conditioning")


def _largest(array: Array) -> float:
    return float(np.max(np.abs(array.astype(np.float64)), initial=0.0))


def _distance(a: Array, b: Array) -> float:
    if a.shape != b.shape:
        raise Unfit("data decide a shape")
    with np.errstate(invalid="ignore"):  # an infinity is turned down later
        return _largest(a.astype(np.float64) - b.astype(np.float64))


def _absolute(array: Array) -> Array:
    return np.asarray(np.abs(array)) if array.dtype.kind in "fi" else array


def _eps(array: Array) -> float:
    return float(np.finfo(array.dtype).eps) if array.dtype.name in FLOATS else 0.0
