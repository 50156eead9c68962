"""LSTM, GRU and RNN against onnxruntime, feature by feature."""

from typing import Any

import numpy as np
import pytest

from mxc.errors import CannotLower
from tests.passes.lowering.nodes import body_operations, lower_node, run_node
from tests.passes.lowering.peer import close

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
TIME, BATCH, FEATURES, HIDDEN = 5, 3, 4, 6


def case(op_type: str, directions: int, seed: int = 0, dtype: Any = np.float32) -> list[Any]:
    """X, W, R, B, sequence_lens, initial_h (, initial_c, P)."""
    rng = np.random.default_rng(seed)

    def draw(*shape: int) -> Any:
        return rng.uniform(-1, 1, shape).astype(dtype)

    rows = GATES[op_type] * HIDDEN
    inputs = [
        draw(TIME, BATCH, FEATURES),
        draw(directions, rows, FEATURES),
        draw(directions, rows, HIDDEN),
        draw(directions, 2 * rows),
        np.array([5, 2, 3], np.int32),
        draw(directions, BATCH, HIDDEN),
    ]
    if op_type == "LSTM":
        inputs += [draw(directions, BATCH, HIDDEN), draw(directions, 3 * HIDDEN)]
    return inputs


def outputs(op_type: str) -> int:
    return 3 if op_type == "LSTM" else 2


@pytest.mark.parametrize("op_type", GATES)
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
def test_every_input_counts(op_type: str, direction: str) -> None:
    inputs = case(op_type, 2 if direction == "bidirectional" else 1)
    close(op_type, inputs, outputs(op_type), hidden_size=HIDDEN, direction=direction)


@pytest.mark.parametrize("missing", range(3, 8))
def test_every_input_may_be_omitted(missing: int) -> None:
    inputs = case("LSTM", 1)
    given = [None if i == missing else value for i, value in enumerate(inputs)]
    close("LSTM", given[: 7 if missing == 7 else 8], 3, hidden_size=HIDDEN)


@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
def test_the_reset_gate_before_or_after_the_product(direction: str) -> None:
    inputs = case("GRU", 2 if direction == "bidirectional" else 1)
    for flag in (0, 1):
        attrs = {"hidden_size": HIDDEN, "direction": direction, "linear_before_reset": flag}
        close("GRU", inputs, 2, **attrs)


def test_the_cell_is_clipped_and_gates_are_coupled() -> None:
    inputs = case("LSTM", 1)
    plain = close("LSTM", inputs, 3, hidden_size=HIDDEN)
    clipped = close("LSTM", inputs, 3, hidden_size=HIDDEN, clip=0.3)
    assert not np.allclose(plain[0], clipped[0])
    inputs[7] = None
    inputs.pop()
    close("LSTM", inputs, 3, hidden_size=HIDDEN, input_forget=1)


@pytest.mark.parametrize(
    "names",
    [
        ["Relu", "Tanh"],
        ["HardSigmoid", "Softsign"],
        ["Sigmoid", "LeakyRelu"],
        ["Sigmoid", "ScaledTanh"],
        ["Sigmoid", "Affine"],
        ["Sigmoid", "Elu"],
        ["Sigmoid", "ThresholdedRelu"],
        ["Sigmoid", "Softplus"],
    ],
)
def test_activations(names: list[str]) -> None:
    alphas = [0.3] * sum(
        n not in ("Relu", "Tanh", "Sigmoid", "Softsign", "Softplus") for n in names
    )
    betas = [0.4] * sum(n in ("HardSigmoid", "ScaledTanh", "Affine") for n in names)
    attrs: dict[str, Any] = {"hidden_size": HIDDEN, "activations": names}
    attrs |= {"activation_alpha": alphas} if alphas else {}
    attrs |= {"activation_beta": betas} if betas else {}
    close("GRU", case("GRU", 1), 2, **attrs)


def test_both_directions_have_their_own_activations() -> None:
    names = ["Tanh", "Relu"]
    close(
        "RNN", case("RNN", 2), 2, hidden_size=HIDDEN, direction="bidirectional", activations=names
    )


@pytest.mark.parametrize("op_type", GATES)
def test_batch_first_is_a_transposition(op_type: str) -> None:
    inputs = case(op_type, 2)
    attrs: dict[str, Any] = {"hidden_size": HIDDEN, "direction": "bidirectional"}
    y, *ends = run_node(op_type, inputs, outputs(op_type), **attrs)
    swapped = [inputs[0].swapaxes(0, 1).copy(), *inputs[1:]]
    for i in (5, 6):
        if i < len(inputs):
            swapped[i] = inputs[i].swapaxes(0, 1).copy()
    y2, *ends2 = run_node(op_type, swapped, outputs(op_type), layout=1, **attrs)
    np.testing.assert_array_equal(y2, y.transpose(2, 0, 1, 3))
    for end, end2 in zip(ends, ends2, strict=True):
        np.testing.assert_array_equal(end2, end.transpose(1, 0, 2))


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-12), (np.float16, 1e-3)])
def test_other_floats(dtype: Any, tolerance: float) -> None:
    exact = case("LSTM", 1, dtype=np.float16)
    wide = [v.astype(np.float64) if v.dtype == np.float16 else v for v in exact]
    inputs = [v.astype(dtype) if v.dtype == np.float16 else v for v in exact]
    have = run_node("LSTM", inputs, 3, hidden_size=HIDDEN)
    want = run_node("LSTM", wide, 3, hidden_size=HIDDEN)
    for mine, theirs in zip(have, want, strict=True):
        assert mine.dtype == dtype
        np.testing.assert_allclose(mine, theirs, atol=tolerance)


def test_inputs_meet_their_weights_once_and_the_loop_holds_one_product() -> None:
    names = body_operations(lower_node("LSTM", case("LSTM", 1), 3, hidden_size=HIDDEN))
    assert names.count("mx.matmul") == 2
    assert names.count("scf.for") == 1
    assert names.index("mx.matmul") < names.index("scf.for")


def test_an_unknown_activation_is_an_error() -> None:
    with pytest.raises(
        CannotLower, match=r"node 'the/node' .RNN.: activation 'Gauss' is not known"
    ):
        run_node("RNN", case("RNN", 1), 2, hidden_size=HIDDEN, activations=["Gauss"])
