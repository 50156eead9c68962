"""Transformer workloads: Llama-3-8B blocks, attention cores, linear attention, embeddings, MoE."""

from __future__ import annotations

from typing import NamedTuple

from layout_net import Net

from mxc.passes.layout.problem import Problem


class Sizes(NamedTuple):
    """Sizes of a decoder block."""

    tokens: int = 4096
    width: int = 4096
    heads: int = 32
    kv_heads: int = 8
    hidden: int = 14336

    @property
    def head(self) -> int:
        """Size of a head."""
        return self.width // self.heads

    @property
    def kv(self) -> int:
        """Width of keys and values."""
        return self.kv_heads * self.head


LLAMA = Sizes()


def attention(net: Net, q: str, k: str, v: str, sizes: Sizes, p: str = "") -> str:
    """softmax(Q Kᵀ) V; scores and probabilities stay on the chip. V is [tokens, kv]."""
    s = sizes
    square = (s.heads, s.tokens, s.tokens)
    scores = net.contract((q, 2), (k, 2), f"{p}scores", square, on_chip=True)
    probs = net.op([scores], f"{p}probs", square, on_chip=True)
    return net.contract((probs, 2), (v, 0), f"{p}attended", (s.tokens, s.width))


def attention_backward(
    net: Net, qkv: tuple[str, str, str], grad: str, sizes: Sizes, p: str = ""
) -> tuple[str, str, str]:
    """Gradients of Q, K and V; probabilities are recomputed on the chip."""
    s, (q, k, v) = sizes, qkv
    square = (s.heads, s.tokens, s.tokens)
    scores = net.contract((q, 2), (k, 2), f"{p}scores_again", square, on_chip=True)
    probs = net.op([scores], f"{p}probs_again", square, on_chip=True)
    v3 = net.reshape(v, f"{p}v_heads", (s.tokens, s.kv_heads, s.head))
    grad3 = net.reshape(grad, f"{p}dattended_heads", (s.tokens, s.heads, s.head))
    dprobs = net.contract((grad3, 2), (v3, 2), f"{p}dprobs", square, on_chip=True)
    dscores = net.op([probs, dprobs], f"{p}dscores", square, on_chip=True)
    dv = net.contract((probs, 1), (grad, 0), f"{p}dv", (s.tokens, s.kv))
    dq = net.contract((dscores, 2), (k, 1), f"{p}dq_rope", (s.heads, s.tokens, s.head))
    dk = net.contract((dscores, 1), (q, 1), f"{p}dk_rope", (s.kv_heads, s.tokens, s.head))
    return dq, dk, dv


class Forward(NamedTuple):
    """What the backward pass of a block needs of the forward pass."""

    x: str
    normed: str
    qkv: tuple[str, str, str]
    attended: str
    middle: str
    normed2: str
    gate: str
    up: str
    active: str
    out: str


def block_forward(net: Net, x: str, sizes: Sizes, p: str = "") -> Forward:
    """A pre-norm decoder block with grouped-query attention and SwiGLU."""
    s = sizes
    flat, wide = (s.tokens, s.width), (s.tokens, s.hidden)
    normed = net.op([x], f"{p}normed", flat)
    raw: dict[str, str] = {}
    for name, width in (("q", s.width), ("k", s.kv), ("v", s.kv)):
        weight = net.weight(f"{p}w{name}", (s.width, width))
        raw[name] = net.contract((normed, 1), (weight, 0), f"{p}{name}_flat", (s.tokens, width))
    q = net.op([raw["q"]], f"{p}q", (s.heads, s.tokens, s.head))
    k = net.op([raw["k"]], f"{p}k", (s.kv_heads, s.tokens, s.head))
    attended = attention(net, q, k, raw["v"], s, p)
    wo = net.weight(f"{p}wo", (s.width, s.width))
    projected = net.contract((attended, 1), (wo, 0), f"{p}projected", flat)
    middle = net.op([x, projected], f"{p}middle", flat)
    normed2 = net.op([middle], f"{p}normed2", flat)
    wg, wu = (net.weight(f"{p}{name}", (s.width, s.hidden)) for name in ("wgate", "wup"))
    gate = net.contract((normed2, 1), (wg, 0), f"{p}gate", wide)
    up = net.contract((normed2, 1), (wu, 0), f"{p}up", wide)
    active = net.op([gate, up], f"{p}active", wide)
    wd = net.weight(f"{p}wdown", (s.hidden, s.width))
    down = net.contract((active, 1), (wd, 0), f"{p}down", flat)
    out = net.op([middle, down], f"{p}out", flat)
    qkv = (q, k, raw["v"])
    return Forward(x, normed, qkv, attended, middle, normed2, gate, up, active, out)


def block_backward(net: Net, f: Forward, dout: str, sizes: Sizes, p: str = "") -> str:
    """The backward pass of a block; weight gradients only if weights are trained."""
    s = sizes
    flat, wide = (s.tokens, s.width), (s.tokens, s.hidden)

    def gradient(left: str, right: str, weight: str) -> None:
        if net.weights == "parameter":
            net.gradient((left, 0), (right, 0), f"{p}{weight}")

    dactive = net.contract((dout, 1), (f"{p}wdown", 1), f"{p}dactive", wide)
    gradient(f.active, dout, "wdown")
    dgate = net.op([f.gate, f.up, dactive], f"{p}dgate", wide)
    dup = net.make(f"{p}dup", wide)
    gradient(f.normed2, dgate, "wgate")
    gradient(f.normed2, dup, "wup")
    d1 = net.contract((dgate, 1), (f"{p}wgate", 1), f"{p}dnormed2_gate", flat)
    d2 = net.contract((dup, 1), (f"{p}wup", 1), f"{p}dnormed2_up", flat)
    dmiddle = net.op([f.middle, d1, d2, dout], f"{p}dmiddle", flat)
    dattended = net.contract((dmiddle, 1), (f"{p}wo", 1), f"{p}dattended", flat)
    gradient(f.attended, dmiddle, "wo")
    dq, dk, dv = attention_backward(net, f.qkv, dattended, s, p)
    grads = (
        net.op([dq], f"{p}dq", flat),
        net.op([dk], f"{p}dk", (s.tokens, s.kv)),
        dv,
    )
    parts: list[str] = []
    for grad, name in zip(grads, "qkv", strict=True):
        gradient(f.normed, grad, f"w{name}")
        parts.append(net.contract((grad, 1), (f"{p}w{name}", 1), f"{p}dnormed_{name}", flat))
    return net.op([f.x, *parts, dmiddle], f"{p}dx", flat)


def llama_inference(blocks: int = 1, sizes: Sizes = LLAMA) -> Problem:
    """Decoder blocks at prefill."""
    net = Net("transformer block, inference")
    x = net.make("x", (sizes.tokens, sizes.width))
    for index in range(blocks):
        x = block_forward(net, x, sizes, f"b{index}." if blocks > 1 else "").out
    net.output(x)
    return net.problem()


def llama_training(blocks: int = 1, sizes: Sizes = LLAMA, *, lora: bool = False) -> Problem:
    """Forward and backward pass of decoder blocks; with LoRA the weights are frozen."""
    name = "transformer block, LoRA-style (frozen W)" if lora else "transformer block, train step"
    net = Net(name, "constant" if lora else "parameter")
    x = net.make("x", (sizes.tokens, sizes.width))
    done: list[tuple[Forward, str]] = []
    for index in range(blocks):
        prefix = f"b{index}." if blocks > 1 else ""
        done.append((block_forward(net, x, sizes, prefix), prefix))
        x = done[-1][0].out
    net.output(x)
    net.phase = 1
    grad = net.make("dout", (sizes.tokens, sizes.width))
    for forward, prefix in reversed(done):
        grad = block_backward(net, forward, grad, sizes, prefix)
    net.output(grad)
    return net.problem()


def _heads(net: Net, sizes: Sizes, v_shape: tuple[int, ...]) -> tuple[str, str, str]:
    """Q, K and V made by an op each out of HP."""
    s = sizes
    shapes = {"q": (s.heads, s.tokens, s.head), "k": (s.kv_heads, s.tokens, s.head), "v": v_shape}
    raw = {name: net.make(f"{name}_raw", (s.tokens, s.width)) for name in shapes}
    q, k, v = (net.op([raw[name]], name, shape) for name, shape in shapes.items())
    return q, k, v


def attention_core(*, train: bool = False) -> Problem:
    """Multi-head attention alone."""
    sizes = Sizes(kv_heads=32)
    kind = "fwd+bwd" if train else "inference"
    net = Net(f"attention core, {kind}")
    qkv = _heads(net, sizes, (sizes.tokens, sizes.kv))
    net.output(attention(net, *qkv, sizes))
    if train:
        net.phase = 1
        dout = net.make("dout", (sizes.tokens, sizes.width))
        for grad in attention_backward(net, qkv, dout, sizes):
            net.output(grad)
    return net.problem()


def linear_attention() -> Problem:
    """Non-causal linear attention: Q (Kᵀ V)."""
    heads, tokens, head = 16, 4096, 64
    net = Net("linear attention K^T V (non-causal), inference")
    shape = (heads, tokens, head)
    raw = [net.make(f"{name}_raw", shape) for name in "qkv"]
    q, k, v = (net.op([value], value[0], shape) for value in raw)
    kv = net.contract((k, 1), (v, 1), "kv", (heads, head, head))
    net.output(net.contract((q, 2), (kv, 1), "out", shape))
    return net.problem()


def chunked_attention() -> Problem:
    """Gated linear attention in chunks of 64: a part within chunks, and states between them."""
    chunks, heads, chunk, head = 64, 32, 64, 128
    net = Net("chunked linear attention (GLA/Mamba-2 form), inference")
    shape = (chunks, heads, chunk, head)
    raw = [net.make(f"{name}_raw", shape) for name in "qkv"]
    q, k, v = (net.op([value], value[0], shape) for value in raw)
    square, states = (chunks, heads, chunk, chunk), (chunks, heads, head, head)
    scores = net.contract((q, 3), (k, 3), "scores", square, on_chip=True)
    masked = net.op([scores], "masked", square, on_chip=True)
    inside = net.contract((masked, 3), (v, 2), "inside", shape)
    local = net.contract((k, 2), (v, 2), "local", states)
    state = net.op([local], "state", states)
    between = net.contract((q, 3), (state, 2), "between", shape)
    net.output(net.op([inside, between], "out", shape))
    return net.problem()


def tied_embeddings(*, train: bool = False) -> Problem:
    """The table is gathered by row at the bottom and multiplied with at the top."""
    tokens, width, words = 4096, 4096, 128256
    kind = "train step" if train else "inference"
    net = Net(f"tied embeddings, {kind}", "parameter" if train else "constant")
    table = net.weight("table", (words, width))
    rows = net.gather(table, "rows", (tokens, width))
    net.output(rows, any_version=True)
    last = net.make("last", (tokens, width))
    normed = net.op([last], "normed", (tokens, width))
    logits = net.contract((normed, 1), (table, 1), "logits", (tokens, words))
    if not train:
        net.output(logits)
        return net.problem()
    net.phase = 1
    dlogits = net.op([logits], "dlogits", (tokens, words))
    net.output(net.contract((dlogits, 1), (table, 0), "dnormed", (tokens, width)))
    net.gradient((dlogits, 0), (normed, 0), "table")
    return net.problem()


def mixture_of_experts() -> Problem:
    """64 experts, top 4, SwiGLU; tokens are gathered to the experts and their results back."""
    tokens, width, hidden, experts, top = 8192, 2048, 1408, 64, 4
    slots = tokens * top // experts
    net = Net("MoE FFN (64 experts, top-4), train step", "parameter")
    by_slot, wide = (experts, slots, width), (experts, slots, hidden)
    normed = net.op([net.make("x", (tokens, width))], "normed", (tokens, width))
    sent = net.gather(normed, "sent", by_slot)
    wg, wu = (net.weight(name, (experts, width, hidden)) for name in ("wgate", "wup"))
    gate = net.contract((sent, 2), (wg, 1), "gate", wide)
    up = net.contract((sent, 2), (wu, 1), "up", wide)
    active = net.op([gate, up], "active", wide)
    wd = net.weight("wdown", (experts, hidden, width))
    net.output(net.op([net.contract((active, 2), (wd, 1), "y", by_slot)], "out", (tokens, width)))
    net.phase = 1
    dy = net.gather(net.make("dout", (tokens, width)), "dy", by_slot)
    dactive = net.contract((dy, 2), (wd, 2), "dactive", wide)
    net.gradient((active, 1), (dy, 1), "wdown")
    dgate = net.op([gate, up, dactive], "dgate", wide)
    dup = net.make("dup", wide)
    net.gradient((sent, 1), (dgate, 1), "wgate")
    net.gradient((sent, 1), (dup, 1), "wup")
    d1 = net.contract((dgate, 2), (wg, 2), "dsent_gate", by_slot)
    d2 = net.contract((dup, 2), (wu, 2), "dsent_up", by_slot)
    net.output(net.op([d1, d2], "dx", (tokens, width)))
    return net.problem()
