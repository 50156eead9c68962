"""A scatter plot with its Pareto front, as SVG text that needs nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from math import floor, log10

WIDTH, HEIGHT = 760, 420
LEFT, RIGHT, TOP, BOTTOM = 80, 190, 30, 50

COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#222222")


@dataclass(frozen=True)
class Point:
    """A point of the plot."""

    x: float
    y: float
    series: str
    """Points of a series have a colour and an entry in the legend."""
    text: str
    """What hovering over it says, and its label on the front."""


def front(points: Sequence[Point], *, more_is_better: bool) -> list[Point]:
    """The points that no other beats: less x, and more y or less; by x. Equal points are one."""
    sign = -1.0 if more_is_better else 1.0
    found: list[Point] = []
    for point in sorted(points, key=lambda p: (p.x, sign * p.y)):
        if not found or sign * point.y < sign * found[-1].y:
            found.append(point)
    return found


def ticks(low: float, high: float) -> list[float]:
    """About five round numbers from `low` to `high`."""
    if high <= low:
        return [low]
    raw = (high - low) / 5
    unit = 10.0 ** floor(log10(raw))
    step = unit * next(m for m in (1, 2, 5, 10) if m * unit >= raw)
    first = floor(low / step)
    return [
        round(k * step, 12)
        for k in range(first, first + 9)
        if low - 1e-9 * step <= k * step <= high + 1e-9 * step
    ]


def scatter(
    points: Sequence[Point], *, title: str, x: str, y: str, more_is_better: bool = True
) -> str:
    """The plot of `points`; `x` and `y` name the axes. Less x is better; of y, as said.

    Raises:
        ValueError: if there are no points.
    """
    if not points:
        raise ValueError("no points to plot")
    return "\n".join(_Plot(points, more_is_better).lines(title, x, y))


class _Plot:
    """The points and where they go."""

    def __init__(self, points: Sequence[Point], more_is_better: bool) -> None:
        self.points = points
        self.front = front(points, more_is_better=more_is_better)
        self.series = list(dict.fromkeys(point.series for point in points))
        self.xs = _extent([point.x for point in points])
        self.ys = _extent([point.y for point in points])

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Where a point lies, in pixels."""
        across = (x - self.xs[0]) / (self.xs[1] - self.xs[0])
        up = (y - self.ys[0]) / (self.ys[1] - self.ys[0])
        right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
        return round(LEFT + across * (right - LEFT), 1), round(bottom - up * (bottom - TOP), 1)

    def lines(self, title: str, x: str, y: str) -> Iterator[str]:
        """The text, line by line."""
        yield (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
            f'width="{WIDTH}" height="{HEIGHT}" font-family="system-ui, sans-serif" font-size="12">'
        )
        yield _text(LEFT, 18, title, weight="bold")
        yield from self._axes(x, y)
        corners = " ".join(f"{px},{py}" for px, py in self._steps())
        yield f'<polyline points="{corners}" fill="none" stroke="#bbb" stroke-dasharray="4 3"/>'
        for point in self.points:
            px, py = self.at(point.x, point.y)
            colour = COLOURS[self.series.index(point.series) % len(COLOURS)]
            yield (
                f'<circle cx="{px}" cy="{py}" r="5" fill="{colour}" fill-opacity="0.75">'
                f"<title>{escape(point.text)}: {point.x:,.6g}, {point.y:,.6g}</title></circle>"
            )
        for point in self.front:
            px, py = self.at(point.x, point.y)
            yield _text(px + 7, py - 6, point.text)
        yield from self._legend()
        yield "</svg>"

    def _steps(self) -> Iterator[tuple[float, float]]:
        before: Point | None = None
        for point in self.front:
            if before is not None:
                yield self.at(point.x, before.y)
            yield self.at(point.x, point.y)
            before = point

    def _axes(self, x: str, y: str) -> Iterator[str]:
        right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
        yield f'<path d="M{LEFT} {TOP}V{bottom}H{right}" fill="none" stroke="#222"/>'
        for value in ticks(*self.xs):
            px, _ = self.at(value, self.ys[0])
            yield f'<path d="M{px} {bottom}v5" stroke="#222"/>'
            yield _text(px, bottom + 18, f"{value:,.6g}", anchor="middle")
        for value in ticks(*self.ys):
            _, py = self.at(self.xs[0], value)
            yield f'<path d="M{LEFT} {py}h-5" stroke="#222"/>'
            yield _text(LEFT - 8, py + 4, f"{value:,.6g}", anchor="end")
        yield _text((LEFT + right) / 2, HEIGHT - 10, x, anchor="middle")
        yield f'<g transform="translate(16 {(TOP + bottom) / 2}) rotate(-90)">'
        yield _text(0, 0, y, anchor="middle")
        yield "</g>"

    def _legend(self) -> Iterator[str]:
        for index, name in enumerate(self.series):
            py = TOP + 10 + 18 * index
            colour = COLOURS[index % len(COLOURS)]
            yield f'<circle cx="{WIDTH - RIGHT + 70}" cy="{py}" r="5" fill="{colour}"/>'
            yield _text(WIDTH - RIGHT + 82, py + 4, name)


def _extent(numbers: Sequence[float]) -> tuple[float, float]:
    """From the least to the greatest, and a little more; never empty."""
    low, high = min(numbers), max(numbers)
    room = (high - low) * 0.08 or abs(high) * 0.1 or 1.0
    return low - room, high + room


def _text(x: float, y: float, text: str, *, anchor: str = "start", weight: str = "normal") -> str:
    return (
        f'<text x="{x}" y="{y}" text-anchor="{anchor}" font-weight="{weight}">{escape(text)}</text>'
    )
