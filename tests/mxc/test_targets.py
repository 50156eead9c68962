"""Target descriptions: the shipped ones load; every way to be wrong is an error that says so."""

from pathlib import Path

import pytest

from mxc.errors import BadInput
from mxc.targets import load_target, shipped_targets
from mxc.targets.schema import keys

NPU = (Path(__file__).parent.parent.parent / "mxc/targets/npu.toml").read_text()


def test_the_shipped_ones_load_under_their_names() -> None:
    assert {"npu", "npu-edge", "npu-shift"} <= set(shipped_targets())
    for name in shipped_targets():
        assert load_target(name).name == name


def test_rates_of_the_npu() -> None:
    npu = load_target("npu")
    assert npu.matrix.macs_per_cycle["mxfp8_e4m3"] == 2 * npu.matrix.macs_per_cycle["bf16"]
    assert npu.scratchpad is not None
    assert npu.scratchpad.size == 4 << 20


def test_an_unknown_target_is_an_error() -> None:
    with pytest.raises(BadInput, match="unknown target 'npuu'; did you mean 'npu'"):
        load_target("npuu")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("clock_mhz = 1000", "clock = 1000", "unknown key 'clock'; did you mean 'clock_mhz'"),
        ("lanes = 256", "lane = 256", r"unknown key 'vector\.lane'; did you mean 'vector\.lanes'"),
        ("clock_mhz = 1000", "", "key 'clock_mhz' is missing; the clock"),
        ("clock_mhz = 1000", 'clock_mhz = "fast"', "'fast' must be of type float"),
        ("lanes = 256", "lanes = 0", r"vector\.lanes = 0 must be positive"),
        ("lanes = 256", "lanes = 2.5", r"vector\.lanes = 2\.5 must be of type int"),
        ("alignment = 64", "alignment = 48", "alignment = 48 must be a power of two"),
        ('emit = "all"', 'emit = "some"', "must be one of 'all', 'last', 'none'"),
        ("mxfp4 = 16384", "mxfp4 = -1", r"matrix\.macs_per_cycle\.mxfp4 = -1 must be positive"),
        ("k = 32", "k = 24", "not a multiple of the block size"),
        ('slow = ["div", "exp", "sqrt"]', "slow = [1]", r"vector\.slow = 1 must be a list"),
        ("[layout]", "[[layout]]", r"layout = .* must be a table"),
        ("[layout]", "[layout", "not TOML"),
    ],
)
def test_a_wrong_description_is_an_error(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in NPU
    path = tmp_path / "acme.toml"
    path.write_text(NPU.replace(old, new, 1))
    with pytest.raises(BadInput, match=message):
        load_target(str(path))


def test_dma_needs_a_scratchpad(tmp_path: Path) -> None:
    path = tmp_path / "acme.toml"
    without = NPU.replace("[dma]\nchannels = 2\nlatency = 200\nburst = 64\n", "")
    assert without != NPU
    path.write_text(without)
    with pytest.raises(BadInput, match=r"\[scratchpad\] and \[dma\] come together"):
        load_target(str(path))


def test_a_missing_file_is_an_error() -> None:
    with pytest.raises(BadInput, match="cannot read the target description"):
        load_target("nowhere/acme.toml")


def test_every_key_is_documented() -> None:
    documented = dict(keys())
    assert "matrix.macs_per_cycle" in documented
    assert all(documented.values())
