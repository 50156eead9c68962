"""`lower-to-linalg`: every ONNX operator becomes loops over whole tensors.

    %y = onnx.Relu(%x) : (tensor<4x8xf32>) -> tensor<4x8xf32>

becomes a `linalg.generic` whose body compares and selects. Unsigned integers become signless; what
is unsigned about them is in the operations. `mx` operations stay, quantisers on f32: they are the
matrix unit's.

Precondition: contractions of floats are `mx` operations already (`mx-quantize` makes them so, also
for `--format f32`). From here down the IR is the numerics contract: `math.exp` and the like, which
`expand-math` rewrites, are the last operations with more than one admissible result.
"""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects import scf
from xdsl.dialects.builtin import FunctionType, ModuleOp, TensorType, f32
from xdsl.dialects.func import FuncOp
from xdsl.ir import Attribute, Block, Operation, SSAValue
from xdsl.passes import ModulePass
from xdsl.rewriter import InsertPoint, Rewriter
from xdsl.utils.hints import isa

from mxc.constants import ConstantTable
from mxc.dialects.loops import Loops, Tensor
from mxc.dialects.mx import BlockType, QuantizeOp
from mxc.dialects.onnx import OnnxOp
from mxc.dialects.types import signless
from mxc.errors import CannotLower
from mxc.passes.lowering import Node, load_rules


def _bare(type: Attribute) -> Attribute:
    if isa(type, TensorType) and not isinstance(type.element_type, BlockType):
        return TensorType(signless(type.element_type), type.get_shape())
    return type


class _Lowering:
    """Lowers the operations of one function, in order."""

    def __init__(self, constants: ConstantTable) -> None:
        self.constants = constants
        self.rules = load_rules()
        self.tensors: dict[SSAValue, Tensor] = {}
        """What each graph-level value has become."""

    def tensor(self, value: SSAValue) -> Tensor:
        """`value` with its graph-level element type, remembered from before retyping."""
        found = self.tensors.get(value)
        if found is None:
            kind = value.type
            assert isa(kind, TensorType), kind
            found = Tensor(value, kind.element_type)
        return found

    def run(self, function: FuncOp) -> None:
        """Lowers `function` in place."""
        block = function.body.block
        self._block(block)
        assert block.last_op is not None
        outputs = [value.type for value in block.last_op.operands]
        function.properties["function_type"] = FunctionType.from_lists(block.arg_types, outputs)

    def _block(self, block: Block) -> None:
        for arg in block.args:
            self._retype(arg)
        for op in list(block.ops):
            if isinstance(op, OnnxOp):
                self._lower(op)
            else:
                self._keep(op)
        for op in reversed(list(block.ops)):
            if isinstance(op, OnnxOp):
                op.detach()
                op.erase()

    def _retype(self, value: SSAValue) -> None:
        bare = _bare(value.type)
        if bare != value.type:
            element = self.tensor(value).element
            new = Rewriter.replace_value_with_new_type(value, bare)
            self.tensors[new] = Tensor(new, element)

    def _keep(self, op: Operation) -> None:
        for i, operand in enumerate(op.operands):
            if operand in self.tensors:
                op.operands[i] = self.tensors[operand].value
        if isinstance(op, scf.ForOp | scf.IfOp):
            for region in op.regions:
                for block in region.blocks:
                    self._block(block)
        if isinstance(op, QuantizeOp):
            self._widen(op)
        for result in list(op.results):
            self._retype(result)

    def _widen(self, op: QuantizeOp) -> None:
        """Quantisers read f32, in which f16 and bf16 are exact."""
        loops = Loops(InsertPoint.before(op), self.constants, op.location)
        op.operands[0] = loops.cast(self.tensor(op.input), f32).value

    def _lower(self, op: OnnxOp) -> None:
        rule = self.rules.get(op.op_type)
        inputs = [None if value is None else self.tensor(value) for value in op.inputs]
        node = Node(op, inputs, self.constants)
        if rule is None:
            raise node.error("has no lowering to loops", "see `mxc ops` for what is supported")
        loops = Loops(InsertPoint.before(op), self.constants, op.location)
        lowered = rule(loops, node)
        results = [lowered] if isinstance(lowered, Tensor) else list(lowered)
        for output, result in zip(op.outputs, results, strict=False):
            if output is not None:
                assert result is not None, node.where
                self._bind(node, output, result)

    def _bind(self, node: Node, output: SSAValue, result: Tensor) -> None:
        kind = output.type
        assert isa(kind, TensorType)
        if result.shape != kind.get_shape() or signless(result.element) != signless(
            kind.element_type
        ):
            raise CannotLower(
                f"the lowering gives {result.value.type} where {kind} is declared", at=node.where
            )
        self.tensors[output] = Tensor(result.value, kind.element_type)


@dataclass(frozen=True)
class LowerToLinalgPass(ModulePass):
    """Lowers every ONNX operator to loops over whole tensors."""

    name = "lower-to-linalg"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for function in op.ops:
            if isinstance(function, FuncOp):
                _Lowering(ConstantTable.of(ctx)).run(function)
