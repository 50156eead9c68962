"""Backends are found by name, ours and vendors'; a broken one disturbs nobody."""

from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp

import mxc.backends
from mxc.backends import list_backends, load_backend
from mxc.backends.base import Backend
from mxc.backends.npu import NpuBackend
from mxc.errors import BackendError, BadInput


class Acme(Backend):
    name = "acme"

    def emit(self, ctx: Context, module: ModuleOp, folder: Path) -> None:
        (folder / "manifest.json").write_text("{}")


class Old(Acme):
    api_version = 0


class Angry(Acme):
    def __init__(self) -> None:
        raise RuntimeError("no licence")


VENDORS = {
    "acme": f"{__name__}:Acme",
    "old": f"{__name__}:Old",
    "angry": f"{__name__}:Angry",
    "absent": "no_such_package:Backend",
    "function": "os:getcwd",
}


@pytest.fixture
def vendors(monkeypatch: pytest.MonkeyPatch) -> None:
    """The plugins of VENDORS, as if they were installed; this file is importable by its name."""
    import sys

    monkeypatch.setitem(sys.modules, __name__, sys.modules.get(__name__) or _this_module())
    points = [EntryPoint(name, value, mxc.backends.GROUP) for name, value in VENDORS.items()]
    monkeypatch.setattr(mxc.backends, "entry_points", lambda group: points)


def _this_module() -> object:
    import types

    module = types.ModuleType(__name__)
    vars(module).update(Acme=Acme, Old=Old, Angry=Angry)
    return module


def test_ours_needs_no_metadata() -> None:
    assert isinstance(load_backend("npu"), NpuBackend)
    assert list_backends()[0].error is None


@pytest.mark.usefixtures("vendors")
def test_a_vendors_backend_is_loaded_by_name() -> None:
    backend = load_backend("acme")
    assert backend.name == "acme"
    assert backend.passes == {}
    assert backend.target_description is None
    with pytest.raises(BackendError, match="no way to run"):
        backend.load(Path())


@pytest.mark.usefixtures("vendors")
def test_broken_backends_are_listed_with_their_errors() -> None:
    errors = {listing.name: listing.error for listing in list_backends()}
    assert next(iter(errors)) == "npu"
    assert errors["acme"] is None
    assert "made for API 0, this is 1" in str(errors["old"])
    assert "no licence" in str(errors["angry"])
    assert "No module named 'no_such_package'" in str(errors["absent"])
    assert "no subclass" in str(errors["function"])


@pytest.mark.usefixtures("vendors")
def test_a_broken_backend_disturbs_nobody_else() -> None:
    assert isinstance(load_backend("npu"), NpuBackend)
    with pytest.raises(BackendError, match="no licence"):
        load_backend("angry")


def test_an_unknown_backend() -> None:
    with pytest.raises(BadInput, match=r"no backend named 'gpu'; installed: .*npu"):
        load_backend("gpu")


def test_two_of_one_name(monkeypatch: pytest.MonkeyPatch) -> None:
    twice = [EntryPoint("npu", "acme:Backend", mxc.backends.GROUP)]
    monkeypatch.setattr(mxc.backends, "entry_points", lambda group: twice)
    with pytest.raises(
        BackendError, match=r"offered twice, by acme:Backend and mxc\.backends\.npu"
    ):
        load_backend("npu")
