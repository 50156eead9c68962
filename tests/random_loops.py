"""Random modules of the loops level, as text, for tests that compare ways to run them."""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np

RECIPE = "#mx.recipe<rceil, special = nan, tie = even, min_scale_byte = 0>"
SIZES = (1, 2, 3, 4, 5, 8, 33)


@dataclass(frozen=True)
class Tensor:
    name: str
    shape: tuple[int, ...]
    element: str = "f32"

    @property
    def type(self) -> str:
        return f"tensor<{''.join(f'{n}x' for n in self.shape)}{self.element}>"


class Writer:
    """Writes one function, operation by operation; every value may be used again later."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.lines: list[str] = []
        self.indent = 1
        self.pool: list[Tensor] = []
        self.count = 0

    def line(self, text: str) -> None:
        self.lines.append("  " * self.indent + text)

    def fresh(self) -> str:
        self.count += 1
        return f"%v{self.count}"

    def keep(self, shape: tuple[int, ...], element: str = "f32") -> Tensor:
        tensor = Tensor(self.fresh(), shape, element)
        self.pool.append(tensor)
        return tensor

    def pick(self, *, rank: int | None = None, element: str = "f32") -> Tensor:
        """A value of the pool, recent ones more often; a new constant fill if none fits."""
        fits = [t for t in self.pool if t.element == element and rank in (None, len(t.shape))]
        if not fits:
            return self.fill(self.shape(rank), element)
        return fits[-1 - min(int(self.random.expovariate(0.5)), len(fits) - 1)]

    def shape(self, rank: int | None = None) -> tuple[int, ...]:
        rank = self.random.choice((0, 1, 2, 2, 3)) if rank is None else rank
        return tuple(self.random.choice(SIZES) for _ in range(rank))

    def scalar(self, element: str) -> str:
        name = self.fresh()
        low = -100 if element != "i1" else 0
        value = (
            f"{self.random.gauss(0, 2):.6e}" if element == "f32" else self.random.randint(low, 1)
        )
        self.line(f"{name} = arith.constant {value} : {element}")
        return name

    def empty(self, shape: tuple[int, ...], element: str = "f32") -> Tensor:
        tensor = Tensor(self.fresh(), shape, element)
        self.line(f"{tensor.name} = tensor.empty() : {tensor.type}")
        return tensor

    def fill(self, shape: tuple[int, ...], element: str = "f32") -> Tensor:
        scalar, out = self.scalar(element), self.empty(shape, element)
        tensor = self.keep(shape, element)
        self.line(
            f"{tensor.name} = linalg.fill ins({scalar} : {element}) outs({out.name} : {out.type})"
            f" -> {tensor.type}"
        )
        return tensor

    def init(self, shape: tuple[int, ...]) -> Tensor:
        """Something to update: a fill, or a value that is there already."""
        fits = [t for t in self.pool if t.shape == shape and t.element == "f32"]
        if fits and self.random.random() < 0.5:
            return self.random.choice(fits)
        return self.fill(shape)

    def generic(
        self, inputs: list[tuple[Tensor, str]], out: tuple[Tensor, str], kinds: str, body: list[str]
    ) -> Tensor:
        """A linalg.generic; `kinds` is a letter per loop, p or r; inputs are %a0, %a1, ..."""
        dims = ", ".join(f"d{i}" for i in range(len(kinds)))
        maps = ", ".join(f"affine_map<({dims}) -> ({m})>" for _, m in [*inputs, out])
        iterators = ", ".join('"parallel"' if k == "p" else '"reduction"' for k in kinds)
        result = self.keep(out[0].shape, out[0].element)
        ins = ""
        if inputs:
            names = ", ".join(t.name for t, _ in inputs)
            ins = f" ins({names} : {', '.join(t.type for t, _ in inputs)})"
        self.line(
            f"{result.name} = linalg.generic {{indexing_maps = [{maps}], "
            f"iterator_types = [{iterators}]}}{ins} outs({out[0].name} : {out[0].type}) {{"
        )
        arguments = [f"%a{i}: {t.element}" for i, (t, _) in enumerate(inputs)]
        self.line(f"^bb0({', '.join([*arguments, f'%o: {out[0].element}'])}):")
        for text in body:
            self.line("  " + text)
        self.line(f"}} -> {result.type}")
        return result


def dims(rank: int) -> str:
    return ", ".join(f"d{i}" for i in range(rank))


def elementwise(w: Writer) -> None:
    x = w.pick()
    rank = len(x.shape)
    others = [t for t in w.pool if t.shape == x.shape and t.element == "f32"]
    y = w.random.choice(others)
    update = w.random.random() < 0.3
    out = w.init(x.shape) if update else w.empty(x.shape)
    op = w.random.choice(("addf", "mulf", "subf", "divf"))
    last = "%o" if update else "%a1"
    body = [
        f"%s = arith.{op} %a0, %a1 : f32",
        f"%c = arith.cmpf {w.random.choice(('olt', 'oge', 'une', 'one'))}, %s, {last} : f32",
        f"%r = arith.select %c, %s, {last} : f32",
        "linalg.yield %r : f32",
    ]
    w.generic([(x, dims(rank)), (y, dims(rank))], (out, dims(rank)), "p" * rank, body)


def integers(w: Writer) -> None:
    x = w.pick()
    rank = len(x.shape)
    body = [
        "%b = arith.bitcast %a0 : f32 to i32",
        "%k = arith.constant 7 : i32",
        "%n = arith.muli %b, %b : i32",
        "%q = arith.divsi %n, %k : i32",
        "%h = arith.shrsi %b, %k : i32",
        "%z = math.ctlz %h : i32",
        "%x = arith.xori %q, %z : i32",
        "%t = arith.trunci %x : i32 to i8",
        "%e = arith.extsi %t : i8 to i32",
        "%f = arith.sitofp %e : i32 to f32",
        "%g = arith.truncf %f : f32 to bf16",
        "%l = arith.extf %g : bf16 to f32",
        "%m = arith.truncf %a0 : f32 to f16",
        "%p = arith.extf %m : f16 to f32",
        "%r = arith.addf %l, %p : f32",
        "linalg.yield %r : f32",
    ]
    w.generic([(x, dims(rank))], (w.empty(x.shape), dims(rank)), "p" * rank, body)


def transpose(w: Writer) -> None:
    x = w.pick()
    rank = len(x.shape)
    order = list(range(rank))
    w.random.shuffle(order)
    shape = [0] * rank
    for axis, dim in enumerate(order):
        shape[dim] = x.shape[axis]
    body = ["%r = arith.addf %a0, %a0 : f32", "linalg.yield %r : f32"]
    index = ", ".join(f"d{d}" for d in order)
    w.generic([(x, index)], (w.empty(tuple(shape)), dims(rank)), "p" * rank, body)


def broadcast(w: Writer) -> None:
    x = w.pick(rank=2)
    row = w.fill((x.shape[1],))
    out = w.empty((x.shape[1], x.shape[0]))
    body = ["%r = arith.subf %a0, %a1 : f32", "linalg.yield %r : f32"]
    w.generic([(x, "d0, d1"), (row, "d1")], (out, "d1, d0"), "pp", body)


def reduce(w: Writer) -> None:
    x = w.pick(rank=w.random.choice((1, 2, 3)))
    kinds = "".join(w.random.choice("pr") for _ in x.shape)
    kept = [i for i, k in enumerate(kinds) if k == "p"]
    out = w.init(tuple(x.shape[i] for i in kept))
    body = ["%r = arith.addf %o, %a0 : f32", "linalg.yield %r : f32"]
    index = ", ".join(f"d{i}" for i in kept)
    w.generic([(x, dims(len(x.shape)))], (out, index), kinds, body)


def window(w: Writer) -> None:
    """Sums of a moving window; the window's size is given by an operand nothing reads."""
    x = w.pick(rank=1)
    k = w.random.randint(1, x.shape[0])
    size, out = w.empty((k,)), w.fill((x.shape[0] - k + 1,))
    body = ["%r = arith.addf %o, %a0 : f32", "linalg.yield %r : f32"]
    w.generic([(x, "d0 + d1"), (size, "d1")], (out, "d0"), "pr", body)


def divided(w: Writer) -> None:
    x = w.pick(rank=1)
    n = 3 * x.shape[0]
    index = "%i = linalg.index 0 : index"
    body = [index, "%j = arith.index_cast %i : index to i32", "%k = arith.sitofp %j : i32 to f32",
            "%s = arith.mulf %k, %a0 : f32", "%r = arith.addf %s, %a1 : f32",
            "linalg.yield %r : f32"]  # fmt: skip
    out = w.empty((n,))
    w.generic([(x, "d0 floordiv 3"), (x, f"d0 mod {x.shape[0]}")], (out, "d0"), "p", body)


def gather(w: Writer) -> None:
    x = w.pick(rank=2)
    rows, columns = x.shape
    body = [
        "%i = linalg.index 0 : index",
        "%j = linalg.index 1 : index",
        f"%n = arith.constant {rows} : index",
        "%s = arith.addi %i, %j : index",
        "%t = arith.remui %s, %n : index",
        f"%r = tensor.extract {x.name}[%t, %j] : {x.type}",
        "linalg.yield %r : f32",
    ]
    w.generic([], (w.empty((rows, columns)), "d0, d1"), "pp", body)


def reshape(w: Writer) -> None:
    x = w.pick(rank=2)
    a, b = x.shape
    flat = w.keep((a * b,))
    w.line(
        f"{flat.name} = tensor.collapse_shape {x.name} [[0 : i64, 1 : i64]] : {x.type} "
        f"into {flat.type}"
    )
    if w.random.random() < 0.5:
        again = w.keep((b, a))
        w.line(
            f"{again.name} = tensor.expand_shape {flat.name} [[0 : i64, 1 : i64]] "
            f"output_shape [{b}, {a}] : {flat.type} into {again.type}"
        )


def _slice(w: Writer, shape: tuple[int, ...]) -> tuple[str, tuple[int, ...]]:
    sizes = tuple(w.random.randint(1, n) for n in shape)
    offsets = [w.random.randint(0, n - s) for n, s in zip(shape, sizes, strict=True)]
    text = f"[{', '.join(map(str, offsets))}] [{', '.join(map(str, sizes))}]"
    return f"{text} [{', '.join('1' for _ in shape)}]", sizes


def extract(w: Writer) -> None:
    x = w.pick(rank=2)
    where, sizes = _slice(w, x.shape)
    part = w.keep(sizes)
    w.line(f"{part.name} = tensor.extract_slice {x.name}{where} : {x.type} to {part.type}")


def insert(w: Writer) -> None:
    x = w.pick(rank=2)
    where, sizes = _slice(w, x.shape)
    parts = [t for t in w.pool if t.shape == sizes and t.element == "f32"]
    part = w.random.choice(parts) if parts else w.fill(sizes)
    new = w.keep(x.shape)
    w.line(
        f"{new.name} = tensor.insert_slice {part.name} into {x.name}{where} : "
        f"{part.type} into {x.type}"
    )


def concat(w: Writer) -> None:
    """Rows of two values side by side, in a tensor that is empty or constant."""
    x = w.pick(rank=2)
    rest = [
        t for t in w.pool if len(t.shape) == 2 and t.shape[1] == x.shape[1] and t.element == "f32"
    ]
    y = w.random.choice(rest)
    rows = x.shape[0] + y.shape[0]
    shape = (rows, x.shape[1])
    padded = w.random.random() < 0.5
    dest = w.fill((rows + 1, x.shape[1])) if padded else w.empty(shape)
    for t, start in ((x, 0), (y, x.shape[0])):
        new = w.keep(dest.shape)
        w.line(
            f"{new.name} = tensor.insert_slice {t.name} into {dest.name}[{start}, 0] "
            f"[{t.shape[0]}, {t.shape[1]}] [1, 1] : {t.type} into {dest.type}"
        )
        if not padded and start == 0:
            w.pool.remove(new)  # half of it is undefined
        dest = new


def loop(w: Writer) -> None:
    """A loop that carries two tensors, updates rows in place, swaps, or replaces them."""
    x = w.pick(rank=2)
    y = w.init((x.shape[1],))
    low, high, step = w.fresh(), w.fresh(), w.fresh()
    for name, value in ((low, 0), (high, x.shape[0]), (step, 1)):
        w.line(f"{name} = arith.constant {value} : index")
    a, b = w.keep(x.shape), w.keep(y.shape)
    pair, row = w.fresh(), f"tensor<1x{x.shape[1]}xf32>"
    w.line(
        f"{pair}:2 = scf.for %i = {low} to {high} step {step} iter_args(%p = {x.name}, "
        f"%q = {y.name}) -> ({x.type}, {y.type}) {{"
    )
    w.indent += 1
    w.line(f"%row = tensor.extract_slice %p[%i, 0] [1, {x.shape[1]}] [1, 1] : {x.type} to {row}")
    saved, w.pool = w.pool, [Tensor("%q", y.shape), Tensor("%row", (1, x.shape[1]))]
    flat = Tensor(w.fresh(), y.shape)
    w.line(
        f"{flat.name} = tensor.collapse_shape %row [[0 : i64, 1 : i64]] : {row} into {flat.type}"
    )
    out = w.empty(y.shape) if w.random.random() < 0.5 else Tensor("%q", y.shape)
    body = ["%r = arith.addf %a0, %a1 : f32", "linalg.yield %r : f32"]
    new = w.generic([(flat, "d0"), (Tensor("%q", y.shape), "d0")], (out, "d0"), "p", body)
    grown = w.fresh()
    w.line(
        f"{grown} = tensor.expand_shape {new.name} [[0 : i64, 1 : i64]] "
        f"output_shape [1, {x.shape[1]}] : {new.type} into {row}"
    )
    updated = w.fresh()
    w.line(
        f"{updated} = tensor.insert_slice {grown} into %p[%i, 0] [1, {x.shape[1]}] [1, 1] : "
        f"{row} into {x.type}"
    )
    w.line(
        f"scf.yield {updated}, {w.random.choice((new.name, '%q', flat.name))} : {x.type}, {y.type}"
    )
    w.indent -= 1
    w.line("}")
    w.pool = saved
    identity = ["linalg.yield %a0 : f32"]
    for number, result in enumerate((a, b)):
        w.pool.remove(result)
        source = Tensor(f"{pair}#{number}", result.shape)
        rank = len(result.shape)
        w.generic([(source, dims(rank))], (w.empty(result.shape), dims(rank)), "p" * rank, identity)


def blocks(w: Writer) -> None:
    """Quantised operands, transposed or not, in a contraction."""
    x, k = w.pick(rank=2), w.random.choice((32, 40, 64))
    lhs = w.fill((x.shape[0], k))
    body = ["%r = arith.mulf %a0, %a1 : f32", "linalg.yield %r : f32"]
    row = w.fill((k,))
    lhs = w.generic([(lhs, "d0, d1"), (row, "d1")], (w.empty(lhs.shape), "d0, d1"), "pp", body)
    q, t, y = w.fresh(), w.fresh(), w.keep((x.shape[0], x.shape[0]))
    blocked = f"tensor<{x.shape[0]}x{k}x!mx.block<f8E4M3FN, 1x32>>"
    turned = f"tensor<{k}x{x.shape[0]}x!mx.block<f8E4M3FN, 32x1>>"
    w.line(f"{q} = mx.quantize {lhs.name} {{recipe = {RECIPE}}} : {lhs.type} -> {blocked}")
    w.line(f"{t} = mx.transpose {q} {{permutation = array<i64: 1, 0>}} : {blocked} -> {turned}")
    contract = w.random.choice(("block-exact", "sequential", "sequential-fma"))
    w.line(
        f'{y.name} = mx.matmul {q}, {t} {{contract = "{contract}"}} : '
        f"{blocked}, {turned} -> {y.type}"
    )
    if w.random.random() < 0.5:
        d = w.keep((k, x.shape[0]))
        w.line(f"{d.name} = mx.dequantize {t} : {turned} -> {d.type}")


KINDS = (elementwise, elementwise, integers, transpose, broadcast, reduce, window, divided, gather,
         reshape, extract, insert, concat, loop, blocks)  # fmt: skip


def random_module(seed: int, length: int = 12) -> tuple[str, list[np.ndarray]]:
    """The text of a module with inputs, and arrays for them."""
    w = Writer(seed)
    inputs = [Tensor(f"%in{i}", w.shape(rank)) for i, rank in enumerate((2, 1, 3))]
    w.pool += inputs
    for _ in range(length):
        w.random.choice(KINDS)(w)
    results = w.random.sample(w.pool, min(4, len(w.pool)))
    results.append(results[0])  # a value twice
    names = ", ".join(t.name for t in results)
    types = ", ".join(t.type for t in results)
    arguments = ", ".join(f"{t.name}: {t.type}" for t in inputs)
    counts = (("i", len(inputs)), ("o", len(results)))
    quoted = [", ".join(f'"{side}{i}"' for i in range(n)) for side, n in counts]
    text = [
        f"builtin.module attributes {{mxc.input_names = [{quoted[0]}], "
        f"mxc.output_names = [{quoted[1]}]}} {{",
        f"func.func @main({arguments}) -> ({types}) {{",
        *w.lines,
        f"  func.return {names} : {types}",
        "}",
        "}",
    ]
    rng = np.random.default_rng(seed)
    return "\n".join(text), [rng.standard_normal(t.shape).astype(np.float32) for t in inputs]
