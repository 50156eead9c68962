"""Plans for people: one HTML file without network access, and a graph for `dot`.

The page shows two policies side by side, class by class: every version with how it is made, from
what, and the bytes that takes; every use with the version it reads. Colours stand for block axes.
Classes that differ in names only are one row. Hovering over a version tells its bytes, over
a use what it could have read instead.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from html import escape

from mxc.passes.layout.explain import explain
from mxc.passes.layout.graph import Arc, ClassGraph, Node
from mxc.passes.layout.plan import ClassPlan, Costs, Plan, axis_of
from mxc.passes.layout.problem import UNIT, Contraction
from mxc.passes.layout.report import Comparison

COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377")
"""By number of the axis; distinguishable without red-green vision (Tol's bright scheme)."""

_GREY, _TILE = "#bbbbbb", "#222222"
_QUIET = ("given", "keep", "weaken")
_COLUMNS: Mapping[str, Callable[[Costs], str]] = {
    "quantise": lambda costs: f"{costs.quantize_ops}",
    "requantise": lambda costs: f"{costs.requantize_ops}",
    "quantise bytes": lambda costs: f"{costs.quantize_units / UNIT:,.0f}",
    "traffic bytes": lambda costs: f"{costs.traffic_units / UNIT:,.0f}",
    "stored bytes": lambda costs: f"{costs.stored_units / UNIT:,.0f}",
    "kept bytes": lambda costs: f"{costs.saved_units / UNIT:,.0f}",
    "objective": lambda costs: f"{costs.objective / UNIT:,.0f}",
}


def colour(node: Node) -> str:
    """The colour of a version."""
    if node.form != "mx":
        return _GREY
    return _TILE if len(node.tags) == 2 else COLOURS[node.tags[0][1] % len(COLOURS)]


def html_report(
    comparison: Comparison, *, reasons: bool = True, figures: Sequence[str] = ()
) -> str:
    """The page. `reasons` adds the best alternative of every use of the exact plan, by re-solving.

    `figures` are SVG texts, shown behind the table of costs.

    Raises:
        ValueError: if there is no plan to show.
    """
    if not comparison.plans:
        raise ValueError("no plans to compare")
    names = list(comparison.plans)
    left, right = names[0], "exact" if "exact" in names else names[-1]
    wanted = reasons and "exact" in names
    hints: Mapping[tuple[int, int], str] = _hints(comparison.plans["exact"]) if wanted else {}
    rows = "\n".join(_rows(comparison.plans, hints))
    options = {side: "".join(_option(n, n == chosen) for n in names)
               for side, chosen in (("left", left), ("right", right))}  # fmt: skip
    heads = "".join(f'<th class="p" data-p="{escape(n)}">{escape(n)}</th>' for n in names)
    title = escape(comparison.problem.name or "model")
    return _PAGE.format(
        title=title, emit=comparison.problem.prices.emit,
        summary="\n".join([_summary(comparison), *figures]),
        left=options["left"], right=options["right"], heads=heads, rows=rows, legend=_legend(),
    )  # fmt: skip


def _option(name: str, selected: bool) -> str:
    return f"<option{' selected' if selected else ''}>{escape(name)}</option>"


def _summary(comparison: Comparison) -> str:
    """The table of costs."""
    heads = "".join(f"<th>{name}</th>" for name in _COLUMNS)
    best = min(plan.costs.objective for plan in comparison.plans.values())

    def row(name: str, costs: Costs) -> str:
        cells = "".join(f"<td class=n>{show(costs)}</td>" for show in _COLUMNS.values())
        ratio = costs.objective / best if best else 1.0
        return f"<tr><td>{escape(name)}</td>{cells}<td class=n>{ratio:.3f}</td></tr>"

    lines = (row(name, plan.costs) for name, plan in comparison.plans.items())
    return f"<table><tr><th>policy</th>{heads}<th>to best</th></tr>{''.join(lines)}</table>"


def _legend() -> str:
    axes = "".join(_chip(f"axis {i}", c, "") for i, c in enumerate(COLOURS))
    return axes + _chip("tile", _TILE, "") + _chip("HP", _GREY, "")


def _hints(plan: Plan) -> Mapping[tuple[int, int], str]:
    """For the uses of contracted classes: the best alternative, in words; equal classes once."""
    known: dict[tuple[object, ...], list[str]] = {}
    hints: dict[tuple[int, int], str] = {}
    for index, graph in enumerate(plan.graph.classes):
        if not any(node.form == "mx" for node in graph.nodes):
            continue
        if graph.signature not in known:
            known[graph.signature] = [_hint(plan, graph, n) for n in range(len(graph.uses))]
        hints.update({(index, n): text for n, text in enumerate(known[graph.signature])})
    return hints


def _hint(plan: Plan, graph: ClassGraph, number: int) -> str:
    """The best alternative of one use."""
    use = graph.uses[number]
    for reading in explain(plan, use.value).readings:
        if (reading.op, reading.operand) == (use.op, use.operand) and reading.alternatives:
            return f"instead {reading.alternatives[0]}"
    return ""


def _rows(plans: Mapping[str, Plan], hints: Mapping[tuple[int, int], str]) -> list[str]:
    """One row for every kind of class that has quantised versions."""
    graph = next(iter(plans.values())).graph
    kinds: dict[tuple[object, ...], list[int]] = {}
    for index, item in enumerate(graph.classes):
        if any(node.form == "mx" for node in item.nodes):
            chosen = tuple((plan.classes[index].arcs, plan.classes[index].picks)
                           for plan in plans.values())  # fmt: skip
            kinds.setdefault((item.signature, chosen), []).append(index)
    return [_row(plans, members, hints) for members in kinds.values()]


def _row(
    plans: Mapping[str, Plan], members: Sequence[int], hints: Mapping[tuple[int, int], str]
) -> str:
    """The row of some equal classes, with a cell for each policy."""
    index = members[0]
    graph = next(iter(plans.values())).graph.classes[index]
    name = next(node.value for node in graph.nodes if node.form != "root")
    others = f" <span class=m>and {len(members) - 1} like it</span>" if len(members) > 1 else ""
    value = next(iter(plans.values())).problem.by_name[name]
    shape = " x ".join(str(n) for n in value.shape)
    cells = "".join(
        f'<td class="p" data-p="{escape(policy)}">'
        + _cell(graph, plan.classes[index], index, hints if policy == "exact" else {})
        + "</td>"
        for policy, plan in plans.items()
    )
    return (
        f"<tr><td><b>{escape(name)}</b>{others}<br><span class=m>{shape}, {value.kind}</span></td>"
        f"{cells}</tr>"
    )


def _cell(
    graph: ClassGraph, plan: ClassPlan, index: int, hints: Mapping[tuple[int, int], str]
) -> str:
    """What one policy does with a class."""
    lines = [
        _made(graph, graph.arcs[arc]) for arc in plan.arcs if graph.arcs[arc].kind not in _QUIET
    ]
    for number, (use, pick) in enumerate(zip(graph.uses, plan.picks, strict=True)):
        node = graph.nodes[use.options[pick].node]
        hint = escape(hints.get((index, number), ""))
        lines.append(f'<span title="{hint}">{escape(use.op)}</span> reads {_version(node)}')
    return "<br>".join(lines)


def _made(graph: ClassGraph, arc: Arc) -> str:
    """One opened arc."""
    head = graph.nodes[arc.head]
    source = graph.nodes[arc.tails[0]]
    origin = f"{_version(source)} " if source.form == "mx" else ""
    title = f"{arc.traffic / UNIT:,.0f} bytes of traffic"
    return f'{origin}<span class=m title="{title}">{arc.kind} →</span> {_version(head)}'


def _version(node: Node) -> str:
    """A version as a coloured chip."""
    again = " again" if node.generation == 2 else ""
    return _chip(axis_of(node) + again, colour(node), f"{node}")


def _chip(text: str, colour: str, title: str) -> str:
    return f'<i style="background:{colour}" title="{escape(title)}">{escape(text)}</i>'


def dot(plan: Plan) -> str:
    """The ops and values of a plan for `dot`: an edge is a read, coloured by the version read."""
    lines = ["digraph layout {", "  rankdir=TB; node [shape=box, fontname=Helvetica];"]
    numbers: dict[str, str] = {}

    def node(kind: str, name: str, shape: str) -> str:
        key = f"{kind} {name}"
        if key not in numbers:
            numbers[key] = f"n{len(numbers)}"
            lines.append(f"  {numbers[key]} [label={json.dumps(name)}, shape={shape}];")
        return numbers[key]

    contractions = {u.name for u in plan.problem.uses if isinstance(u, Contraction)}
    for graph, part in zip(plan.graph.classes, plan.classes, strict=True):
        for use, pick in zip(graph.uses, part.picks, strict=True):
            version = graph.nodes[use.options[pick].node]
            source = node("value", use.value, "ellipse")
            target = node("op", use.op, "box" if use.op in contractions else "plaintext")
            label = json.dumps(axis_of(version) if version.form == "mx" else "")
            lines.append(f'  {source} -> {target} [color="{colour(version)}", label={label}];')
    for view in plan.problem.views:
        target = node("value", view.output, "ellipse")
        for name in view.inputs:
            lines.append(f"  {node('value', name, 'ellipse')} -> {target} [style=dashed];")
    return "\n".join([*lines, "}", ""])


_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>layout of {title}</title>
<style>
body {{ font: 14px/1.5 system-ui, sans-serif; margin: 2em; color: #222 }}
table {{ border-collapse: collapse; margin: 1em 0 }}
td, th {{ border-bottom: 1px solid #ddd; padding: .3em .8em; text-align: left;
  vertical-align: top }}
.n {{ text-align: right; font-variant-numeric: tabular-nums }}
.m {{ color: #777 }}
i {{ font-style: normal; color: #fff; border-radius: 3px; padding: 0 .4em; margin: 0 .15em }}
</style>
<h1>Layout of {title}</h1>
<p class="m">Producers can emit: {emit}. Bytes are those of the cost model.</p>
{summary}
<p>Compare <select id="left">{left}</select> with <select id="right">{right}</select>
<label><input type="checkbox" id="changed"> only classes that differ</label></p>
<p>{legend}</p>
<table id="classes"><tr><th>values</th>{heads}</tr>
{rows}
</table>
<script>
const pick = id => document.getElementById(id);
function show() {{
  const left = pick("left").value, right = pick("right").value;
  for (const row of pick("classes").rows) {{
    const shown = [];
    for (const cell of row.querySelectorAll(".p")) {{
      const on = cell.dataset.p === left || cell.dataset.p === right;
      cell.style.display = on ? "" : "none";
      if (on) shown.push(cell.textContent);
    }}
    const same = row.rowIndex > 0 && shown.every(text => text === shown[0]);
    row.style.display = same && pick("changed").checked ? "none" : "";
  }}
}}
for (const id of ["left", "right", "changed"]) pick(id).onchange = show;
show();
</script>
</html>
"""
