"""Targets of vendors by name, their passes in slots, and every way in which they can be wrong."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import ClassVar

import pytest
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp, StringAttr
from xdsl.ir import Operation
from xdsl.passes import ModulePass

import mxc.backends
from mxc.backends import load_backend
from mxc.backends.npu import NpuBackend
from mxc.driver import build_and_run, import_model, lower, pipeline_stages
from mxc.errors import BackendError, BadInput, CannotLower
from mxc.inputs import random_inputs
from mxc.numerics import DotContract
from mxc.numerics.dots import _REGISTERED
from mxc.options import Options, pipeline
from mxc.passes import PASSES, _capabilities
from mxc.passes.pipelines import EXACT, SLOTS, Step
from mxc.vendors import find_target, list_targets

ROOT = Path(__file__).parent.parent.parent
NPU = (ROOT / "mxc/targets/npu.toml").read_text()


@dataclass(frozen=True)
class Note(ModulePass):
    """Leaves a note in the module."""

    name = "zeta-note"
    text: str = ""

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        seen = op.attributes.get("zeta.notes", StringAttr(""))
        assert isinstance(seen, StringAttr)
        op.attributes["zeta.notes"] = StringAttr(f"{seen.data} {self.text}".strip())


class Zeta(NpuBackend):
    """A vendor with everything; tests derive faulty ones."""

    name: ClassVar[str] = "zeta"
    description: ClassVar[Path | None] = None
    slots: ClassVar[Mapping[str, tuple[Step, ...]]] = {
        slot: (Step(f'zeta-note{{text="{slot}"}}', "to be seen", EXACT),) for slot in SLOTS
    }

    @property
    def target_description(self) -> Path | None:
        return self.description

    @property
    def pass_classes(self) -> tuple[type[ModulePass], ...]:
        return (Note,)

    @property
    def passes(self) -> Mapping[str, tuple[Step, ...]]:
        return self.slots

    @property
    def contracts(self) -> tuple[DotContract, ...]:
        return (CONTRACT,)


CONTRACT = DotContract("zeta-dot", lambda a, b, scale, acc: acc)


class Install:
    """Makes backends visible as if they were installed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.monkeypatch, self.folder = monkeypatch, folder

    def __call__(self, kind: type, description: str = "", name: str = "zeta") -> None:
        """Offers `kind` under `name`, with a target description."""
        path = self.folder / "zeta.toml"
        path.write_text(description)
        self.monkeypatch.setattr(kind, "description", path if description else None, raising=False)
        point = _Point(name, f"zeta:{kind.__name__}", mxc.backends.GROUP)
        vars(point)["kind"] = kind
        self.monkeypatch.setattr(mxc.backends, "entry_points", lambda group: [point])


class _Point(EntryPoint):
    def load(self) -> type:
        return vars(self)["kind"]


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Install]:
    contracts, passes = dict(_REGISTERED), dict(PASSES)
    monkeypatch.setattr(_capabilities, "_SUPPORT", dict(_capabilities._SUPPORT))
    yield Install(monkeypatch, tmp_path)
    _REGISTERED.clear()
    _REGISTERED.update(contracts)
    PASSES.clear()
    PASSES.update(passes)


def described(**changes: str) -> str:
    """The npu's description under the name zeta."""
    text = NPU.replace('name = "npu"', 'name = "zeta"').replace('"npu"', '"zeta"')
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new, 1)
    return text


@pytest.fixture
def model_path(tmp_path: Path) -> Path:
    from mxc.kit.models import network_models

    return network_models()[0].save(tmp_path)


def test_a_target_is_found_by_the_name_of_its_backend(install: Install) -> None:
    install(Zeta, described())
    assert find_target("zeta").backend == "zeta"
    assert [one.name for one in list_targets()][-1] == "zeta"
    with pytest.raises(BadInput, match="unknown target 'zetta'; did you mean 'zeta'"):
        find_target("zetta")


def test_passes_run_in_every_slot_in_order(install: Install, model_path: Path) -> None:
    install(Zeta, described())
    options = Options(target="zeta")
    model = import_model(model_path, options)
    lower(model, pipeline(options))
    assert model.module.attributes["zeta.notes"] == StringAttr(" ".join(SLOTS))
    assert pipeline_stages()["zeta-note"] == SLOTS[-1]
    assert not [s for s in pipeline(Options()) if s.name in SLOTS]
    (output,) = build_and_run(model, options, random_inputs(model.inputs))
    assert output.shape == (3, 10)


def test_a_pass_in_no_slot_of_ours(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Zeta, "slots", {"after-lunch": (Step("zeta-note", "", EXACT),)})
    install(Zeta, described())
    with pytest.raises(BackendError, match="unknown slot 'after-lunch'"):
        load_backend("zeta")
    assert "after-lunch" in str(list_targets()[-1].error)
    assert find_target("npu").name == "npu"


def test_a_pass_that_does_not_exist(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Zeta, "slots", {"after-import": (Step("zeta-nope", "", EXACT),)})
    install(Zeta, described())
    with pytest.raises(BackendError, match="unknown pass in slot after-import: 'zeta-nope'"):
        load_backend("zeta")


def test_a_pass_with_the_name_of_ours(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Note, "name", "cse")
    install(Zeta, described())
    with pytest.raises(BackendError, match=r"'cse' of .* has the name of another pass"):
        load_backend("zeta")


def test_contracts_are_chosen_by_the_description(install: Install) -> None:
    exact = '"block-exact"'
    install(Zeta, described(**{exact: '"zeta-dot"'}))
    steps = [step.spec for stage in pipeline(Options(target="zeta")) for step in stage.steps]
    assert any('block-contract="zeta-dot"' in spec for spec in steps)


def test_a_contract_that_nobody_has(install: Install) -> None:
    install(Zeta, described(**{'"block-exact"': '"zeta-dott"'}))
    with pytest.raises(BadInput, match="unknown dot contract of blocks 'zeta-dott'; did you mean"):
        pipeline(Options(target="zeta"))


def test_a_backend_without_a_description(install: Install) -> None:
    install(Zeta)
    with pytest.raises(BadInput, match="backend 'zeta' has no target description"):
        find_target("zeta")


def test_a_description_under_another_name(install: Install) -> None:
    install(Zeta, NPU)
    with pytest.raises(
        BackendError, match="the entry point is 'zeta', the description is of 'npu'"
    ):
        find_target("zeta")


def test_machine_operations_that_are_not_supported(
    install: Install, monkeypatch: pytest.MonkeyPatch, model_path: Path
) -> None:
    def supports(self: Zeta, op: Operation) -> str | None:
        return "the adder is on fire" if op.name == "npu.matmul" else None

    monkeypatch.setattr(Zeta, "supports", supports)
    install(Zeta, described())
    options = Options(target="zeta")
    model = import_model(model_path, options)
    lower(model, pipeline(options))
    with pytest.raises(
        CannotLower, match=r"node 'MatMul_0': backend 'zeta' cannot emit npu.matmul: the adder is"
    ):
        build_and_run(model, options, random_inputs(model.inputs))


def test_blocks_and_rules_of_the_target(install: Install) -> None:
    rules = 'scale_rules = ["ceil", "even", "floor", "rceil"]'
    install(Zeta, described(**{rules: 'scale_rules = ["floor"]\nblock = 16'}))
    text = " ".join(s.spec for stage in pipeline(Options(target="zeta")) for s in stage.steps)
    assert "block=16" in text
    assert 'scale-rule="floor"' in text


def test_a_hal_folder_without_c_is_an_error(
    install: Install, monkeypatch: pytest.MonkeyPatch, model_path: Path, tmp_path: Path
) -> None:
    monkeypatch.setattr(Zeta, "hal", tmp_path)
    install(Zeta, described())
    options = Options(target="zeta")
    model = import_model(model_path, options)
    lower(model, pipeline(options))
    with pytest.raises(BackendError, match="there is no C file of the HAL"):
        build_and_run(model, options, random_inputs(model.inputs))
