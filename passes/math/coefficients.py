"""Minimax polynomials, lowest power first; written by benchmarks/minimax.py."""

EXP_F32 = tuple(
    float.fromhex(c)
    for c in (
        "0x1.fffffc0000000p-2",
        "0x1.55548c0000000p-3",
        "0x1.55585a0000000p-5",
        "0x1.123d720000000p-7",
        "0x1.6ab8d20000000p-10",
    )
)
"""(e**r - 1 - r) / r**2; error 2**-28.2."""

EXP_F64 = tuple(
    float.fromhex(c)
    for c in (
        "0x1.000000000000ap-1",
        "0x1.55555555554f9p-3",
        "0x1.55555555507f2p-5",
        "0x1.1111111127e32p-7",
        "0x1.6c16c1844ab9ap-10",
        "0x1.a01a0129cf28fp-13",
        "0x1.a01999ae9f7d1p-16",
        "0x1.71df25f25b955p-19",
        "0x1.28adcda512ab5p-22",
        "0x1.ad7f5aca1d50ep-26",
    )
)
"""(e**r - 1 - r) / r**2; error 2**-56.5."""

EXP2_F64 = tuple(
    float.fromhex(c)
    for c in (
        "0x1.62e42fefa39efp-1",
        "0x1.ebfbdff82c58fp-3",
        "0x1.c6b08d704a0d6p-5",
        "0x1.3b2ab6fba4ea9p-7",
        "0x1.5d87fe78a11a9p-10",
        "0x1.430912f859408p-13",
        "0x1.ffcbfc7b2f9efp-17",
        "0x1.62c0229ba1fe8p-20",
        "0x1.b524d006a0225p-24",
        "0x1.e4cd99c1797d6p-28",
        "0x1.ea157c9a2db65p-32",
        "0x1.c6dd1649ed05ap-36",
    )
)
"""(2**r - 1) / r; error 2**-55.5."""

LOG_F32 = tuple(
    float.fromhex(c)
    for c in (
        "0x1.5555540000000p-1",
        "0x1.999c260000000p-2",
        "0x1.23d3e20000000p-2",
        "0x1.f13a380000000p-3",
    )
)
"""(log((1+s)/(1-s)) - 2s) / s**3 in s**2; error 2**-34.2."""

LOG_F64 = tuple(
    float.fromhex(c)
    for c in (
        "0x1.5555555555555p-1",
        "0x1.9999999999e06p-2",
        "0x1.249249242ab0cp-2",
        "0x1.c71c7259a8e12p-3",
        "0x1.745cddffc48afp-3",
        "0x1.3b20b4d032a1ap-3",
        "0x1.0f5bf73733aebp-3",
        "0x1.0f6a90076bdc3p-3",
    )
)
"""(log((1+s)/(1-s)) - 2s) / s**3 in s**2; error 2**-60.5."""

LOG_TAIL_F64 = tuple(
    float.fromhex(c)
    for c in (
        "0x1.9999999999b33p-2",
        "0x1.24924924577efp-2",
        "0x1.c71c722de4f76p-3",
        "0x1.745ce9b64fa54p-3",
        "0x1.3b1ef47321df8p-3",
        "0x1.0f7f1f42ccb19p-3",
        "0x1.0e4a3bc02d03bp-3",
    )
)
"""(log((1+s)/(1-s)) - 2s - 2s**3/3) / s**5 in s**2; error 2**-64.8."""

ERF_F32 = tuple(
    float.fromhex(c)
    for c in (
        "0x1.06eba80000000p-3",
        "-0x1.81273e0000000p-2",
        "0x1.ce2ce60000000p-4",
        "-0x1.b7f71a0000000p-6",
        "0x1.53f2240000000p-8",
        "-0x1.a3515e0000000p-11",
        "0x1.4771fe0000000p-14",
    )
)
"""erf(x) / x - 1 in x**2, x < 1; error 2**-29.4."""

ERFC_ROOT_F32 = tuple(
    float.fromhex(c)
    for c in (
        "0x1.967f780000000p+0",
        "0x1.0c2f280000000p+0",
        "0x1.5c411a0000000p-1",
        "0x1.41bcba0000000p-2",
        "0x1.f67b860000000p-4",
        "0x1.ed8ec60000000p-5",
        "-0x1.0c08200000000p-7",
        "0x1.aaedae0000000p-6",
        "-0x1.3fc58c0000000p-7",
        "0x1.7728fa0000000p-9",
    )
)
"""erfc(z) ** -(1/4) in z - 1, z > 1; error 2**-27.1."""

ERF_F64 = tuple(
    float.fromhex(c)
    for c in (
        "0x1.06eba8214db69p-3",
        "-0x1.812746b0379e6p-2",
        "0x1.ce2f21a042b0bp-4",
        "-0x1.b82ce312842fcp-6",
        "0x1.565bcd0d9f754p-8",
        "-0x1.c02db3d5d22efp-11",
        "0x1.f9a32143bc429p-14",
        "-0x1.f4d1d8046ed68p-17",
        "0x1.b9de92d0addbbp-20",
        "-0x1.5f1a006d17bd5p-23",
        "0x1.f780c9455a999p-27",
        "-0x1.37fb968dfa532p-30",
        "0x1.0447a160c5989p-34",
    )
)
"""erf(x) / x - 1 in x**2, x < 1; error 2**-56.3."""

ERFCX_F64 = tuple(
    float.fromhex(c)
    for c in (
        "0x1.d20a27200bbabp-21",
        "0x1.20d5edc199194p-2",
        "0x1.2151e5725b0d9p-2",
        "0x1.f0c9f16b6b8a0p-3",
        "0x1.a3194d65c0004p-3",
        "-0x1.be5fc696d3064p-5",
        "0x1.0332f95b0e7e4p-1",
        "-0x1.81de3957bc39cp+0",
        "0x1.9042e74888c81p+1",
        "-0x1.5625bbf4826a0p+2",
        "0x1.b1d5223fab9cdp+2",
        "-0x1.830199a11d8dfp+2",
        "0x1.db074e48868bcp+1",
        "-0x1.818f4f165204dp+0",
        "0x1.77b2bd5db6095p-2",
        "-0x1.4ef5df2a3f326p-5",
    )
)
"""erfc(z) e**(z*z) in t = 2 / (2 + z), z > 1; error 2**-56.9."""

SIN_F32 = tuple(
    float.fromhex(c)
    for c in (
        "-0x1.5555554cb21bcp-3",
        "0x1.1111089088c18p-7",
        "-0x1.a00f98f31fa3dp-13",
        "0x1.6cd7361b57311p-19",
    )
)
"""(sin(r) / r - 1) / r**2 in r**2; error 2**-37.6."""

SIN_F64 = tuple(
    float.fromhex(c)
    for c in (
        "-0x1.5555555555549p-3",
        "0x1.111111110f861p-7",
        "-0x1.a01a019c0e527p-13",
        "0x1.71de3574bf726p-19",
        "-0x1.ae5e63d147e03p-26",
        "0x1.5d9247d6b7148p-33",
    )
)
"""(sin(r) / r - 1) / r**2 in r**2; error 2**-57.0."""

COS_F32 = tuple(
    float.fromhex(c)
    for c in (
        "0x1.5555554f48c88p-5",
        "-0x1.6c16b892c5ff4p-10",
        "0x1.a0111c1e3a49bp-16",
        "-0x1.2429fda38059ep-22",
    )
)
"""(cos(r) - 1 + r*r/2) / r**4 in r**2; error 2**-43.2."""

COS_F64 = tuple(
    float.fromhex(c)
    for c in (
        "0x1.555555555554cp-5",
        "-0x1.6c16c16c15163p-10",
        "0x1.a01a019caef90p-16",
        "-0x1.27e4f807da236p-22",
        "0x1.1ee9ea6f70d54p-29",
        "-0x1.8fadd1cc71f61p-37",
    )
)
"""(cos(r) - 1 + r*r/2) / r**4 in r**2; error 2**-59.8."""

ATAN_F64 = tuple(
    float.fromhex(c)
    for c in (
        "-0x1.5555555555554p-2",
        "0x1.9999999999653p-3",
        "-0x1.24924924759b1p-3",
        "0x1.c71c71b75c485p-4",
        "-0x1.745d14bbc7a0ep-4",
        "0x1.3b136e537b739p-4",
        "-0x1.110c748ff880cp-4",
        "0x1.e1721b6c5b644p-5",
        "-0x1.ab7e09ad1ddd7p-5",
        "0x1.70eeeba5f7be9p-5",
        "-0x1.123a73e59efe6p-5",
        "0x1.f1efb4ef5dd47p-7",
    )
)
"""(atan(t) / t - 1) / t**2 in t**2; error 2**-58.1."""

ASIN_F64 = tuple(
    float.fromhex(c)
    for c in (
        "0x1.5555555555578p-3",
        "0x1.333333332df02p-4",
        "0x1.6db6db722c1bdp-5",
        "0x1.f1c71a8b652bcp-6",
        "0x1.6e8bdfebbc312p-6",
        "0x1.1c49ddb19d9bep-6",
        "0x1.ca214ae6d511bp-7",
        "0x1.75775cb84ed54p-7",
        "0x1.618bb0459e0b4p-7",
        "0x1.e14e044d6e266p-9",
        "0x1.6505b58deed57p-6",
        "-0x1.59fb5cee888ebp-6",
        "0x1.0be5cf5744dd5p-5",
    )
)
"""(asin(t) / t - 1) / t**2 in t**2; error 2**-59.6."""

CBRT_F64 = tuple(
    float.fromhex(c)
    for c in (
        "0x1.412d114e1ae83p-1",
        "0x1.cbf8be061c04bp-2",
        "-0x1.57236359c0db0p-4",
        "0x1.3a096e4f2e0aep-7",
        "-0x1.c514a9622c507p-12",
    )
)
"""m ** (1/3); error 2**-9.1."""
