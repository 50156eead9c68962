"""The policy of docs/layout.md runs as printed."""

import re
from pathlib import Path
from textwrap import dedent
from typing import Any

from mxc.passes.layout.policies import POLICIES
from mxc.passes.layout.random_problems import random_problem

PAGE = Path(__file__).parents[3] / "docs" / "layout.md"


def test_the_policy_in_the_page_runs():
    text = PAGE.read_text()
    code = re.search(r"(?ms)^    from mxc\.passes\.layout\.plan import.*?(?=^\S)", text)
    assert code is not None
    names: dict[str, Any] = {}
    exec(dedent(code[0]), names)
    for seed in range(20):
        problem = random_problem(seed)
        mine = names["tiles_first"](problem).costs.objective
        assert mine >= POLICIES["exact"](problem).costs.objective


def test_the_example_in_the_page_runs():
    code = re.search(
        r"(?ms)^    from mxc\.passes\.layout\.problem import.*?(?=^\S)", PAGE.read_text()
    )
    assert code is not None
    names: dict[str, Any] = {}
    exec(dedent(code[0]), names)
    assert names["plan"].costs.quantize_ops == 2
