"""`mxc opt`: IR text in, passes, IR text out; the same three functions serve the tests."""

from io import StringIO

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.parser import Parser
from xdsl.passes import ModulePass, PassPipeline
from xdsl.printer import Printer


def parse(text: str, name: str = "<text>", ctx: Context | None = None) -> tuple[Context, ModuleOp]:
    """The module in `text`, verified, and its context; `name` is for messages.

    A `ctx` given brings its constants along; else the context is new and its table empty.

    Raises:
        ParseError, VerifyException: of xDSL, with position.
    """
    from mxc.dialects import new_context

    ctx = new_context() if ctx is None else ctx
    module = Parser(ctx, text, name).parse_module()
    module.verify()
    return ctx, module


def parse_passes(spec: str) -> tuple[ModulePass, ...]:
    """The passes of a comma-separated spec, `cse,mx-layout{policy=greedy}`, in order.

    Raises:
        MxcError: if one is unknown, or an option is.
    """
    from mxc.passes import PASSES

    return PassPipeline.parse_spec(PASSES, spec).passes


def apply_passes(ctx: Context, module: ModuleOp, spec: str) -> None:
    """Runs the passes of `spec` on `module`, in place, verifying after each."""
    for one in parse_passes(spec):
        one.apply(ctx, module)
        module.verify()


def print_module(module: ModuleOp) -> str:
    """The text of `module`; constants are symbols, their values stay in the table."""
    stream = StringIO()
    Printer(stream).print_op(module)
    return stream.getvalue() + "\n"
