"""The onnx dialect: classes from schemas, the textual form, the evaluator."""

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from xdsl.dialects import test
from xdsl.dialects.builtin import ModuleOp, TensorType, UnitAttr, f32, f64, i64
from xdsl.ir import Attribute, SSAValue
from xdsl.parser import Parser
from xdsl.traits import Pure
from xdsl.utils.exceptions import ParseError, VerifyException

from mxc.dialects import new_context
from mxc.dialects.onnx import ONNX, OnnxOp, op_class, op_types
from mxc.dialects.onnx.reference import evaluate, run
from mxc.dialects.types import element_type, tensor_type
from mxc.errors import CannotLower


def value(*shape: int, element: Attribute = f32) -> SSAValue:
    return test.TestOp(result_types=[TensorType(element, shape)]).results[0]


def tensor(*shape: int) -> TensorType[Any]:
    return TensorType(f32, shape)


def reparsed(op: OnnxOp, *, generic: bool = False) -> OnnxOp:
    """`op` after printing and parsing."""
    source = test.TestOp(result_types=[v.type for v in op.operands])
    for i, result in enumerate(source.results):
        op.operands[i] = result
    module = ModuleOp([source, op])
    module.verify()
    text = str(module) if not generic else _generic(module)
    ctx = new_context()
    ctx.allow_unregistered = True
    parsed = Parser(ctx, text).parse_module()
    parsed.verify()
    last = parsed.body.block.last_op
    assert isinstance(last, OnnxOp)
    return last


def _generic(module: ModuleOp) -> str:
    from io import StringIO

    from xdsl.printer import Printer

    stream = StringIO()
    Printer(stream, print_generic_format=True).print_op(module)
    return stream.getvalue()


def test_every_operator_of_the_newest_opset_has_a_class() -> None:
    classes = list(ONNX.operations)
    assert len(classes) == len(op_types()) > 190
    assert all(cls.name == f"onnx.{op}" for cls, op in zip(classes, op_types(), strict=True))
    assert op_class("MatMul") is op_class("MatMul")
    with pytest.raises(KeyError):
        op_class("Upsample")  # deprecated: the importer makes Resize of it


def test_operands_and_attributes_are_those_of_the_schema() -> None:
    conv = op_class("Conv").create_node(
        [value(1, 2, 4, 4), value(2, 1, 3, 3)], [tensor(1, 2, 2, 2)], {"group": 2}
    )
    conv.verify()
    assert conv.op_type == "Conv"
    assert conv.inputs == list(conv.operands)
    assert conv.attr("group") == 2
    assert conv.attr("auto_pad") == "NOTSET"
    assert conv.attr("pads") is None
    with pytest.raises(KeyError):
        conv.attr("colour")


def test_omitted_inputs_and_outputs_are_none() -> None:
    x, high = value(2), value()
    clip = op_class("Clip").create_node([x, None, high], [tensor(2)])
    assert clip.inputs == [x, None, high]
    assert op_class("Clip").create_node([x], [tensor(2)]).inputs == [x]
    lstm = op_class("LSTM").create_node(
        [value(3, 1, 2), value(1, 8, 2), value(1, 8, 2)], [None, tensor(1, 1, 2)]
    )
    lstm.verify()
    assert lstm.outputs == [None, lstm.results[0]]
    with pytest.raises(ValueError, match="'B' must be given"):
        op_class("Add").create_node([x], [tensor(2)])


def test_a_type_variable_means_one_element_type() -> None:
    add = op_class("Add").create_node([value(2), value(2, element=f64)], [tensor(2)])
    with pytest.raises(VerifyException):
        add.verify()
    flag = op_class("Not").create_node([value(2)], [tensor(2)])
    with pytest.raises(VerifyException):
        flag.verify()


def test_deterministic_operators_are_pure() -> None:
    assert op_class("Conv").has_trait(Pure)
    assert not op_class("RandomNormal").has_trait(Pure)
    assert not op_class("Loop").has_trait(Pure)


@pytest.mark.parametrize("generic", [False, True])
@pytest.mark.parametrize(
    ("op_type", "inputs", "results", "attrs"),
    [
        ("MatMul", [value(2, 3), value(3, 4)], [tensor(2, 4)], {}),
        ("Clip", [value(2), None, value()], [tensor(2)], {}),
        ("Concat", [value(2), value(3)], [tensor(5)], {"axis": -1}),
        ("Resize", [value(1, 1, 2), None, value(3)], [tensor(1, 1, 4)], {"mode": "a\"b\n"}),
        ("LSTM", [value(3, 1, 2), value(1, 8, 2), value(1, 8, 2)], [None, tensor(1, 1, 2)], {}),
        ("Split", [value(4)], [tensor(2), tensor(2)], {"num_outputs": 2}),
        ("LeakyRelu", [value(2)], [tensor(2)], {"alpha": 0.1}),
        ("RNN", [value(1, 1, 1)] * 3, [tensor(1, 1, 1, 1)], {"activations": ["Tanh", "Relu"]}),
        ("Transpose", [value(2, 3)], [tensor(3, 2)], {"perm": [1, 0]}),
        ("TfIdfVectorizer", [value(2, element=i64)], [tensor(2)], {
            "max_gram_length": 1, "max_skip_count": 0, "min_gram_length": 1, "mode": "TF",
            "ngram_counts": [0], "ngram_indexes": [0, 1], "weights": [0.5, float("inf")],
        }),
    ],
)  # fmt: skip
def test_operations_print_and_parse(
    op_type: str, inputs: Any, results: Any, attrs: Any, generic: bool
) -> None:
    op = op_class(op_type).create_node(inputs, results, attrs)
    op.attributes["mark"] = UnitAttr()
    op = op.clone()
    again = reparsed(op, generic=generic)
    assert again.op_type == op_type
    assert again.properties == op.properties
    assert again.attributes == op.attributes
    assert [v and v.type for v in again.inputs] == [v and v.type for v in inputs]
    assert [v and v.type for v in again.outputs] == results


def test_the_textual_form() -> None:
    op = op_class("Clip").create_node([value(2), None, value()], [tensor(2)])
    text = str(op)
    assert text.endswith("(%1, none, %2) : (tensor<2xf32>, tensor<f32>) -> tensor<2xf32>")


def test_a_wrong_number_of_operands_is_a_parse_error() -> None:
    ctx = new_context()
    ctx.allow_unregistered = True
    text = """
        %0 = "test.op"() : () -> tensor<2xf32>
        %1 = onnx.Add(%0) : (tensor<2xf32>) -> tensor<2xf32>
    """
    with pytest.raises(ParseError, match="'B' must be given"):
        Parser(ctx, text).parse_module()


@settings(max_examples=50)
@given(st.floats(width=32), st.lists(st.floats(width=32, allow_nan=False), max_size=2))
def test_float_attributes_keep_every_bit(alpha: float, weights: list[float]) -> None:
    op = op_class("LeakyRelu").create_node([value(2)], [tensor(2)], {"alpha": alpha})
    again = reparsed(op.clone())
    assert (
        np.float32(again.attr("alpha")).tobytes() == np.float32(alpha).tobytes() or alpha != alpha
    )
    op = op_class("RNN").create_node(
        [value(1, 1, 1)] * 3, [tensor(1, 1, 1, 1)], {"activation_alpha": weights}
    )
    assert reparsed(op.clone()).attr("activation_alpha") == weights


@pytest.mark.parametrize(
    "array",
    [
        np.array([2.5], np.float32),
        np.array([-7], np.int64),
        np.array([200], np.uint8),
        np.array([True]),
        np.array([0.5], np.float16),
        np.array([1.5], ml_dtypes.bfloat16),
    ],
)
def test_tensor_attributes(array: NDArray[Any]) -> None:
    shape = value(2, element=i64)
    op = op_class("ConstantOfShape").create_node(
        [shape], [TensorType(element_type(array.dtype), [2, 3])], {"value": array}
    )
    again = reparsed(op.clone())
    assert again.attr("value") == array
    assert again.attr("value").dtype == array.dtype
    [result] = evaluate(again, [np.array([2, 3])])
    assert (result == array).all()
    assert result.shape == (2, 3)


# The evaluator.


def test_narrow_floats_are_computed_wide_and_rounded_once() -> None:
    x = np.array([1, 2, 3], ml_dtypes.bfloat16)
    [y] = run("Softmax", {}, [x], [x.dtype])
    assert y is not None
    assert y.dtype == x.dtype
    exact = np.exp(x.astype(np.float64)) / np.exp(x.astype(np.float64)).sum()
    assert (y == exact.astype(ml_dtypes.bfloat16)).all()


def test_casts_see_the_narrow_type() -> None:
    x = np.array([0.1, -300, 1e9], np.float32)
    [y] = run("Cast", {"to": 17}, [x], [np.dtype(ml_dtypes.float8_e4m3fn)])
    assert y is not None
    assert y.astype(np.float32).tolist() == [0.1015625, -288.0, 448.0]


def test_grouped_conv_transpose_differs_from_the_reference_for_good() -> None:
    x = np.arange(8, dtype=np.float32).reshape(1, 2, 4)
    w = np.ones((2, 3, 2), np.float32)
    [y] = run("ConvTranspose", {"group": 2}, [x, w], [x.dtype])
    assert y is not None
    assert y.shape == (1, 6, 5)
    assert y[0, 0].tolist() == [0, 1, 3, 5, 3]
    assert y[0, 3].tolist() == [4, 9, 11, 13, 7]


def test_indices_of_max_pool_count_through_the_whole_tensor() -> None:
    x = np.array([[[3, 1, 2, 5]], [[9, 9, 7, 8]]], np.float32)
    y, index = run(
        "MaxPool", {"kernel_shape": [2], "strides": [2]}, [x], [x.dtype, np.dtype(np.int64)]
    )
    assert y is not None
    assert index is not None
    assert y.tolist() == [[[3, 5]], [[9, 8]]]
    assert index.tolist() == [[[0, 3]], [[4, 7]]]


@pytest.mark.parametrize(
    ("op_type", "attrs", "args", "want"),
    [
        ("Pad", {}, [np.arange(4), np.array([-1, 2])], [1, 2, 3, 0, 0]),
        ("Pad", {"mode": "edge"}, [np.arange(4), np.array([1, -2])], [0, 0, 1]),
        ("LpNormalization", {"p": 1}, [np.array([-1.0, 3.0])], [-0.25, 0.75]),
        ("LpNormalization", {}, [np.array([0.0, 0.0])], [0, 0]),
        ("LogSoftmax", {}, [np.array([[0.0, -1000.0]])], [[0, -1000]]),
        ("GlobalMaxPool", {}, [np.array([[[1.0, 5.0]], [[3.0, 2.0]]])], [[[5]], [[3]]]),
        (
            "LpPool",
            {"kernel_shape": [2], "strides": [2], "ceil_mode": 1},
            [np.array([[[3.0, -4.0, 5.0]]])],
            [[[5, 5]]],
        ),
    ],
)
def test_cases_in_which_the_reference_is_wrong(
    op_type: str, attrs: Any, args: Any, want: Any
) -> None:
    [y] = run(op_type, attrs, args, [args[0].dtype])
    assert y is not None
    assert y.tolist() == want


@pytest.mark.parametrize("layout", [0, 1])
def test_sequences_of_different_lengths(layout: int) -> None:
    """A state that adds up what it reads, from the back."""
    x = np.arange(1, 7, dtype=np.float32).reshape(3, 2, 1)  # time, batch
    if layout:
        x = x.transpose(1, 0, 2)
    one = np.ones((1, 1, 1), np.float32)
    attrs = {"hidden_size": 1, "direction": "reverse", "activations": ["Affine"], "layout": layout}
    attrs |= {"activation_alpha": [1.0], "activation_beta": [0.0]}
    y, last = run("RNN", attrs, [x, one, one, None, np.array([2, 3], np.int32)], [x.dtype] * 2)
    assert y is not None
    assert last is not None
    assert last.reshape(-1).tolist() == [1 + 3, 2 + 4 + 6]
    rows = y.reshape(2, 3) if layout else y.reshape(3, 2).T
    assert rows.tolist() == [[4, 3, 0], [12, 10, 6]]


def test_what_cannot_be_evaluated_is_an_error() -> None:
    with pytest.raises(CannotLower, match="cannot evaluate MatMul"):
        run("MatMul", {}, [np.ones((2, 3)), np.ones((2, 3))], [np.dtype(np.float64)])


def test_evaluate_takes_arguments_by_position() -> None:
    x = np.array([-1.0, 5.0], np.float32)
    op = op_class("Clip").create_node([value(2), None, value()], [tensor_type(x)])
    [y] = evaluate(op, [x, None, np.array(2, np.float32)])
    assert y.tolist() == [-1, 2]
