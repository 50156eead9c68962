"""The options of `mx-layout`."""

from fractions import Fraction

import pytest
from xdsl.dialects.builtin import ModuleOp

from mxc.dialects import new_context
from mxc.errors import BadInput
from mxc.passes.mx_layout import MxLayoutPass


def test_options_become_prices():
    prices = MxLayoutPass(emit="last", noise_price="1/3").prices()
    assert (prices.emit, prices.noise) == ("last", Fraction(1, 3))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"emit": "some"}, "a producer cannot emit 'some'; all, last or none"),
        ({"noise_price": "cheap"}, "the noise price 'cheap' is no fraction"),
        ({"noise_price": "1/0"}, "the noise price '1/0' is no fraction"),
        ({"policy": "best"}, "no layout policy 'best'; known: naive"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(BadInput, match=message):
        MxLayoutPass(**options).apply(new_context(), ModuleOp([]))
