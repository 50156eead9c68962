"""`mxc opt`: IR text in, passes, IR text out; the same three functions serve the tests."""

from collections.abc import Callable, Mapping
from io import StringIO

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.parser import Parser
from xdsl.passes import ModulePass, get_pass_option_infos
from xdsl.printer import Printer
from xdsl.utils.arg_spec import ArgSpec, parse_pipeline
from xdsl.utils.exceptions import ArgSpecParseError, ParseError, VerifyException

from mxc.errors import BadInput, unknown
from mxc.order import check_order


def parse(text: str, name: str = "<text>", ctx: Context | None = None) -> tuple[Context, ModuleOp]:
    """The module in `text`, verified, and its context; `name` is for messages.

    A `ctx` given brings its constants along; else the context is new and its table empty.

    Raises:
        ParseError, VerifyException: of xDSL, with position.
    """
    from mxc.dialects import new_context

    ctx = new_context() if ctx is None else ctx
    module = Parser(ctx, text, name).parse_module()
    verify(module)
    return ctx, module


def parse_input(text: str, name: str, ctx: Context) -> ModuleOp:
    """`parse` for text that a user wrote.

    Raises:
        BadInput: if the text is no module, or one that does not verify.
    """
    try:
        return parse(text, name, ctx)[1]
    except (ParseError, VerifyException) as error:
        raise BadInput(f"not a valid module: {error}", at=name) from error


def parse_passes(spec: str) -> tuple[ModulePass, ...]:
    """The passes of a comma-separated spec, `cse,mx-layout{policy=greedy}`, in order.

    Raises:
        BadInput: if the spec cannot be read, a pass or an option is unknown, or a value is wrong.
    """
    if not spec.strip():
        return ()
    from mxc.passes import PASSES

    try:
        specs = list(parse_pipeline(spec))
    except ArgSpecParseError as error:
        hint = "write 'pass{option=value},pass'"
        raise BadInput(f"cannot read the passes {spec!r}: {error}", hint=hint) from error
    return tuple(_pass(one, PASSES) for one in specs)


def _pass(spec: ArgSpec, known: Mapping[str, Callable[[], type[ModulePass]]]) -> ModulePass:
    if spec.name not in known:
        from mxc.backends import list_backends

        list_backends()  # loads vendors' passes
    if spec.name not in known:
        raise unknown("pass", spec.name, known)
    kind = known[spec.name]()
    names = {option.name.replace("_", "-") for option in get_pass_option_infos(kind)}
    for option in spec.parameters:
        if option.replace("_", "-") not in names:
            raise unknown(f"option of {spec.name}", option, names)
    try:
        return kind.from_pass_spec(spec)
    except ValueError as error:
        raise BadInput(f"pass {spec.name}: {error}") from error


def apply_passes(ctx: Context, module: ModuleOp, spec: str) -> None:
    """Runs the passes of `spec` on `module`, in place, verifying after each."""
    for one in parse_passes(spec):
        one.apply(ctx, module)
        verify(module)


def verify(module: ModuleOp) -> None:
    """Verifies every operation, and that values are defined where they are used.

    Raises:
        VerifyException: of xDSL.
    """
    module.verify()
    check_order(module)


def print_module(module: ModuleOp) -> str:
    """The text of `module`; constants are symbols, their values stay in the table."""
    stream = StringIO()
    Printer(stream).print_op(module)
    return stream.getvalue() + "\n"
