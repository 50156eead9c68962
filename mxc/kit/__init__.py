"""The conformance kit: what a vendor's target must get right, to the bit.

    report = run_kit("acme")
    report.as_json()        # {"target", "passed", "failed": [...], "skipped": [...]}
    report.markdown()       # what a vendor can publish

Op by op, over shapes (tails, batches, transposed reads), formats, layouts and edge values, then on
small models: what the target's artifact computes is compared with the interpreter, any NaN equal
to any NaN. A check that the backend refuses with a precise error is skipped, and listed.
"""

from mxc.kit.report import KitReport
from mxc.kit.run import run_kit

__all__ = ["KitReport", "run_kit"]
