"""The arguments of every command. Imports nothing heavy: `mxc --help` answers at once."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from mxc import __version__
from mxc.errors import BadInput, unknown

DESCRIPTION = "Compile ONNX models to C for NPUs with microscaling (MX) arithmetic."


class _Parser(argparse.ArgumentParser):
    """An argument parser whose errors are those of mxc."""

    def error(self, message: str) -> NoReturn:
        raise BadInput(message, hint=f"see `{self.prog} --help`")


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The parsed command line; `.run` is the command, to be called with the namespace.

    Raises:
        BadInput: if the command line is wrong.
    """
    parser = _Parser(prog="mxc", description=DESCRIPTION, allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"mxc {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=_Parser)
    for add in (
        _compile,
        _run,
        _verify,
        _layout,
        _opt,
        _targets,
        _formats,
        _ops,
        _passes,
        _conformance,
    ):
        add(commands)
    if arguments and not arguments[0].startswith("-") and arguments[0] not in commands.choices:
        raise unknown("command", arguments[0], commands.choices)
    return parser.parse_args(arguments)


def _command(commands: Any, name: str, help: str) -> argparse.ArgumentParser:
    """A new command; what it does is the function `name` of `mxc.cli.commands`, loaded late."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=help, description=f"{help[0].upper()}{help[1:]}.", allow_abbrev=False
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout")
    parser.set_defaults(run=_late(name))
    return parser


def _late(name: str) -> Callable[[argparse.Namespace], int]:
    def run(args: argparse.Namespace) -> int:
        status: int = getattr(import_module("mxc.cli.commands"), f"{name}_command")(args)
        return status

    return run


def _compile(commands: Any) -> None:
    parser = _command(commands, "compile", "compile a model to C, or to quantised ONNX")
    parser.add_argument("model", type=Path, metavar="MODEL.onnx")
    parser.add_argument(
        "-o", "--output", type=Path, metavar="DIR", help="default: MODEL-TARGET in this folder"
    )
    _target(parser)
    _compilation(parser)
    parser.add_argument(
        "--opset", type=int, metavar="N", help="ONNX that --target onnx writes: 28 (default) or 24"
    )
    parser.add_argument(
        "--stop-after",
        metavar="PASS",
        help="stop there and print the IR, to stdout, or to the file that -o names with its "
        "constants beside it, as .npz",
    )


def _run(commands: Any) -> None:
    parser = _command(commands, "run", "run a model, or a folder that `mxc compile` wrote")
    parser.add_argument("model", type=Path, metavar="MODEL.onnx|DIR")
    _target(parser)
    _compilation(parser)
    _inputs(parser)
    parser.add_argument("--outputs", type=Path, metavar="OUT.npz", help="write the outputs there")


def _verify(commands: Any) -> None:
    parser = _command(
        commands, "verify", "compare the emitted C with the interpreter and with onnxruntime"
    )
    parser.add_argument("model", type=Path, metavar="MODEL.onnx")
    _target(parser)
    _compilation(parser)
    _inputs(parser)
    parser.add_argument(
        "--each-pass",
        action="store_true",
        help="run the interpreter after every pass and name the first that changes results",
    )


def _layout(commands: Any) -> None:
    parser = _command(commands, "layout", "plan which blocks each tensor has, and say why")
    parser.add_argument("model", type=Path, metavar="MODEL.onnx")
    _target(parser)
    parser.add_argument(
        "--policy", default="all", metavar="NAME", help="exact, dual, greedy, rule, naive or all"
    )
    parser.add_argument(
        "--emit", metavar="E", help="what producers can write: all, last or none; default: target's"
    )
    parser.add_argument("--noise-price", default="1", metavar="P", help="bytes per element of it")
    parser.add_argument("--noise-budget", metavar="N", help="most excess noise, in elements")
    parser.add_argument(
        "--saved-bytes-budget", type=int, metavar="N", help="most bytes kept for the backward pass"
    )
    parser.add_argument("--explain", metavar="VALUE", help="versions of VALUE and what others cost")
    parser.add_argument("--certify", action="store_true", help="prove the plan optimal; the gap")
    parser.add_argument("--check", type=Path, metavar="PLAN.json", help="check a stored plan")
    parser.add_argument("--plan", type=Path, metavar="PLAN.json", help="store the plan there")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write two plans side by side")
    parser.add_argument("--dot", type=Path, metavar="FILE", help="write the graph, for dot")
    _numbers(parser)


def _opt(commands: Any) -> None:
    parser = _command(commands, "opt", "run passes on IR text and print the result")
    parser.add_argument("file", type=Path, metavar="FILE.mlir", help="`-` for stdin")
    parser.add_argument("-p", "--passes", default="", metavar="'PASS{OPTION=VALUE},PASS'")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="default: stdout")
    parser.add_argument(
        "--constants",
        type=Path,
        metavar="FILE.npz",
        help="the constants of FILE.mlir; those of the result are written beside -o, as .npz",
    )


def _targets(commands: Any) -> None:
    _command(commands, "targets", "list the targets")


def _formats(commands: Any) -> None:
    parser = _command(commands, "formats", "list the number formats, or follow a value through one")
    parser.add_argument("--explain", metavar="VALUE", help="its code and scale, and back")
    parser.add_argument("--format", metavar="F", help="of --explain; default: mxfp8")
    parser.add_argument("--scale-rule", metavar="R", help="rceil, even, floor or ceil")


def _ops(commands: Any) -> None:
    _command(commands, "ops", "list the ONNX operators and what becomes of each")


def _passes(commands: Any) -> None:
    _command(commands, "passes", "list the passes, in the order of the pipeline")


def _conformance(commands: Any) -> None:
    parser = _command(
        commands, "conformance", "run conformance checks on a target: its own or ONNX tests"
    )
    _target(parser)
    parser.add_argument(
        "--suite",
        default="vendor",
        metavar="S",
        help="vendor (default): op by op and small models, bit for bit with the interpreter; onnx: "
        "the node tests of the onnx package; or a folder of tests in ONNX's format",
    )
    parser.add_argument(
        "--names",
        type=Path,
        metavar="FILE",
        help="only these: a JSON list, or one a line; for the vendor suite, beginnings of names",
    )
    parser.add_argument(
        "--jobs", type=int, default=1, metavar="N", help="processes, for ONNX tests; default: 1"
    )
    parser.add_argument("--report", type=Path, metavar="FILE.md", help="write a page to publish")


def _target(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--target", default="npu", metavar="T", help="a target or a .toml file; default: npu"
    )


def _inputs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--inputs",
        type=Path,
        metavar="IN.npz",
        help="arrays by input name; default: seeded random data, N(0, 1) or integers 0 and 1",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the random data; default: 0")


def _compilation(parser: argparse.ArgumentParser) -> None:
    """The options of a compilation; those not given keep the defaults of `mxc.driver.Options`."""
    _numbers(parser).add_argument(
        "--layout", metavar="POLICY", help="exact (default), dual, greedy, rule or naive"
    )


def _numbers(parser: argparse.ArgumentParser) -> Any:
    """The options that say what the numbers of a model become, and its sizes."""
    group = parser.add_argument_group("compilation")
    group.add_argument("--format", metavar="F", help="of weights and activations; default: mxfp8")
    group.add_argument("--weights", metavar="F", help="format of weights, if another")
    group.add_argument("--activations", metavar="F", help="format of activations, if another")
    group.add_argument("--scale-rule", metavar="R", help="rceil, even, floor or ceil")
    group.add_argument("--float", dest="float_type", metavar="F", help="the rest; default: f32")
    group.add_argument(
        "--input-dim", action="append", default=[], metavar="NAME=N", help="size of a dimension"
    )
    group.add_argument(
        "--input-value", action="append", default=[], metavar="NAME=V", help="binds an input"
    )
    group.add_argument("--config", type=Path, metavar="RULES.toml", help="formats per node")
    return group
