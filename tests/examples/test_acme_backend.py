"""A vendor's package, installed by pip, passes the kit; wrong twins of it do not."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent.parent
PACKAGE = ROOT / "examples" / "acme_backend"
HAL = Path("acme_backend") / "hal" / "acme_hal.c"

SOME = [
    "quantize/mxfp8_e4m3",
    "requantize/mxfp4 to mxfp4",
    "matmul/mxfp8_e4m3 by mxfp6",
    "conv/mxfp4 by mxfp4",
    "models/convolutional mxfp4",
]


def install(package: Path, site: Path) -> Path:
    """Installs `package` into the folder `site`, by pip, without a network."""
    for tool in ("pip", "hatchling"):
        if importlib.util.find_spec(tool) is None:
            assert not os.environ.get("CI"), f"CI must have {tool}"
            pytest.skip(f"{tool} is not installed here")
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--target", str(site)]
    command = [sys.executable, "-m", "pip", "install", *options, str(package)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return site


@pytest.fixture(scope="module")
def acme(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package, to be put on the path."""
    return install(PACKAGE, tmp_path_factory.mktemp("acme"))


def mxc(site: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command line, in a process that sees what is installed in `site`."""
    program = "import sys; from mxc.cli import main; sys.exit(main(sys.argv[1:]))"
    path = os.pathsep.join([str(site), str(ROOT)])
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=site,
        env={**os.environ, "PYTHONPATH": path},
    )


def kit(site: Path, names: list[str] | None) -> dict[str, Any]:
    """The kit's report on the target acme."""
    some = ()
    if names is not None:
        (site / "names.json").write_text(json.dumps(names))
        some = ("--names", str(site / "names.json"))
    done = mxc(site, "conformance", "--target", "acme", "--json", *some)
    assert done.returncode in (0, 1), done.stderr
    report = json.loads(done.stdout)
    assert done.returncode == bool(report["failed"])
    return report


def test_pip_makes_the_target_known(acme: Path) -> None:
    done = mxc(acme, "targets", "--json")
    listed = {one["name"]: one for one in json.loads(done.stdout)["targets"]}
    assert listed["acme"]["backend"] == "acme"
    assert listed["acme"]["error"] is None
    assert {"npu", "npu-shift", "npu-edge"} <= set(listed)


def test_its_pass_is_listed_in_its_slot(acme: Path) -> None:
    passes = json.loads(mxc(acme, "passes", "--json").stdout)["passes"]
    assert {one["name"]: one["stage"] for one in passes}["acme-reciprocal"] == "after-lowering"


def test_it_passes_the_kit(acme: Path) -> None:
    report = kit(acme, SOME)
    assert report["failed"] == []
    assert report["skipped"] == []
    assert report["passed"] > 45


@pytest.mark.slow
def test_it_passes_the_whole_kit(acme: Path) -> None:
    report = kit(acme, None)
    assert report["failed"] == []
    assert report["skipped"] == []
    assert report["passed"] > 300


def test_an_artifact_has_the_vendors_hal_and_contract(acme: Path, tmp_path: Path) -> None:
    model = tmp_path / "mlp.onnx"
    subprocess.run(
        [sys.executable, str(ROOT / "examples/models.py"), "mlp", str(model)], check=True
    )
    done = mxc(acme, "compile", str(model), "--target", "acme", "-o", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["hal"] == ["acme_hal.c"]
    assert manifest["contracts"] == ["acme-pairwise"]
    assert manifest["target"] == "acme"
    assert not (tmp_path / "out" / "mxnpu_host.c").exists()
    assert "MX_VENDOR_0" in (tmp_path / "out" / "model.c").read_text()
    ran = mxc(acme, "run", str(tmp_path / "out"))
    assert ran.returncode == 0, ran.stderr


def test_formats_and_rules_are_the_targets(acme: Path, tmp_path: Path) -> None:
    model = tmp_path / "mlp.onnx"
    subprocess.run(
        [sys.executable, str(ROOT / "examples/models.py"), "mlp", str(model)], check=True
    )
    refused = mxc(acme, "verify", str(model), "--target", "acme", "--format", "mxint8")
    assert refused.returncode == 2
    assert "target 'acme' has no format 'mxint8'" in refused.stderr
    refused = mxc(acme, "verify", str(model), "--target", "acme", "--scale-rule", "rceil")
    assert "unknown scale rule of target 'acme': 'rceil'" in refused.stderr


Change = tuple[str, str]

TWINS: dict[str, tuple[Change, list[str]]] = {
    "elements are truncated": (("steps = rint(", "steps = floor("), ["quantize/mxfp4"]),
    "the smallest scale is off by one": (
        ("exponent < 0 ? 0 :", "exponent < 1 ? 1 :"),
        ["quantize/mxfp8_e4m3"],
    ),
    "infinity saturates": (
        ("largest != largest || isinf(largest)", "largest != largest"),
        ["quantize/mxfp4"],
    ),
    "the adder is a chain": (
        (
            "sum->product[i] = sum->product[2 * i] + sum->product[2 * i + 1];",
            "sum->product[i] = sum->product[i] + sum->product[i + width];",
        ),
        ["matmul/mxfp8_e4m3 by mxfp8_e4m3"],
    ),
    "NaN codes are numbers": (
        ("if (magnitude > e.largest) return NAN;", "if (0) return NAN;"),
        ["dequantize/mxfp8_e4m3"],
    ),
    "dilations are ignored": (
        ("tap[axis] * d->dilations[axis]", "tap[axis]"),
        ["conv/mxfp4 by mxfp4"],
    ),
    "batches do not broadcast": (
        ("memcpy(right, at, sizeof right);", "memset(right, 0, sizeof right), right[n] = at[n];"),
        ["matmul/mxfp4 by mxfp4"],
    ),
}
FAST = ("elements are truncated",)


def twin(tmp_path: Path, edit: Callable[[str], str], file: Path = HAL) -> Path:
    """The package with one file edited, installed."""
    copy = tmp_path / "twin"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    text = (copy / file).read_text()
    assert edit(text) != text
    (copy / file).write_text(edit(text))
    return install(copy, tmp_path / "site")


@pytest.mark.parametrize(
    "fault", [one if one in FAST else pytest.param(one, marks=pytest.mark.slow) for one in TWINS]
)
def test_the_kit_catches_wrong_twins(tmp_path: Path, fault: str) -> None:
    (old, new), names = TWINS[fault]
    report = kit(twin(tmp_path, lambda text: text.replace(old, new, 1)), names)
    assert report["failed"], fault
    assert "elements differ, first at element" in report["failed"][0]["reason"]


@pytest.mark.slow
def test_the_kit_catches_a_wrong_pass(tmp_path: Path) -> None:
    def edit(text: str) -> str:
        return text.replace("FloatAttr(1.0 / divisor,", "FloatAttr(2.0 / divisor,")

    site = twin(tmp_path, edit, Path("acme_backend") / "passes.py")
    report = kit(site, ["loops/elementwise"])
    assert [one["name"] for one in report["failed"]] == ["loops/elementwise/Div_26"]


@pytest.mark.slow
def test_a_broken_package_is_listed_and_disturbs_nobody(tmp_path: Path) -> None:
    def edit(text: str) -> str:
        return f"raise RuntimeError('no licence')\n{text}".replace("from __future__", "#", 1)

    site = twin(tmp_path, edit, Path("acme_backend") / "__init__.py")
    listed = json.loads(mxc(site, "targets", "--json").stdout)["targets"]
    errors = {one["name"]: one["error"] for one in listed}
    assert "no licence" in errors["acme"]
    assert errors["npu"] is None
    done = mxc(site, "conformance", "--target", "acme")
    assert done.returncode == 2
    assert "no licence" in done.stderr
