"""Random models: onnxruntime, interpreter and C agree on them."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from onnx import checker

from tests.fuzz.check import check, disagreement
from tests.fuzz.generate import Fuzzed, generate

FORMATS = ("f32", "mxfp8")


def reasons(seeds: range) -> list[str]:
    """What is wrong, one line per model and format."""
    found: list[str] = []
    for seed in seeds:
        fuzzed = generate(seed)
        for format in FORMATS:
            reason = check(fuzzed, format)
            if reason:
                found.append(f"model {seed} in {format}: {reason}")
    return found


@pytest.mark.parametrize("start", range(0, 30, 5))
def test_random_models(start: int) -> None:
    assert reasons(range(start, start + 5)) == []


@pytest.mark.slow
@pytest.mark.parametrize("start", range(30, 2000, 10))
def test_two_thousand_random_models(start: int) -> None:
    assert reasons(range(start, start + 10)) == []


def test_the_generator_is_broad_and_repeatable() -> None:
    operators: Counter[str] = Counter()
    opsets: set[int] = set()
    for seed in range(60):
        fuzzed = generate(seed)
        checker.check_model(fuzzed.model)
        operators += fuzzed.operators
        opsets.add(fuzzed.model.opset_import[0].version)
    assert len(operators) > 80
    assert len(opsets) > 15
    again = generate(3)
    assert again.model == generate(3).model
    assert all((again.inputs[k] == v).all() for k, v in generate(3).inputs.items())


def test_a_wrong_value_is_seen() -> None:
    fuzzed = generate(3)
    for out in fuzzed.outputs:
        assert disagreement(out.array, out) == ""
        if out.array.dtype != np.bool_:
            assert disagreement((out.array + 1).astype(out.array.dtype), out) != ""


def test_a_wrong_compiler_is_seen() -> None:
    fuzzed = generate(3)
    [*_, last] = fuzzed.outputs
    moved = [*fuzzed.outputs[:-1], type(last)(last.name, last.array + 1, last.tolerance)]
    wrong = Fuzzed(3, fuzzed.model, fuzzed.inputs, moved, fuzzed.operators)
    assert "interpreter against onnxruntime" in check(wrong, "f32")
