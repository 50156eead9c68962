"""What the kit has found, as JSON and as a page to publish."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any


@dataclass
class KitReport:
    """The checks of one target, each `group/check`."""

    target: str
    summary: str = ""
    """Of the target's description."""

    passed: list[str] = field(default_factory=list[str])
    failed: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    """Names and reasons."""

    skipped: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    """What the backend refuses, and why."""

    def as_json(self) -> dict[str, Any]:
        """`{"target", "passed": n, "failed": [{"name", "reason"}], "skipped": [...]}`."""
        return {
            "target": self.target,
            "passed": len(self.passed),
            "failed": [{"name": name, "reason": reason} for name, reason in self.failed],
            "skipped": [{"name": name, "reason": reason} for name, reason in self.skipped],
        }

    def lines(self) -> list[str]:
        """The same for people."""
        lines = [f"FAILED {name}: {reason}" for name, reason in self.failed]
        lines += [f"skipped {name}: {reason}" for name, reason in self.skipped]
        return [*lines, f"{self.target}: {self.verdict}"]

    @property
    def verdict(self) -> str:
        """The counts, in words."""
        counts = f"{len(self.passed)} passed, {len(self.failed)} failed"
        return f"{counts}, {len(self.skipped)} skipped"

    def markdown(self) -> str:
        """A page with a table of groups, then what failed and what was skipped."""
        return "\n".join(self._markdown())

    def _markdown(self) -> Iterator[str]:
        from mxc import __version__

        yield from (f"# Conformance of `{self.target}`", "", self.summary, "")
        yield f"mxc {__version__}: {self.verdict}. Results are compared with the interpreter to"
        yield from (
            "the last bit.",
            "",
            "| group | passed | failed | skipped |",
            "|---|---|---|---|",
        )
        columns = (self.passed, [n for n, _ in self.failed], [n for n, _ in self.skipped])
        for group in dict.fromkeys(name.partition("/")[0] for one in columns for name in one):
            counts = [sum(name.startswith(f"{group}/") for name in one) for one in columns]
            yield f"| {group} | {' | '.join(map(str, counts))} |"
        for title, rows in (("Failed", self.failed), ("Skipped", self.skipped)):
            if rows:
                yield from ("", f"## {title}", "")
                yield from (f"- `{name}`: {reason}" for name, reason in rows)
        yield ""
