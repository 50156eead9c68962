"""`bufferize`: tensors become buffers; every result gets a place in memory.

    %e = tensor.empty() : tensor<4xf32>
    %y = linalg.generic {...} ins(%x : ...) outs(%e : ...) {...} -> tensor<4xf32>
    func.return %y : tensor<4xf32>

becomes, in a function that is given the buffers of its results after those of its arguments,

    func.func @main(%x: memref<4xf32>, %out0: memref<4xf32>) {
      linalg.generic {...} ins(%x : memref<4xf32>) outs(%out0 : memref<4xf32>) {...}

Rules, in the order they are tried for a result:

* what the function returns, and what is inserted into a tensor that holds nothing else yet, is
  computed where it belongs (`_bufferize/destinations.py`);
* an operation that updates a tensor (`outs` that its body reads, the destination of an insertion,
  what a loop carries) does so in place if nothing reads the old value later, else in a copy;
* an elementwise operation overwrites an operand of the same size that nothing reads later;
* everything else gets a new buffer.

Reshapes, slices and transpositions are views (`memref.reinterpret_cast` of a whole buffer) where
strides can say it, else copies. A tensor of blocks is two buffers: codes and scales. What is
returned and is an argument, a constant or another result is copied.

Precondition: the loops level, one function, static shapes. Exact: random modules run before and
after in `tests/backends/npu/test_random.py`, the cases that are easily got wrong in
`tests/passes/test_bufferize.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import MemRefType, ModuleOp, TensorType
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Attribute, Block, SSAValue
from xdsl.passes import ModulePass
from xdsl.utils.hints import isa

from mxc.dialects.mx import block_of
from mxc.errors import CannotLower
from mxc.passes._bufferize import blocks, tensors
from mxc.passes._bufferize.builder import Bufferizer
from mxc.passes._bufferize.views import View

RULES = (blocks, tensors)
"""The modules that hold the rules; importing them registers the rules."""


@dataclass(frozen=True)
class BufferizePass(ModulePass):
    """Tensors become buffers; every result gets a place in memory."""

    name = "bufferize"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for function in list(op.ops):
            if not isinstance(function, FuncOp):
                raise CannotLower(f"{function.name} beside the function", at="bufferize")
            bufferize(function)


def bufferize(function: FuncOp) -> None:
    """Rewrites `function` from tensors to buffers."""
    old = function.body.block
    last = old.last_op
    assert isinstance(last, ReturnOp)
    results = list(last.arguments)
    block = Block(arg_types=[_memref(value) for value in (*old.args, *results)])
    builder = Bufferizer(block, function.body)
    for argument, new in zip(old.args, block.args, strict=False):
        new.name_hint = argument.name_hint
        builder.bind(argument, (View.whole(new),))
    outputs = [View.whole(value) for value in block.args[len(old.args) :]]
    for index, output in enumerate(outputs):
        output.base.name_hint = f"out{index}"
    builder.function(old, results, outputs)
    for op in reversed(list(old.ops)):
        op.detach()
        op.erase(safe_erase=False)
    function.body.detach_block(old)
    function.body.add_block(block)
    function.update_function_type()


def _memref(value: SSAValue) -> MemRefType[Attribute]:
    if not isa(value.type, TensorType) or block_of(value.type) is not None:
        raise CannotLower(f"a value of type {value.type} enters or leaves a function")
    return MemRefType(value.type.element_type, value.type.get_shape())
