"""The pipeline as data: which passes run, in which order, and why there.

A step is a pass spec in which `$name` stands for an option of the compilation. Between stages lie
named slots, where vendors and researchers put passes of their own. The driver verifies the module
at the end of each stage.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from string import Template

EXACT = "exact"
ROUNDING = "rounding"
QUANTISING = "quantising"
"""How a pass may change results: not by a bit; by float rounding; by quantisation it introduces."""


@dataclass(frozen=True)
class Step:
    """One pass with its options, and the reason for its place."""

    spec: str
    reason: str
    changes: str = EXACT
    """`EXACT`, `ROUNDING` or `QUANTISING`: what `mxc verify --each-pass` holds the pass to."""

    @property
    def name(self) -> str:
        """The name of the pass, without options."""
        return self.spec.partition("{")[0]

    def filled(self, options: Mapping[str, str]) -> Step:
        """The step with `$name` replaced by `options[name]`."""
        return Step(Template(self.spec).substitute(options), self.reason, self.changes)


@dataclass(frozen=True)
class Stage:
    """Steps that take a module from one level of the IR to the next."""

    name: str
    level: str
    """The level of the IR at the end: graph, mx, loops or machine."""

    steps: tuple[Step, ...]
    slot: str = ""
    """The name of the slot that follows the stage, if there is one."""


STAGES = (
    Stage(
        "import",
        "graph",
        (
            Step("raise-mx", "before constants fold: blocks that are ONNX's own stay blocks"),
            Step("canonicalize", "what the exporter left behind, so that patterns see through"),
            Step("fold-constants", "what canonicalize made constant need not run"),
            Step("cse", "equal subgraphs are quantised once, not twice"),
            Step("dce", "what nothing uses must not be quantised"),
        ),
        slot="after-import",
    ),
    Stage(
        "quantize",
        "mx",
        (
            Step("decompose", "the contractions inside attention, LSTM ... must show", ROUNDING),
            Step(
                'mx-quantize{weights="$weights" activations="$activations" '
                'scale-rule="$scale_rule" config="$config"}',
                "by policy, before any choice of blocks",
                ROUNDING,
            ),
        ),
        slot="after-quantize",
    ),
    Stage(
        "layout",
        "mx",
        (
            Step(
                'mx-layout{policy="$layout" emit="$emit" block=$block}',
                "sees all contractions at once",
                QUANTISING,
            ),
            Step("mx-fuse-scales", "conversions that change nothing, now that all are there"),
        ),
        slot="after-layout",
    ),
    Stage(
        "lower",
        "loops",
        (
            Step("lower-to-linalg", "every value is now known with its type and layout", ROUNDING),
            Step(
                'mx-legalize{backend="$backend" block-contract="$block_contract" '
                'float-contract="$float_contract"}',
                "types and contracts are final; loops that it writes are fused below",
                ROUNDING,
            ),
            Step("expand-math", "exp, erf ... as exact operations, before fusion", ROUNDING),
            Step("fuse-elementwise", "no value is stored that its only consumer could compute"),
        ),
        slot="after-lowering",
    ),
    Stage(
        "machine",
        "machine",
        (
            Step("bufferize", "tensors become buffers, views become offsets"),
            Step('place{target="$target"}', "what stays in the scratchpad is not moved in tiles"),
            Step('tile{target="$target"}', "adds buffers and transfers, whole operations known"),
            Step("plan-memory", "lifetimes are final: addresses in one arena"),
            Step('schedule{target="$target"}', "addresses say which commands may overlap"),
        ),
        slot="after-tiling",
    ),
)
"""The pipeline of every target, in order."""


def steps(stages: tuple[Stage, ...] = STAGES) -> Iterator[tuple[Stage, Step]]:
    """Every step with its stage, in order."""
    for stage in stages:
        for step in stage.steps:
            yield stage, step


SLOTS = tuple(stage.slot for stage in STAGES if stage.slot)
"""The slots, in order."""


def with_slots(stages: Sequence[Stage], passes: Mapping[str, Sequence[Step]]) -> tuple[Stage, ...]:
    """`stages`, and behind each the steps that `passes` has for its slot, as a stage of its own."""
    result: list[Stage] = []
    for stage in stages:
        result.append(stage)
        if steps := passes.get(stage.slot):
            result.append(Stage(stage.slot, stage.level, tuple(steps)))
    return tuple(result)
