"""Small random problems: views of every kind, concatenations, several contracted axes, phases."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from random import Random

from mxc.passes.layout import transport
from mxc.passes.layout.problem import (
    Contraction,
    Emission,
    Operand,
    Prices,
    Problem,
    Read,
    Use,
    Value,
    View,
)

_SIZES = (16, 32, 48, 64, 96)
_EMISSIONS: tuple[Emission, ...] = ("all", "last", "none")


def random_problem(seed: int, *, joins: bool = True) -> Problem:
    """The problem of that seed; with a few values, so that brute force is possible.

    `joins = False` leaves concatenations out.
    """
    return _Generator(Random(seed), joins).problem(f"random {seed}")


class _Generator:
    """Makes up one problem."""

    def __init__(self, random: Random, joins: bool) -> None:
        self.random = random
        self.joins = joins
        self.values: list[Value] = []
        self.views: list[View] = []
        self.uses: list[Use] = []
        self.phases = random.choice((1, 1, 2))
        self.formats = random.choice((("mxfp8_e4m3",), ("mxint8",), ("mxfp8_e4m3", "mxfp4")))

    def problem(self, name: str) -> Problem:
        """Values, views of them, and ops that read them."""
        for _ in range(self.random.randint(1, 3)):
            self._produce()
        for _ in range(self.random.choice((0, 0, 1, 1, 2))):
            self._view()
        for index in range(self.random.randint(1, 3)):
            self._contract(index)
        for index in range(self.random.choice((0, 0, 1))):
            value = self.random.choice(self.values)
            phase = self.random.randint(value.phase, self.phases - 1)
            any_version = self.random.random() < 0.3
            self.uses.append(Read(f"read{index}", value.name, phase, any_version))
        self.random.shuffle(self.uses)
        prices = Prices(
            emit=self.random.choice(_EMISSIONS),
            tiles=self.random.random() < 0.8,
            requantize=self.random.random() < 0.8,
            noise=self.random.choice((Fraction(0), Fraction(1, 4), Fraction(1))),
            saved=self.random.choice((Fraction(0), Fraction(1, 2), Fraction(2))),
        )
        uses = tuple(sorted(self.uses, key=lambda use: use.phase))
        return Problem(tuple(self.values), tuple(self.views), uses, prices, name=name)

    def _produce(self) -> None:
        random = self.random
        shape = tuple(random.choice(_SIZES) for _ in range(random.choice((2, 2, 3))))
        kind = random.choice(("activation", "activation", "input", "parameter", "constant"))
        phase = random.randrange(self.phases) if kind == "activation" else 0
        square = len(shape) == 2 and shape[0] == shape[1]
        self.values.append(
            Value(
                f"v{len(self.values)}",
                shape,
                kind,
                phase,
                hp_bytes=random.choice((2, 4)),
                on_chip=kind == "activation" and random.random() < 0.1,
                symmetric=((0, 1),) if square and random.random() < 0.3 else (),
            )
        )

    def _view(self) -> None:
        source = self.random.choice(self.values)
        makers = [self._transpose, self._merge, self._slice, self._gather]
        if self.joins:
            makers += [self._concat, self._concat]
        self.random.choice(makers)(source)

    def _add(
        self, shape: Sequence[int], sources: Sequence[Value], maps: Sequence[transport.AxisMap],
        kind: str,
    ) -> None:  # fmt: skip
        name = f"v{len(self.values)}"
        phase = max(source.phase for source in sources)
        on_chip = kind == "alias" and sources[0].on_chip
        hp_bytes = sources[0].hp_bytes
        self.values.append(Value(name, tuple(shape), "activation", phase, hp_bytes, on_chip))
        inputs = tuple(source.name for source in sources)
        assert kind in ("alias", "free", "copy")
        self.views.append(View(name, inputs, tuple(maps), kind))

    def _transpose(self, source: Value) -> None:
        order = list(range(len(source.shape)))
        self.random.shuffle(order)
        shape = [source.shape[axis] for axis in order]
        self._add(shape, [source], [transport.transpose(order)], "alias")

    def _merge(self, source: Value) -> None:
        if len(source.shape) < 3:
            return
        shape = (source.shape[0] * source.shape[1], *source.shape[2:])
        self._add(shape, [source], [transport.reshape(source.shape, shape)], "alias")

    def _slice(self, source: Value) -> None:
        shape = source.shape
        axis = self.random.randrange(len(shape))
        size = shape[axis] - self.random.choice((0, 16, 32))
        if size <= 0:
            return
        starts, sizes = [0] * len(shape), list(shape)
        sizes[axis] = size
        axes = transport.slice_(shape, starts, sizes, [1] * len(shape))
        self._add(sizes, [source], [axes], "free")

    def _gather(self, source: Value) -> None:
        axis = self.random.randrange(len(source.shape))
        shape = list(source.shape)
        shape[axis] = self.random.choice(_SIZES)
        self._add(shape, [source], [transport.gather(len(shape), axis, 1)], "copy")

    def _concat(self, source: Value) -> None:
        partners = [v for v in self.values if len(v.shape) == len(source.shape)]
        axis = self.random.randrange(len(source.shape))
        partners = [
            v
            for v in partners
            if v.shape[:axis] + v.shape[axis + 1 :]
            == source.shape[:axis] + source.shape[axis + 1 :]
        ]
        parts = [source, self.random.choice(partners)]
        sizes = [part.shape[axis] for part in parts]
        shape = (*source.shape[:axis], sum(sizes), *source.shape[axis + 1 :])
        axes = transport.concat(sizes, len(shape), axis)
        self._add(shape, parts, [axes, axes], "copy")

    def _contract(self, index: int) -> None:
        left = self.random.choice(self.values)
        right = self.random.choice(self.values)
        pairs = [
            (i, j) for i, n in enumerate(left.shape) for j, m in enumerate(right.shape) if n == m
        ]
        phase = self.random.randint(max(left.phase, right.phase), self.phases - 1)
        if not pairs or self.random.random() < 0.3:
            axis = self.random.randrange(len(left.shape))
            operands = (Operand(left.name, (axis,), self._format()),)
        else:
            count = min(len(pairs), self.random.choice((1, 1, 2, 3)))
            chosen = self.random.sample(pairs, count)
            operands = (
                Operand(left.name, tuple(i for i, _ in chosen), self._format()),
                Operand(right.name, tuple(j for _, j in chosen), self._format()),
            )
        self.uses.append(Contraction(f"op{index}", operands, phase))

    def _format(self) -> str:
        return self.random.choice(self.formats)
