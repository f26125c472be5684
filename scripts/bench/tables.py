"""The results as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby

from .cases import MEASURE_NAMES, MEASURES, MIDDLE, Measure
from .peers import LIMIT, NOT_PEERS, OURS, REMOTE
from .runner import Result

LEGEND = (
    "Medians in milliseconds, and in brackets how many times as long as flowtorch it takes: the median of the ratios "
    "of neighbouring runs, so a number above 1 says that flowtorch is faster. `matrix products`: the dense layers of "
    "the same networks alone, without masks, maps and log-determinants. Autoregressive flows are scored, trained and "
    "sampled as they are built for density estimation; `rsample + backward` is of flows built for sampling. Peak "
    "memory: what a first training step adds to a process that has done everything else."
)


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Returns a table; the columns after the first are aligned to the right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def milliseconds(seconds: float) -> str:
    """Returns three significant digits, and no fewer than stand before the point."""
    value = 1e3 * seconds
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}" if value >= 0.1 else f"{value:.4f}"


def times(ratio: float) -> str:
    """Returns a ratio with two decimals, or as an integer if it is large."""
    return f"{ratio:.0f}" if ratio >= 10 else f"{ratio:.2f}"


def cell(result: Result | None) -> str:
    """Returns what stands for a result in a table."""
    if result is None:
        return ""
    if result.timing is None:
        return result.status
    text = milliseconds(result.timing.median)
    if result.ratio is not None and result.library != OURS:
        text += f" ({times(result.ratio.median)})"
    return text + ("*" if result.note else "")


def fastest(results: Iterable[Result]) -> Result | None:
    """Returns the fastest peer among the results."""
    return min((r for r in results if r.ratio is not None and r.library not in NOT_PEERS), key=_ratio, default=None)


def _ratio(result: Result) -> float:
    assert result.ratio is not None
    return result.ratio.median


def _libraries(results: Sequence[Result]) -> list[str]:
    return list(dict.fromkeys(result.library for result in results))


def _find(results: Iterable[Result], library: str, measure: Measure) -> Result | None:
    return next((r for r in results if r.library == library and r.measure == measure), None)


def _by_case(results: Sequence[Result]) -> list[list[Result]]:
    return [list(group) for _, group in groupby(results, key=lambda r: r.case)]


def case_table(results: Sequence[Result]) -> str:
    """Returns the table of one configuration: a row for each library."""
    measures = [m for m in MEASURES if any(r.measure == m for r in results)]
    rows = []
    for library in sorted(_libraries(results), key=lambda name: name == LIMIT):
        cells = [_find(results, library, measure) for measure in measures]
        found = [c for c in cells if c is not None]
        peak = next((c.peak for c in found if c.peak is not None), None)
        count = next((c.parameters for c in found if c.parameters is not None), None)
        ends = [f"{peak / 2**20:.0f} MB" if peak is not None else "", f"{count:,}" if count is not None else ""]
        rows.append([library, *map(cell, cells), *ends])
    return markdown_table(
        [results[0].case.label, *(MEASURE_NAMES[m] for m in measures), "peak memory, train step", "parameters"], rows
    )


def summary_table(results: Sequence[Result]) -> str:
    """Returns the middle configuration in one table: ours, and beside it how the others compare."""
    rows = []
    for group in _by_case(results):
        row = [f"{group[0].case.flow}, D = {group[0].case.dim}"]
        for measure in MEASURES:
            these = [r for r in group if r.measure == measure]
            ours, peer = _find(these, OURS, measure), fastest(these)
            parts = [f"**{cell(ours)}**"]
            others = [peer, *(_find(these, name, measure) for name in (*REMOTE, LIMIT))]
            parts += [f"{r.library} {times(r.ratio.median)}" for r in others if r is not None and r.ratio is not None]
            row.append("<br>".join(parts))
        rows.append(row)
    return markdown_table([f"batch {MIDDLE.batch}", *(MEASURE_NAMES[m] for m in MEASURES)], rows)


def maps_table(results: Sequence[Result]) -> str:
    """Returns a row for each elementwise map and size: ours against the fastest peer."""
    rows = []
    for group in _by_case(results):
        row = [f"{group[0].case.flow}, D = {group[0].case.dim}"]
        for measure in ("train", "log_prob"):
            these = [r for r in group if r.measure == measure]
            ours, peer = _find(these, OURS, measure), fastest(these)
            failing = ", ".join(f"{r.library} fails" for r in these if r.status == "fails" and r.library != OURS)
            shown = f"{peer.library} {cell(peer)}" if peer is not None else failing
            behind = peer is not None and peer.ratio is not None and peer.ratio.quartiles[1] < 1
            row += [cell(ours) or "not there", f"**{shown}**" if behind else shown, cell(_find(these, LIMIT, measure))]
        rows.append(row)
    heads = [h for name in ("train step", "log_prob") for h in (f"{name}, flowtorch", "fastest peer", LIMIT)]
    return markdown_table(["elementwise map", *heads], rows)


def grid_tables(results: Sequence[Result]) -> str:
    """Returns a table for each flow and measure: a row for each size, a column for each library."""
    parts = []
    for flow in dict.fromkeys(r.case.flow for r in results):
        for measure in MEASURES:
            these = [r for r in results if r.case.flow == flow and r.measure == measure]
            libraries = _libraries(these)
            rows = [
                [
                    f"D = {g[0].case.dim}, batch {g[0].case.batch}",
                    *(cell(_find(g, name, measure)) for name in libraries),
                ]
                for g in _by_case(these)
            ]
            if rows:
                parts.append(f"### {flow}: {MEASURE_NAMES[measure]}\n\n" + markdown_table(["", *libraries], rows))
    return "\n".join(parts)


def growth_tables(results: Sequence[Result]) -> str:
    """Returns, for each axis, tables of time and of peak memory of a training step."""
    parts = []
    for axis in ("dim", "bins", "layers", "batch"):
        along = [r for r in results if r.case.but(**{axis: getattr(MIDDLE, axis)}) == MIDDLE and r.measure == "train"]
        values = sorted({getattr(r.case, axis) for r in along})
        if len(values) < 2:
            continue
        at = {(r.library, getattr(r.case, axis)): r for r in along}
        libraries = _libraries(along)
        found = {name: [at.get((name, value)) for value in values] for name in libraries}
        head = [{"dim": "D"}.get(axis, axis), *map(str, values)]
        memory = [
            [name, *(f"{r.peak / 2**20:.1f}" if r is not None and r.peak is not None else "" for r in found[name])]
            for name in libraries
        ]
        parts.append(
            f"### train step against {head[0]}\n\n"
            + markdown_table(head, [[n, *map(cell, found[n])] for n in libraries])
        )
        if any(any(row[1:]) for row in memory):
            parts.append(f"### peak memory of a train step in MB against {head[0]}\n\n" + markdown_table(head, memory))
    return "\n".join(parts)


def slower(results: Sequence[Result]) -> str:
    """Returns a list of where flowtorch takes longer than another library, peers first."""
    others = [r for r in results if r.library in REMOTE or r.library not in NOT_PEERS]
    behind = [r for r in others if r.ratio is not None and r.ratio.median < 1]
    behind.sort(key=lambda r: (r.library in REMOTE, _ratio(r)))
    lines = [
        f"- {r.case.label}, {MEASURE_NAMES[r.measure]}: {r.library} takes {times(_ratio(r))} of the time{_spread(r)}"
        for r in behind
    ]
    return "\n".join(lines) + "\n" if lines else "Nowhere.\n"


def _spread(result: Result) -> str:
    first, third = result.ratio.quartiles if result.ratio is not None else (1.0, 1.0)
    return f" (quartiles {times(first)} to {times(third)})" if third >= 1 else ""


def notes(results: Sequence[Result], missing: dict[str, str]) -> str:
    """Returns what the asterisks, the failures and the gaps are about."""
    lines = [f"- {name} was not there: {reason}" for name, reason in missing.items()]
    about: dict[tuple[str, str, str], list[str]] = {}
    for r in results:
        if r.note:
            about.setdefault((r.case.label, r.library, r.note), []).append(MEASURE_NAMES[r.measure])
    lines += [f"- {label}, {library}, {', '.join(where)}: {note}" for (label, library, note), where in about.items()]
    return "\n".join(lines) + "\n" if lines else "None.\n"


def report(results: Sequence[Result], missing: dict[str, str], foot: str) -> str:
    """Returns the whole report."""
    part = {name: [r for r in results if r.part == name] for name in ("middle", "maps", "grid", "growth")}
    sections = [f"# Benchmark\n\n{LEGEND}\n\n{foot}\n"]
    if part["middle"]:
        tables = "\n".join(case_table(group) for group in _by_case(part["middle"]))
        sections.append(f"## The middle configuration\n\n{summary_table(part['middle'])}\n{tables}")
    if part["maps"]:
        sections.append(
            "## Elementwise maps\n\nIn bold: where a peer is faster, in at least three rounds of four.\n\n"
            + maps_table(part["maps"])
        )
    if part["grid"]:
        sections.append(f"## All sizes\n\n{grid_tables(part['grid'])}")
    if part["growth"]:
        sections.append(f"## Growth\n\nAround the middle configuration.\n\n{growth_tables(part['growth'])}")
    sections.append(f"## Where another library is faster\n\n{slower(results)}")
    sections.append(f"## Notes\n\n{notes(results, missing)}")
    return "\n".join(sections)
