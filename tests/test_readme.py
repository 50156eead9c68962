"""The example of the README does what the README shows."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from mxc.cli import main

ROOT = Path(__file__).parent.parent


def example() -> list[tuple[list[str], list[str]]]:
    """The commands of the README's example, each with the lines of output shown below it."""
    found: list[tuple[list[str], list[str]]] = []
    for line in (ROOT / "README.md").read_text().splitlines():
        if line.startswith("    $ .venv/bin/"):
            found.append((shlex.split(line.removeprefix("    $ .venv/bin/")), []))
        elif line.startswith("    ") and found:
            found[-1][1].append(line.strip())
        elif line.startswith("## Commands"):
            break
    return found


def constant(line: str) -> str:
    """`line` without what differs between machines: times and versions."""
    return re.sub(r"\d+\.\d s|onnxruntime \S+", "", line.strip())


def test_the_example(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    commands = example()
    assert len(commands) == 5
    for (program, *arguments), shown in commands:
        if program == "python":
            arguments[0] = str(ROOT / arguments[0])
            subprocess.run([sys.executable, *arguments], check=True)
            continue
        assert program == "mxc"
        assert main(arguments) == 0
        printed = {constant(line) for line in capfd.readouterr().out.splitlines()}
        missing = [line for line in shown if line != "..." and constant(line) not in printed]
        assert not missing, printed


def test_every_link_leads_somewhere() -> None:
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
