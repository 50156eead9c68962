"""How each ONNX operator becomes loops: one file per family, one registration per operator.

    @lowers("Relu")
    def relu(loops: Loops, node: Node) -> Tensor:
        return loops.map(lambda k, x: k.where(x <= 0.0, 0.0, x), node.tensor(0))

`RULES` is the table that `lower-to-linalg` uses, and what `mxc ops` prints.
"""

from mxc.passes.lowering.registry import RULES, Node, load_rules, lowers

__all__ = ["RULES", "Node", "load_rules", "lowers"]
