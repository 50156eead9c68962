"""Who may import whom. The tables are the design; these tests keep them true."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

LEAVES = {"errors", "constants", "__version__"}
FOLDERS = {
    "mxc/numerics": LEAVES,
    "dialects": {"numerics", *LEAVES},
    "mxc/importer": {"dialects", "numerics", *LEAVES},
    "passes": {"dialects", "numerics", "targets", *LEAVES},
    "backends": {"passes", "dialects", "numerics", "targets", *LEAVES},
    "mxc/targets": LEAVES,
}
"""Folder -> the other parts of mxc that its files may import. The driver may import everything."""

BACKENDS_APART = ("ref", "npu", "cpu")
"""No backend imports another: agreement between them must not come from shared code."""

MAY_IMPORT_ONNX = (
    "mxc/importer",
    "dialects/onnx",
    "backends/onnx",
    "mxc/reference.py",
    "mxc/conformance.py",
    "mxc/operators.py",
    "mxc/suites.py",
    "mxc/kit/models.py",
)
"""Files that may import onnx or onnxruntime: importer, schemas, oracles, and the exporter."""


def imported_names(path: Path) -> set[str]:
    """Every dotted name the file imports, `from a import b` as `a.b`."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def parts_of_mxc(names: set[str]) -> set[str]:
    """The parts of mxc among imported names: `mxc.passes.cse` is `passes`."""
    return {name.split(".")[1] for name in names if name.startswith("mxc.")}


def sources(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize("folder", FOLDERS)
def test_imports_point_down(folder: str) -> None:
    own = folder.rpartition("/")[2]
    for path in sources(folder):
        assert parts_of_mxc(imported_names(path)) <= FOLDERS[folder] | {own}, path


def test_leaves_import_nothing_of_mxc() -> None:
    for leaf in LEAVES - {"__version__"}:
        assert parts_of_mxc(imported_names(ROOT / "mxc" / f"{leaf}.py")) <= LEAVES


def test_a_pass_imports_no_other_pass() -> None:
    """Passes share through helpers: a file, or a folder, whose name begins with an underscore."""
    passes = {p.stem for p in (ROOT / "passes").glob("*.py") if not p.stem.startswith("_")}
    for path in sources("passes"):
        imported = {n.split(".")[2] for n in imported_names(path) if n.startswith("mxc.passes.")}
        if path.name not in ("__init__.py", "pipelines.py"):
            assert not imported & (passes - {path.stem}), path


@pytest.mark.parametrize("backend", BACKENDS_APART)
def test_backends_do_not_import_each_other(backend: str) -> None:
    others = tuple(f"mxc.backends.{other}" for other in BACKENDS_APART if other != backend)
    for path in sources(f"backends/{backend}"):
        assert not [name for name in imported_names(path) if name.startswith(others)], path


def test_onnx_is_imported_in_few_places() -> None:
    for folder in ("mxc", "dialects", "passes", "backends"):
        for path in sources(folder):
            place = path.relative_to(ROOT).as_posix()
            uses = {name.split(".")[0] for name in imported_names(path)} & {"onnx", "onnxruntime"}
            assert not uses or place.startswith(MAY_IMPORT_ONNX), path


def test_the_tests_see_a_wrong_import(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.py"
    wrong.write_text("from mxc.backends import ref\nimport mxc.passes.cse\n")
    assert parts_of_mxc(imported_names(wrong)) == {"backends", "passes"}
