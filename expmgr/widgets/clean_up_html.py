"""What a clean-up's plan takes and leaves, as escaped HTML. Pure."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from expmgr.formatting import format_bytes, format_count
from expmgr.secrecy import redact
from expmgr.text import HOVER_LIMIT, escape, plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from expmgr.cleanup.plan import DeletionPlan, RunPlan

__all__ = ["PAGE", "going_html", "in_order", "script_html", "staying_html", "sum_words"]

PAGE = 25
"""Models on a page of what goes."""
MOST_NAMED = 50
MOST_GROUPS = 30


def sum_words(plan: DeletionPlan) -> str:
    """Return in one line what goes, what that frees and saves, and what stays."""
    models = sum(len(run.locations) for run in plan.deletable)
    if not models:
        return plain(plan.note, 400) or "Nothing would go."
    what = f"{format_count(models, 'model')}, {format_count(plan.files, 'file')}"
    words = f"Frees {format_bytes(plan.bytes)}: {what}"
    if plan.bill is not None:
        words += f"; saves {plan.bill.words}"
    return words


def in_order(plan: DeletionPlan, *, by_size: bool) -> list[RunPlan]:
    """Return what goes, the largest first or the newest."""
    if by_size:
        return sorted(plan.deletable, key=lambda run: -run.bytes)
    return sorted(plan.deletable, key=_created, reverse=True)


def _created(run: RunPlan) -> int:
    return max((one.model.created for one in run.locations if one.model is not None), default=0)


def going_html(runs: Sequence[RunPlan], page: int) -> str:
    """Return one page of what goes, a line a deletion."""
    lines = [
        "<tr>"
        f"{_cell(run.run_name or run.id)}{_cell(run.id, 'xm-dim')}"
        f"{_cell(run.experiment_name, 'xm-dim')}"
        f'<td class="xm-right">{escape(_amount(run))}</td></tr>'
        for run in runs[page * PAGE : (page + 1) * PAGE]
    ]
    if not lines:
        return ""
    return (
        '<div class="xm-frame xm-plain" tabindex="0"><table class="xm-lines"><thead><tr>'
        "<th>What goes</th><th>Run or model</th><th>Experiment</th>"
        f'<th class="xm-right">Size</th></tr></thead><tbody>{"".join(lines)}</tbody></table></div>'
    )


def _amount(run: RunPlan) -> str:
    several = f"{len(run.locations)} models, " if len(run.locations) > 1 else ""
    note = f"; {redact(run.note)}" if run.note else ""
    return f"{several}{format_count(run.files, 'file')}, {format_bytes(run.bytes)}{note}"


def _cell(text: object, *classes: str) -> str:
    named = f' class="{" ".join(classes)}"' if classes else ""
    return f'<td{named} title="{escape(text, HOVER_LIMIT)}"><bdi>{escape(text, 120)}</bdi></td>'


def staying_html(plan: DeletionPlan) -> str:
    """Return what stays by its reason, the most frequent first, each folded with its names."""
    groups: dict[str, list[tuple[str, str, str, int | None]]] = defaultdict(list)
    for run in plan.runs:
        if not run.deletable:
            why = run.problem or (
                f"nothing is stored any more: {run.model}"
                if not run.files
                else f"it is {run.model}"
            )
            title = "it could not be planned" if run.problem else "there is nothing to delete"
            groups[title].append((run.run_name, run.id, redact(why), run.bytes))
    for one in plan.kept:
        title = f"protected: {one.kinds}" if one.kinds else one.why
        groups[title].append((one.name, one.id, one.why if one.kinds else "", one.bytes))
    if not groups:
        return ""
    most = sorted(groups.items(), key=lambda group: (-len(group[1]), group[0]))
    parts = [_group(title, models) for title, models in most[:MOST_GROUPS]]
    if len(most) > MOST_GROUPS:
        rest = sum(len(models) for _, models in most[MOST_GROUPS:])
        reasons = format_count(len(most) - MOST_GROUPS, "reason")
        parts.append(f'<p class="xm-dim">and {reasons} more, of {rest:,} models</p>')
    count = sum(len(models) for models in groups.values())
    size = sum(size or 0 for models in groups.values() for *_, size in models)
    head = f"Stays: {format_count(count, 'model')}, {format_bytes(size)}"
    return f'<h4>{escape(head)}</h4><div class="xm-stays">{"".join(parts)}</div>'


def _group(title: str, models: Sequence[tuple[str, str, str, Any]]) -> str:
    lines = [
        f"<li><b><bdi>{escape(name or id_, 80)}</bdi></b>"
        f' <span class="xm-dim">{escape(id_, 80)}, {format_bytes(size)}</span>'
        + (f": {escape(why, 300)}" if why else "")
        + "</li>"
        for name, id_, why, size in models[:MOST_NAMED]
    ]
    if len(models) > MOST_NAMED:
        lines.append(
            f"<li>and {len(models) - MOST_NAMED:,} more; the plan's to_frame() has all</li>"
        )
    size = format_bytes(sum(size or 0 for *_, size in models))
    summary = f"{format_count(len(models), 'model')}, {size}: {plain(title, 300)}"
    return (
        f"<details><summary>{escape(summary, 400)}</summary>"
        f'<ul class="xm-list" tabindex="0">{"".join(lines)}</ul></details>'
    )


def script_html(script: str) -> str:
    """Return the Python that does the same, to be copied; "" where there is none."""
    if not script:
        return ""
    lines = "\n".join(escape(line, 1000) for line in script.splitlines())
    return (
        '<details class="xm-same"><summary>The same in Python</summary>'
        f'<pre class="xm-copy" tabindex="0">{lines}</pre></details>'
    )
