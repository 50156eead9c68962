"""Tests in IR, golden files, and the real models.

Every `tests/**/*.mlir` is a file of tests; cases are separated by lines `// -----`.

    // RUN: pass1,pass2{option=value}     on line 1 for all cases; in another case for that one
    // CHECK: ...                         judged by filecheck against the printed module
    // RUN-ERROR: text                    instead: parsing, verifying or a pass fails, saying `text`

An empty RUN (`// RUN:`) parses, verifies and prints.
"""

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import pytest
from filecheck.finput import FInput
from filecheck.matcher import Matcher
from filecheck.options import Options
from filecheck.parser import Parser as CheckParser
from filecheck.parser import pattern_for_opts

TESTS = Path(__file__).parent
MODELS = TESTS.parent.parent / "shared" / "models"


@dataclass(frozen=True)
class Case:
    """One case of an `.mlir` file: the passes, the expected error if any, and the text."""

    passes: str
    error: str | None
    text: str


def cases(text: str) -> Iterator[Case]:
    """The cases of an `.mlir` file."""
    default = _directive("RUN", text.splitlines()[0] if text else "")
    for part in re.split(r"(?m)^// -----.*$", text):
        passes = _directive("RUN", part)
        passes = default if passes is None else passes
        if passes is None:
            raise ValueError("an .mlir test begins with `// RUN: passes`")
        yield Case(passes, _directive("RUN-ERROR", part), part)


def _directive(name: str, text: str) -> str | None:
    found = re.search(rf"(?m)^[ \t]*// {name}:[ \t]*(.*)$", text)
    return found[1].strip() if found else None


class IRTest(pytest.Item):
    """Parse, verify, run the passes, check the printed module, or the error."""

    case: Case

    def runtest(self) -> None:
        if self.case.error is None:
            self._check(self._output())
            return
        assert "CHECK" not in self.case.text, "a case has CHECK lines or RUN-ERROR, not both"
        with pytest.raises(Exception, match=re.escape(self.case.error)):
            self._output()

    def _output(self) -> str:
        from mxc.opt import apply_passes, parse, print_module

        ctx, module = parse(self.case.text, self.path.name)
        apply_passes(ctx, module, self.case.passes)
        return print_module(module)

    def _check(self, output: str) -> None:
        opts = Options(match_filename=str(self.path))
        checks = CheckParser(opts, StringIO(self.case.text), *pattern_for_opts(opts))
        assert Matcher(opts, FInput(self.path.name, output), checks).run() == 0, output


class IRFile(pytest.File):
    """One `.mlir` file."""

    def collect(self) -> Iterator[IRTest]:
        for number, case in enumerate(cases(self.path.read_text())):
            test: IRTest = IRTest.from_parent(self, name=f"case{number}")
            test.case = case
            yield test


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> IRFile | None:
    if file_path.suffix != ".mlir":
        return None
    collected: IRFile = IRFile.from_parent(parent, path=file_path)
    return collected


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="rewrite the golden files")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """`golden(name, text)`: `text` equals tests/golden/<name>; --update-golden makes it so."""

    def check(name: str, text: str) -> None:
        path = TESTS / "golden" / name
        if request.config.getoption("--update-golden"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        assert path.is_file(), f"{path} is missing: pytest --update-golden makes it"
        assert path.read_text() == text

    return check


def shared_models() -> Path:
    """The folder of real models beside the checkout; the test is skipped when it is absent.

    In CI (environment CI=true) its absence is a failure, so that these tests cannot silently stop
    running.
    """
    if not MODELS.is_dir():
        reason = f"real models are not at {MODELS}"
        if os.environ.get("CI") == "true":
            pytest.fail(f"{reason}, and CI=true says they must run")
        pytest.skip(reason)
    return MODELS


@pytest.fixture(name="shared_models")
def shared_models_fixture() -> Path:
    """See `shared_models`."""
    return shared_models()
