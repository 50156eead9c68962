"""The other workloads: mixers, Evoformer, Monarch, Gram matrices, Muon, CLIP, MLP, conv."""

from __future__ import annotations

from layout_net import Net

from mxc.passes.layout.problem import Problem

BATCH, PATCHES, CHANNELS, TOKEN_HIDDEN, CHANNEL_HIDDEN = 64, 224, 768, 384, 3072
"""Mixer-B; its 196 patches padded to a multiple of 32."""


def mixer(*, train: bool = False) -> Problem:
    """An MLP-Mixer block: mixes over patches, then over channels."""
    kind = "train step" if train else "inference"
    net = Net(f"MLP-Mixer block, {kind}", "parameter" if train else "constant")
    b, s, c, hs, hc = BATCH, PATCHES, CHANNELS, TOKEN_HIDDEN, CHANNEL_HIDDEN
    x = net.make("x", (b, s, c))
    n1 = net.op([x], "n1", (b, s, c))
    u1 = net.contract((n1, 1), (net.weight("wt1", (s, hs)), 0), "u1", (b, c, hs))
    a1 = net.op([u1], "a1", (b, c, hs))
    t = net.contract((a1, 2), (net.weight("wt2", (hs, s)), 0), "t", (b, s, c))
    middle = net.op([x, t], "middle", (b, s, c))
    n2 = net.op([middle], "n2", (b, s, c))
    u2 = net.contract((n2, 2), (net.weight("wc1", (c, hc)), 0), "u2", (b, s, hc))
    a2 = net.op([u2], "a2", (b, s, hc))
    y = net.contract((a2, 2), (net.weight("wc2", (hc, c)), 0), "y", (b, s, c))
    net.output(net.op([middle, y], "out", (b, s, c)))
    if not train:
        return net.problem()
    net.phase = 1
    dout = net.make("dout", (b, s, c))
    da2 = net.contract((dout, 2), ("wc2", 1), "da2", (b, s, hc))
    net.gradient((a2, (0, 1)), (dout, (0, 1)), "wc2")
    du2 = net.op([u2, da2], "du2", (b, s, hc))
    net.gradient((n2, (0, 1)), (du2, (0, 1)), "wc1")
    dn2 = net.contract((du2, 2), ("wc1", 1), "dn2", (b, s, c))
    dmiddle = net.op([middle, dn2, dout], "dmiddle", (b, s, c))
    da1 = net.contract((dmiddle, 1), ("wt2", 1), "da1", (b, c, hs))
    net.gradient((a1, (0, 1)), (dmiddle, (0, 2)), "wt2")
    du1 = net.op([u1, da1], "du1", (b, c, hs))
    net.gradient((n1, (0, 2)), (du1, (0, 1)), "wt1")
    dn1 = net.contract((du1, 2), ("wt1", 1), "dn1", (b, s, c))
    net.output(net.op([x, dn1, dmiddle], "dx", (b, s, c)))
    return net.problem()


def parallel_mixer() -> Problem:
    """A mixer block whose branches read one norm and add up: its weight gradients can share."""
    net = Net("MLP-Mixer block (parallel branches), train step", "parameter")
    b, s, c, hs, hc = BATCH, PATCHES, CHANNELS, TOKEN_HIDDEN, CHANNEL_HIDDEN
    x = net.make("x", (b, s, c))
    n = net.op([x], "n", (b, s, c))
    u1 = net.contract((n, 1), (net.weight("wt1", (s, hs)), 0), "u1", (b, c, hs))
    a1 = net.op([u1], "a1", (b, c, hs))
    t = net.contract((a1, 2), (net.weight("wt2", (hs, s)), 0), "t", (b, s, c))
    u2 = net.contract((n, 2), (net.weight("wc1", (c, hc)), 0), "u2", (b, s, hc))
    a2 = net.op([u2], "a2", (b, s, hc))
    y = net.contract((a2, 2), (net.weight("wc2", (hc, c)), 0), "y", (b, s, c))
    net.output(net.op([x, t, y], "out", (b, s, c)))
    net.phase = 1
    dout = net.make("dout", (b, s, c))
    da2 = net.contract((dout, 2), ("wc2", 1), "da2", (b, s, hc))
    net.gradient((a2, (0, 1)), (dout, (0, 1)), "wc2")
    du2 = net.op([u2, da2], "du2", (b, s, hc))
    net.gradient((n, (0, 1)), (du2, (0, 1)), "wc1")
    d2 = net.contract((du2, 2), ("wc1", 1), "dn_channels", (b, s, c))
    da1 = net.contract((dout, 1), ("wt2", 1), "da1", (b, c, hs))
    net.gradient((a1, (0, 1)), (dout, (0, 2)), "wt2")
    du1 = net.op([u1, da1], "du1", (b, c, hs))
    net.gradient((n, (0, 2)), (du1, (0, 1)), "wt1")
    d1 = net.contract((du1, 2), ("wt1", 1), "dn_patches", (b, s, c))
    net.output(net.op([x, d1, d2, dout], "dx", (b, s, c)))
    return net.problem()


def evoformer() -> Problem:
    """The pair stack: two triangle multiplications and two triangle attentions."""
    net = Net("Evoformer pair stack (triangle mult+attn), inference")
    n, c, heads = 512, 128, 4
    z = net.make("z", (n, n, c))
    for index, axis in enumerate((1, 0)):
        z = _triangle_multiplication(net, z, n, c, axis, f"mult{index}.")
    for index, axis in enumerate((1, 0)):
        z = _triangle_attention(net, z, (n, c, heads), axis, f"attn{index}.")
    net.output(z)
    return net.problem()


def _triangle_multiplication(net: Net, z: str, n: int, c: int, axis: int, p: str) -> str:
    pair = (n, n, c)
    normed = net.op([z], f"{p}normed", pair)
    sides: list[str] = []
    for name in "ab":
        weight = net.weight(f"{p}w{name}", (c, c))
        flat = net.contract((normed, 2), (weight, 0), f"{p}{name}_flat", pair)
        sides.append(net.op([flat], f"{p}{name}", pair))
    joined = net.contract((sides[0], axis), (sides[1], axis), f"{p}joined", pair)
    normed2 = net.op([joined], f"{p}normed2", pair)
    out = net.contract((normed2, 2), (net.weight(f"{p}wo", (c, c)), 0), f"{p}o", pair)
    gate = net.contract((normed, 2), (net.weight(f"{p}wg", (c, c)), 0), f"{p}g", pair)
    return net.op([z, out, gate], f"{p}out", pair)


def _triangle_attention(net: Net, z: str, sizes: tuple[int, int, int], axis: int, p: str) -> str:
    n, c, heads = sizes
    pair, square = (n, n, c), (n, heads, n, n)
    normed = net.op([z], f"{p}normed", pair)
    q, k, v = (
        net.contract((normed, 2), (net.weight(f"{p}w{x}", (c, c)), 0), f"{p}{x}", pair)
        for x in "qkv"
    )
    q4, k4 = (net.reshape(x, f"{x}_heads", (n, n, heads, c // heads)) for x in (q, k))
    scores = net.contract((q4, 3), (k4, 3), f"{p}scores", square, on_chip=True)
    probs = net.op([scores], f"{p}probs", square, on_chip=True)
    mixed = net.contract((probs, 3), (v, axis), f"{p}mixed", pair)
    gate = net.contract((normed, 2), (net.weight(f"{p}wg", (c, c)), 0), f"{p}g", pair)
    gated = net.op([mixed, gate], f"{p}gated", pair)
    out = net.contract((gated, 2), (net.weight(f"{p}wo", (c, c)), 0), f"{p}o", pair)
    return net.op([z, out], f"{p}out", pair)


def monarch() -> Problem:
    """Four stages that contract one axis each, of three in turn."""
    net = Net("Monarch/FFT-style (alternating-axis contraction), inference")
    shape = (64, 64, 64, 64)
    x = net.op([net.make("x_raw", shape)], "x", shape)
    for index, axis in enumerate((1, 2, 3, 1)):
        weight = net.weight(f"w{index}", (64, 64))
        x = net.contract((x, axis), (weight, 0), f"x{index}", shape)
    net.output(x)
    return net.problem()


def gram_pair() -> Problem:
    """Both Gram matrices of one gradient, as Shampoo keeps them."""
    rows, columns = 2048, 4096
    net = Net("Gram pair X^T X and X X^T (Shampoo stats)")
    x = net.op([net.make("grad", (rows, columns))], "x", (rows, columns))
    net.output(net.contract((x, 1), (x, 1), "left", (rows, rows)))
    net.output(net.contract((x, 0), (x, 0), "right", (columns, columns)))
    return net.problem()


def newton_schulz(*, symmetric: bool = False) -> Problem:
    """Five steps of the orthogonalisation in Muon: A = X Xᵀ, B = f(A, A A), X' = a X + B X."""
    rows, columns = 4096, 11008
    known = "symmetry known" if symmetric else "no symmetry info"
    net = Net(f"Muon Newton-Schulz (X X^T, A A, B X), {known}")
    x = net.make("x0", (rows, columns))
    for index in range(5):
        gram = net.contract((x, 1), (x, 1), f"a{index}", (rows, rows), symmetric=symmetric)
        square = net.contract((gram, 1), (gram, 0), f"aa{index}", (rows, rows))
        mixed = net.op([gram, square], f"b{index}", (rows, rows))
        moved = net.contract((mixed, 1), (x, 0), f"bx{index}", (rows, columns))
        x = net.op([x, moved], f"x{index + 1}", (rows, columns))
    net.output(x)
    return net.problem()


def contrastive_head() -> Problem:
    """The loss of CLIP: all pairs of image and text embeddings, forward and backward."""
    batch, width = 32768, 1024
    net = Net("CLIP contrastive head, train")
    image, text = (
        net.op([net.make(f"{x}_raw", (batch, width))], x, (batch, width)) for x in ("image", "text")
    )
    pairs = (batch, batch)
    logits = net.contract((image, 1), (text, 1), "logits", pairs, on_chip=True)
    net.phase = 1
    dlogits = net.op([logits], "dlogits", pairs, on_chip=True)
    net.output(net.contract((dlogits, 1), (text, 0), "dimage", (batch, width)))
    net.output(net.contract((dlogits, 0), (image, 0), "dtext", (batch, width)))
    return net.problem()


def mlp_training(rows: int = 8192, width: int = 4096, layers: int = 4) -> Problem:
    """A plain MLP."""
    net = Net(f"MLP {layers} layers, train step", "parameter")
    shape = (rows, width)
    x = net.make("x0", shape)
    hidden: list[tuple[str, str]] = []
    for index in range(layers):
        weight = net.weight(f"w{index}", (width, width))
        z = net.contract((x, 1), (weight, 0), f"z{index}", shape)
        hidden.append((x, z))
        x = net.op([z], f"x{index + 1}", shape)
    net.output(x)
    net.phase = 1
    grad = net.make("dout", shape)
    for index, (x, z) in reversed(list(enumerate(hidden))):
        dz = net.op([z, grad], f"dz{index}", shape)
        net.gradient((x, 0), (dz, 0), f"w{index}")
        grad = net.contract((dz, 1), (f"w{index}", 1), f"dx{index}", shape)
    net.output(grad)
    return net.problem()


def conv_training() -> Problem:
    """Three convolutions, channels last; a weight gradient may block on images, rows or columns."""
    images, side, channels = 64, 32, 128
    net = Net("Conv 3 layers (NHWC), train step", "parameter")
    shape = (images, side, side, channels)
    x = net.make("x0", shape)
    done: list[tuple[str, str]] = []
    for index in range(3):
        weight = net.weight(f"w{index}", (3, 3, channels, channels))
        z = net.contract((x, 3), (weight, 2), f"z{index}", shape)
        done.append((x, z))
        x = net.op([z], f"x{index + 1}", shape)
    net.output(x)
    net.phase = 1
    grad = net.make("dout", shape)
    for index, (x, z) in reversed(list(enumerate(done))):
        dz = net.op([z, grad], f"dz{index}", shape)
        net.gradient((x, (0, 1, 2)), (dz, (0, 1, 2)), f"w{index}")
        grad = net.contract((dz, 3), (f"w{index}", 3), f"dx{index}", shape)
    net.output(grad)
    return net.problem()
