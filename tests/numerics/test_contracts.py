"""Contractions against exact rational arithmetic and plain loops."""

from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest

from mxc.errors import BadInput
from mxc.numerics import FORMATS, block_values, conv, dot, fma, matmul, quantize, transpose
from mxc.numerics.accumulate import Terms, accumulate
from mxc.numerics.exact import F64_BITS, round_sum, sum_bits

BLOCKS = [n for n, f in FORMATS.items() if f.element is not None and "deepseek" not in n]


def to_f32(value: Fraction) -> np.float32:
    """A rational rounded to f32, to nearest even, subnormals and overflow included."""
    if value == 0:
        return np.float32(0)
    magnitude = abs(value)
    exponent = magnitude.numerator.bit_length() - magnitude.denominator.bit_length()
    exponent -= Fraction(2) ** exponent > magnitude
    unit = Fraction(2) ** (max(exponent, -126) - 23)
    count = round(magnitude / unit)  # Python: half to even
    with np.errstate(over="ignore"):
        return np.float32(float(count * unit) * (-1 if value < 0 else 1))


def exact(a, b, step: int) -> np.ndarray:
    """block-exact by its definition; `a` and `b` are matrices of rationals' floats."""
    out = np.zeros((a.shape[0], b.shape[1]), np.float32)
    for i, j in np.ndindex(*out.shape):
        for k in range(0, a.shape[1], step):
            row, column = a[i, k : k + step], b[k : k + step, j]
            products = (Fraction(x) * Fraction(y) for x, y in zip(row, column, strict=True))
            out[i, j] += to_f32(sum(products, Fraction(0)))
    return out


def wild(rng, shape, spread=5.0):
    x = rng.standard_normal(shape) * np.exp(spread * rng.standard_normal(shape))
    return np.clip(x, -3e4, 3e4)


@pytest.mark.parametrize("fa", BLOCKS)
@pytest.mark.parametrize("fb", BLOCKS)
def test_block_exact_is_exact(equal, fa, fb):
    rng = np.random.default_rng(1)
    a, b = quantize(wild(rng, (3, 70)), fa), quantize(wild(rng, (70, 2)), fb, 0)
    step = 16 if "nvfp4" in (fa, fb) else 32
    got = matmul(a, b)
    ta, tb = np.float32(a.tensor_scale), np.float32(b.tensor_scale)
    want = exact(block_values(a) / float(ta), block_values(b) / float(tb), step)
    if "nvfp4" in (fa, fb):  # dividing by the tensor scale is not exact: take the scales
        want = exact(unscaled(a), unscaled(b), step) * (ta * tb)
    assert equal(got, want)


def unscaled(a):
    return block_values(type(a)(a.codes, a.scales, a.format, a.block))


@pytest.mark.parametrize(("fa", "fb"), [("mxfp8_e5m2", "mxfp8_e5m2"), ("hifloat8", "mxfp8_e5m2")])
def test_sums_wider_than_f64(equal, fa, fb):
    """Largest and smallest products in one block, cancelling: f64 alone gets these wrong."""
    rng = np.random.default_rng(2)
    a = np.zeros((400, 32))
    a[:, :6] = 2.0 ** rng.integers(-14, 15, (400, 6)) * rng.integers(-7, 8, (400, 6)) / 4
    b = np.zeros((32, 8))
    b[:6] = 2.0 ** rng.integers(-14, 15, (6, 8)) * rng.integers(-7, 8, (6, 8)) / 4
    qa, qb = quantize(a, fa), quantize(b, fb, 0)
    got = matmul(qa, qb)
    assert equal(got, exact(block_values(qa), block_values(qb), 32))
    assert sum_bits(qa.format.element, qb.format.element, 32) > F64_BITS


def test_round_sum_is_correctly_rounded():
    rng = np.random.default_rng(3)
    for count in (2, 3, 4):
        parts = [
            rng.integers(-(2**20), 2**20, 3000) * 2.0 ** rng.integers(-60, 60, 3000)
            for _ in range(count)
        ]
        parts[1][::3] = -parts[0][::3]  # cancel, then a tiny rest decides
        parts[0][1::3] = 2.0**30 + 2.0**6  # half-way between two f32
        parts[1][1::3] = rng.choice([0, 2.0**-60, -(2.0**-60)], 1000)
        got = round_sum(parts)
        want = [to_f32(sum((Fraction(p[i]) for p in parts), Fraction(0))) for i in range(3000)]
        assert np.array_equal(got, np.array(want))


def test_fma_is_correctly_rounded(values):
    rng = np.random.default_rng(4)
    a, b, c = (v[np.isfinite(v)][:6000] for v in (values(8000, seed=s) for s in range(3)))
    n = min(map(len, (a, b, c)))
    a, b, c = a[:n].copy(), b[:n].copy(), c[:n].copy()
    small = rng.integers(1, 200, (3, n)).astype(np.float32)
    a[::3], b[::3], c[::3] = small[0, ::3], small[1, ::3], small[2, ::3] * np.float32(2.0**-20)
    with np.errstate(all="ignore"):
        c[1::3] = -(a[1::3] * b[1::3])  # cancels but for the rounding of the product
        c[~np.isfinite(c)] = 1
        got = fma(a, b, c)
    for i in range(n):
        want = to_f32(Fraction(float(a[i])) * Fraction(float(b[i])) + Fraction(float(c[i])))
        assert got[i] == want, (a[i], b[i], c[i])


def test_fma_of_scalars():
    assert fma(np.float32(3), np.float32(4), np.float32(5)) == 17


def plain(a, b):
    acc = np.zeros(
        (*np.broadcast_shapes(a.shape[:-2], b.shape[:-2]), a.shape[-2], b.shape[-1]), "f4"
    )
    for k in range(a.shape[-1]):
        acc = acc + a[..., :, k, None] * b[..., k, None, :]
    return acc


SHAPES = [
    ((5, 40), (40, 7)),
    ((1, 300), (300, 1)),
    ((700, 9), (9, 3)),
    ((3, 9), (9, 5000)),
    ((2, 3, 5, 8), (8, 6)),
    ((2, 1, 5, 8), (3, 8, 6)),
    ((5, 8), (4, 8, 6)),
    ((700, 2, 3), (700, 3, 2)),
    ((4, 0), (0, 5)),
    ((0, 4), (4, 5)),
]


@pytest.mark.parametrize(("left", "right"), SHAPES)
def test_sequential_is_a_loop(equal, left, right):
    rng = np.random.default_rng(5)
    a, b = rng.standard_normal(left).astype("f4"), rng.standard_normal(right).astype("f4")
    assert equal(matmul(a, b, "sequential"), plain(a, b))


@pytest.mark.parametrize(("left", "right"), SHAPES)
def test_block_exact_does_not_see_shapes(equal, left, right):
    rng = np.random.default_rng(6)
    a, b = wild(rng, left, 2), wild(rng, right, 2)
    qa, qb = quantize(a, "mxfp8"), quantize(b, "mxfp8_e5m2", -2)
    got = matmul(qa, qb)
    whole = np.broadcast_shapes(left[:-2], right[:-2])
    va = np.broadcast_to(block_values(qa), (*whole, *left[-2:]))
    vb = np.broadcast_to(block_values(qb), (*whole, *right[-2:]))
    assert got.shape == (*whole, left[-2], right[-1])
    if got.size and left[-1]:
        i = tuple(n - 1 for n in whole)
        rows, columns = slice(-2, None), slice(0, 2)
        assert equal(got[i][rows, columns].copy(), exact(va[i][rows], vb[i][:, columns], 32))


def test_sequential_fma(equal):
    rng = np.random.default_rng(7)
    a, b = rng.standard_normal((4, 50)).astype("f4"), rng.standard_normal((50, 3)).astype("f4")
    got = matmul(a, b, "sequential-fma")
    for i, j in np.ndindex(4, 3):
        acc = np.float32(0)
        for k in range(50):
            acc = to_f32(Fraction(float(a[i, k])) * Fraction(float(b[k, j])) + Fraction(float(acc)))
        assert got[i, j] == acc
    assert not equal(got, matmul(a, b, "sequential"))


def test_fused_equals_sequential_where_products_are_exact(equal):
    rng = np.random.default_rng(8)
    a = rng.standard_normal((4, 50)).astype(ml_dtypes.bfloat16)
    b = quantize(rng.standard_normal((50, 3)), "mxfp8", 0)
    assert equal(matmul(a, b, "sequential-fma"), matmul(a, b, "sequential"))


def test_fused_near_the_ends_of_f32(equal):
    """Few bits, but products that underflow: fused and not fused differ."""
    a = np.full((1, 2), 2.0**-80 * 1.5, np.float32)
    b = np.full((2, 1), 2.0**-69 * 1.5, np.float32)
    fused, plain_ = matmul(a, b, "sequential-fma"), matmul(a, b, "sequential")
    assert (fused[0, 0], plain_[0, 0]) == (4 * 2.0**-149, 4 * 2.0**-149) or fused != plain_
    b[1] = 2.0**-70 * 1.25
    assert matmul(a, b, "sequential-fma")[0, 0] == 3 * 2.0**-149
    acc = np.float32(np.float32(a[0, 0] * b[0, 0]) + np.float32(a[0, 1] * b[1, 0]))
    assert matmul(a, b, "sequential")[0, 0] == acc


def test_mixed_operands_take_f32_values(equal):
    rng = np.random.default_rng(9)
    x = rng.standard_normal((4, 50)).astype("f4")
    w = quantize(rng.standard_normal((50, 3)), "mxfp4", 0)
    assert equal(matmul(x, w, "sequential"), plain(x, w.dequantize()))


def test_scales_may_be_finer_than_steps(equal):
    """A result depends on values only: 1x128 blocks are four 1x32 blocks."""
    from mxc.numerics import refine

    rng = np.random.default_rng(10)
    a = quantize(rng.standard_normal((3, 256)), "deepseek_1x128")
    b = quantize(rng.standard_normal((256, 3)), "mxfp8", block=(32, 32))
    fine = refine(a, (1, 32))
    assert equal(matmul(a, b), matmul(fine, b))
    assert equal(matmul(a, b), exact(block_values(a), block_values(b), 32))
    narrow = quantize(rng.standard_normal((3, 256)), "mxfp8", block=(1, 8))
    assert equal(matmul(narrow, b), exact(block_values(narrow), block_values(b), 8))


def test_nan_and_infinity():
    x = np.ones((2, 64), np.float32)
    x[0, 40] = np.nan
    a, b = quantize(x, "mxfp8"), quantize(np.ones((64, 2), np.float32), "mxfp8", 0)
    got = matmul(a, b)
    assert np.isnan(got[0]).all()
    assert (got[1] == 64).all()
    big = quantize(np.full((1, 32), 3e38, np.float32), "mxfp8")
    assert np.isinf(matmul(big, transpose(big))).all()


def test_signs_of_zero(equal):
    a = np.array([[-0.0, -1.0]], np.float32)
    b = np.array([[1.0], [0.0]], np.float32)
    for contract in ("sequential", "sequential-fma"):
        assert equal(matmul(a, b, contract), np.zeros((1, 1), np.float32))
    assert equal(matmul(quantize(a, "mxfp8"), quantize(b, "mxfp8", 0)), np.zeros((1, 1), "f4"))


def test_dot(equal):
    rng = np.random.default_rng(11)
    x, y = rng.standard_normal((2, 3, 70)), rng.standard_normal((2, 3, 70))
    a, b = quantize(x, "mxfp8"), quantize(y, "mxint8")
    got = dot(a, b)
    assert got.shape == (2, 3)
    one = matmul(quantize(x[1, 2:3], "mxfp8"), quantize(y[1, 2:3].T, "mxint8", 0))
    assert got[1, 2] == one[0, 0]
    f = x.astype("f4")
    assert equal(dot(f, f, "sequential")[1, 2:3], plain(f[1, 2:3], f[1, 2:3].T)[0])


def loop_conv(x, w, strides, pads, dilations, groups, term):
    """Convolution by its definition; `term(acc, x, w)` adds one position's channels."""
    rank = x.ndim - 2
    x = np.pad(x, ((0, 0), (0, 0), *zip(pads[:rank], pads[rank:], strict=True)))
    spans = [d * (k - 1) + 1 for d, k in zip(dilations, w.shape[2:], strict=True)]
    out = [(n - s) // t + 1 for n, s, t in zip(x.shape[2:], spans, strides, strict=True)]
    y = np.zeros((x.shape[0], w.shape[0], *out), np.float32)
    channels = w.shape[1]
    for n, o, *place in np.ndindex(*y.shape):
        first = o // (w.shape[0] // groups) * channels
        acc = np.float32(0)
        for tap in np.ndindex(*w.shape[2:]):
            at = tuple(
                p * s + t * d for p, s, t, d in zip(place, strides, tap, dilations, strict=True)
            )
            acc = term(acc, x[(n, slice(first, first + channels), *at)], w[(o, slice(None), *tap)])
        y[(n, o, *place)] = acc
    return y


def sequential_term(acc, x, w):
    for a, b in zip(x, w, strict=True):
        acc = np.float32(acc + np.float32(a * b))
    return acc


CONVS = [
    ((2, 8, 9, 7), (6, 4, 3, 2), [2, 1], [1, 0, 2, 1], [1, 2], 2),
    ((1, 6, 5, 5), (6, 1, 3, 3), [1, 1], [1, 1, 1, 1], [1, 1], 6),
    ((2, 3, 11), (4, 3, 5), [2], [2, 2], [1], 1),
    ((1, 2, 4, 4, 3), (3, 2, 2, 2, 2), [1, 1, 1], [0] * 6, [1, 1, 1], 1),
    ((1, 3, 4, 4), (2, 3, 1, 1), [1, 1], [0] * 4, [1, 1], 1),
]


@pytest.mark.parametrize("case", CONVS)
def test_conv_sequential(equal, case):
    rng = np.random.default_rng(12)
    x, w = (rng.standard_normal(shape).astype("f4") for shape in case[:2])
    want = loop_conv(x, w, *case[2:], sequential_term)
    assert equal(conv(x, w, *case[2:], "sequential"), want)


@pytest.mark.parametrize("formats", [("mxfp8_e4m3", "mxfp4"), ("mxfp8_e5m2", "mxfp8_e5m2")])
def test_conv_block_exact(equal, formats):
    rng = np.random.default_rng(13)

    def term(acc, x, w):
        for c in range(0, len(x), 32):
            products = (Fraction(a) * Fraction(b)
                        for a, b in zip(x[c : c + 32], w[c : c + 32], strict=True))  # fmt: skip
            acc = np.float32(acc + to_f32(sum(products, Fraction(0))))
        return acc

    for channels, groups in ((40, 1), (64, 2), (8, 2)):
        x = wild(rng, (1, channels, 4, 5), 2)
        w = wild(rng, (2, channels // groups, 3, 2), 2)
        step = min(32, channels // groups)
        a, b = quantize(x, formats[0], block=(1, step, 1, 1)), quantize(w, formats[1], 1)
        case = [1, 2], [1, 0, 0, 1], [1, 1], groups
        want = loop_conv(block_values(a), block_values(b), *case, term)
        assert equal(conv(a, b, *case), want)


def test_conv_with_nan_padding_and_chunks(equal):
    """More output rows than one chunk; an infinite weight meets the padding as NaN."""
    rng = np.random.default_rng(14)
    x, w = (
        rng.standard_normal((1, 2, 150, 40)).astype("f4"),
        rng.standard_normal((3, 2, 3, 3)).astype("f4"),
    )
    got = conv(x, w, None, [1, 1, 1, 1], contract="sequential")
    part = conv(x[:, :, 100:110], w, None, [0, 1, 0, 1], contract="sequential")
    assert equal(got[:, :, 101:109].copy(), part)
    w[0, 0, 0, 0] = np.inf
    assert np.isnan(conv(x, w, None, [1, 1, 1, 1], contract="sequential")[0, 0, 0]).all()


def test_bad_contractions():
    f = np.ones((4, 32), np.float32)
    q = quantize(f, "mxfp8")
    cases = [
        (lambda: matmul(f, f, "sequential"), "cannot multiply"),
        (lambda: matmul(f[0], f, "sequential"), "cannot multiply"),
        (lambda: matmul(f, f.T, "tree"), "unknown contract 'tree'.*block-exact, sequential"),
        (lambda: matmul(q, f.T), "takes two block operands"),
        (lambda: matmul(q, transpose(quantize(f, "bf16"))), "does not take bf16"),
        (lambda: matmul(f.astype("f8"), f.T, "sequential"), "cannot contract float64"),
        (lambda: dot(f, f[:2], "sequential"), "dot product"),
        (lambda: conv(f, f, contract="sequential"), "cannot convolve"),
    ]  # fmt: skip
    for call, message in cases:
        with pytest.raises(BadInput, match=message):
            call()


@pytest.mark.parametrize(
    ("message", "kwargs"),
    [
        ("groups do not fit", {"groups": 3}),
        ("strides", {"strides": [1]}),
        ("positive", {"strides": [0, 1]}),
        ("pads", {"pads": [1, 1]}),
        ("pads", {"pads": [1, 1, -1, 1]}),
        ("does not fit into", {"dilations": [3, 3]}),
    ],
)
def test_bad_convolutions(message, kwargs):
    x, w = np.ones((1, 4, 4, 4), np.float32), np.ones((2, 4, 3, 3), np.float32)
    with pytest.raises(BadInput, match=message):
        conv(x, w, contract="sequential", **kwargs)


def test_groups_must_not_cut_blocks():
    x, w = np.ones((1, 48, 4, 4), np.float32), np.ones((2, 24, 3, 3), np.float32)
    with pytest.raises(BadInput, match="groups of 24 channels cut blocks of 32"):
        conv(quantize(x, "mxfp8", 1), quantize(w, "mxfp8", 1), groups=2)


def test_tiles_are_not_seen(equal, monkeypatch):
    rng = np.random.default_rng(15)
    a, b = (
        rng.standard_normal((2, 9, 20)).astype("f4"),
        rng.standard_normal((2, 20, 40)).astype("f4"),
    )
    whole = accumulate(Terms([a], b, [0, 20], "sequential"))
    monkeypatch.setattr("mxc.numerics.accumulate.TILE", 8)
    assert equal(accumulate(Terms([a], b, [0, 20], "sequential")), whole)
