"""What a compilation is asked for, and the pipeline that follows from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mxc.backends import load_backend
from mxc.backends.base import Backend
from mxc.errors import BackendError, BadInput, unknown
from mxc.numerics import default_recipe, format_of, known_contracts, takes_floats
from mxc.passes._formats import compiled_format
from mxc.passes.pipelines import STAGES, Stage
from mxc.targets import Target
from mxc.vendors import description_of, find_target, with_vendor_passes

FLOAT_TYPES = ("f32",)
"""What `--float` can be: the type of everything that is not block-scaled."""


@dataclass(frozen=True)
class Options:
    """What a compilation is asked for; the command line has one option for each."""

    target: str = "npu"
    """A shipped target, a vendor's, or a `.toml` file."""

    format: str = "mxfp8"
    """Format of weights and activations; `f32` quantises nothing."""

    weights: str | None = None
    """Format of weights, if not `format`."""

    activations: str | None = None
    """Format of activations, if not `format`."""

    scale_rule: str | None = None
    """How scales are chosen, if not the default of the format."""

    float_type: str = "f32"
    layout: str = "exact"
    config: Path | None = None
    """A file of rules that override formats for single nodes."""

    opset: int | None = None
    """The ONNX to write, for a target that writes ONNX; None: the newest it can."""

    dims: Mapping[str, int] = field(default_factory=dict[str, int])
    """Sizes of symbolic dimensions."""

    values: Mapping[str, str] = field(default_factory=dict[str, str])
    """Inputs bound to constants."""

    input_shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict[str, tuple[int, ...]])
    """Shapes of inputs whose dimensions are not pinned: those of the arrays given."""


def pipeline(options: Options) -> tuple[Stage, ...]:
    """The stages for `options`, with every pass option filled in.

    Raises:
        BadInput: if an option names a format, rule, policy or target that does not exist.
    """
    target = find_target(options.target)
    filled = _pass_options(options, target)
    stages = tuple(
        Stage(stage.name, stage.level, tuple(s.filled(filled) for s in stage.steps), stage.slot)
        for stage in STAGES
    )
    return _down_to(_backend(options, target).level, with_vendor_passes(stages, target))


def _down_to(level: str, stages: tuple[Stage, ...]) -> tuple[Stage, ...]:
    """`stages` up to the last that ends at `level`.

    Raises:
        BackendError: if there is none.
    """
    levels = [stage.level for stage in stages]
    if level not in levels:
        raise BackendError(f"a backend takes no level of the IR: {level!r}")
    return stages[: len(levels) - levels[::-1].index(level)]


def _backend(options: Options, target: Target) -> Backend:
    """The backend of `target`, with its options.

    Raises:
        BadInput: if the backend has no such option, or needs a machine that `target` has not.
    """
    backend = load_backend(target.backend)
    if backend.level == "machine" and not target.has_machine:
        raise BadInput(
            f"target {target.name!r} describes no machine", hint="give it clock_mhz, ..."
        )
    return backend if options.opset is None else backend.with_opset(options.opset)


def _pass_options(options: Options, target: Target) -> dict[str, str]:
    if options.float_type not in FLOAT_TYPES:
        raise unknown("float type", options.float_type, FLOAT_TYPES)
    rules = target.numerics.scale_rules
    if options.scale_rule is not None and options.scale_rule not in rules:
        raise unknown(f"scale rule of target {target.name!r}:", options.scale_rule, rules)
    load_backend(target.backend)  # registers its contracts
    _check_matrix(target)
    formats = [_format(x or options.format, target) for x in (options.weights, options.activations)]
    return {
        "weights": formats[0],
        "activations": formats[1],
        "scale_rule": options.scale_rule or _default_rule(formats, target),
        "backend": target.backend,
        "block": str(target.numerics.block),
        "block_contract": target.matrix.block_contract,
        "float_contract": target.matrix.float_contract,
        "config": str(options.config or ""),
        "layout": options.layout,
        "emit": target.layout.emit,
        "target": description_of(options.target),
    }


def _check_matrix(target: Target) -> None:
    """Refuses dot contracts that nobody knows."""
    contract, known = target.matrix.block_contract, known_contracts()
    if contract not in known or takes_floats(contract):
        blocks = [name for name in known if not takes_floats(name)]
        raise unknown("dot contract of blocks", contract, blocks).within(target.name)


def _default_rule(formats: Sequence[str], target: Target) -> str:
    """Each format's own rule, if the target has it; else the first rule that the target has."""
    rules = target.numerics.scale_rules
    own = [default_recipe(format_of(one)).scale_rule for one in formats if one != "f32"]
    return "default" if all(rule in rules for rule in own) else rules[0]


def _format(name: str, target: Target) -> str:
    """The full name of the format `name`, which `target` must have; all have f32."""
    full = compiled_format(name)
    known = [*target.numerics.formats, *target.numerics.float_formats]
    if full != "f32" and full not in known:
        hint = f"it has {', '.join(known)}"
        raise BadInput(f"target {target.name!r} has no format {full!r}", hint=hint)
    return full
