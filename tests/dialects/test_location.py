"""Node names in locations, through rewriting."""

from xdsl.dialects import test
from xdsl.dialects.builtin import ModuleOp, StringAttr
from xdsl.ir import Block, Operation, Region
from xdsl.pattern_rewriter import PatternRewriter, PatternRewriteWalker, RewritePattern

from mxc.dialects.location import CarryLocations, locate, node_names


def named(*names: str) -> test.TestOp:
    op = test.TestOp(attributes={"old": StringAttr("x")})
    op.location = locate(names)
    return op


def test_names_survive() -> None:
    assert node_names(named()) == ()
    assert node_names(named("a/b")) == ("a/b",)
    assert node_names(named("a", "b", "a")) == ("a", "b")


class Replace(RewritePattern):
    """Replaces marked operations by one with a nested one."""

    def match_and_rewrite(self, op: Operation, rewriter: PatternRewriter, /) -> None:
        if "old" in op.attributes:
            inner, own = test.TestOp(), named("mine")
            del own.attributes["old"]
            new = test.TestOp(regions=[Region(Block([inner, own]))])
            rewriter.replace(op, new)


def test_replaced_operations_keep_their_names() -> None:
    module = ModuleOp([named("a", "b")])
    PatternRewriteWalker(CarryLocations(Replace())).rewrite_module(module)
    outer, inner, own = [op for op in module.walk() if isinstance(op, test.TestOp)]
    assert node_names(outer) == node_names(inner) == ("a", "b")
    assert node_names(own) == ("mine",)


def test_without_the_wrapper_they_are_lost() -> None:
    module = ModuleOp([named("a")])
    PatternRewriteWalker(Replace()).rewrite_module(module)
    assert module.body.block.first_op is not None
    assert node_names(module.body.block.first_op) == ()
