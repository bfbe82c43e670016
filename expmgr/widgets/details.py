"""What opening a line shows: everything about it, and the call that a script would make."""

from __future__ import annotations

import itertools
import json
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from expmgr.catalog.parts import part_words
from expmgr.formatting import format_bytes, format_count, format_metric
from expmgr.secrecy import redact
from expmgr.text import HOVER_LIMIT, escape
from expmgr.tracking.journal import read_part_records, read_records
from expmgr.widgets.columns import is_missing
from expmgr.widgets.keeping_line import KeepingLine
from expmgr.widgets.many_line import plan_html
from expmgr.widgets.session.looking import tree

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import ipywidgets as widgets

    from expmgr.widgets.kit import Kit
    from expmgr.widgets.session.deletion import Deletion
    from expmgr.widgets.session.keeping import Keeping
    from expmgr.widgets.session.looking import Facts, Looking

__all__ = ["Details", "details_html"]

MOST_LINES = 200
MOST_ENTRIES = 300
MOST_LOGGED = 50
MOST_NAMED = 10


def details_html(
    record: Mapping[str, Any],
    facts: Facts | None,
    *,
    call: str,
    waiting: str = "",
    said: str = "",
    log: Sequence[str] = (),
    plan: str = "",
) -> str:
    """Return the panel as escaped HTML.

    Parameters
    ----------
    record
        The run with all its columns.
    facts
        What the servers said; None while they are asked.
    call
        Python that does the same from a script.
    waiting
        What to say while they are asked.
    said, log
        What the row says of a deletion, whole, and attempt by attempt.
    plan
        What many would come to, as escaped HTML.
    """
    id_ = str(record["id"])
    groups = {
        group: {
            str(key).removeprefix(f"{group}."): value
            for key, value in record.items()
            if str(key).startswith(f"{group}.") and not is_missing(value)
        }
        for group in ("metrics", "params", "tags")
    }
    all_tags = groups["tags"] if facts is None or facts.tags is None else facts.tags
    tags = {key: value for key, value in all_tags.items() if not key.startswith("expmgr.deletion.")}
    metrics = {key: format_metric(float(value)) for key, value in groups["metrics"].items()}
    identity = f'<p class="xm-copy">{escape(id_)}</p>'
    sections = [
        _section("Model id" if record.get("line") == "model" else "Run id", identity),
        _section("Metrics", _pairs(metrics, "no metrics")),
        _section("Params", _pairs(groups["params"], "no params")),
        _section("Tags", _pairs(tags, "no tags")),
        _section("Model files", _files_html(facts, waiting)),
        _section("Registered versions", _versions_html(facts, waiting)),
        _section("Past deletions", _journal_html(id_, all_tags)),
    ]
    script = f'<pre class="xm-copy" tabindex="0">{escape(call, 400)}</pre>'
    return (
        f'{_said(said, log, plan)}<div class="xm-sections">{"".join(sections)}</div>'
        f'<div class="xm-script">{_section("The same from a script", script)}</div>'
    )


def _call(id_: str, ids: Sequence[str]) -> str:
    """Return the Python that asks for the same; an id is data, whatever it holds."""
    if len(ids) <= 1:
        return f"manager.delete_model({json.dumps(id_, ensure_ascii=False)})"
    listed = ", ".join(json.dumps(one, ensure_ascii=False) for one in ids[:MOST_NAMED])
    more = f", ...  # {len(ids):,} in all\n" if len(ids) > MOST_NAMED else ""
    return f"manager.delete_models([{listed}{more}])"


def _said(said: str, log: Sequence[str], plan: str) -> str:
    lines = "\n".join(escape(line, 1000) for line in log[-MOST_LOGGED:])
    folded = f'<pre class="xm-log" tabindex="0">{lines}</pre>' if lines else ""
    return _section("This deletion", f"<p>{escape(said, 600)}</p>{plan}{folded}") if said else ""


def _section(title: str, body: str) -> str:
    return f"<section><h4>{title}</h4>{body}</section>"


def _pairs(values: Mapping[str, Any], none: str) -> str:
    if not values:
        return f'<p class="xm-dim">{none}</p>'
    rows = [
        f'<tr><th title="{escape(key, HOVER_LIMIT)}"><bdi>{escape(key, 80)}</bdi></th>'
        f'<td title="{escape(value, HOVER_LIMIT)}"><bdi>{escape(value)}</bdi></td></tr>'
        for key, value in itertools.islice(sorted(values.items()), MOST_ENTRIES)
    ]
    more = (
        f'<p class="xm-dim">and {len(values) - MOST_ENTRIES:,} more</p>'
        if len(values) > MOST_ENTRIES
        else ""
    )
    return f'<div class="xm-scroll" tabindex="0"><table>{"".join(rows)}</table>{more}</div>'


def _files_html(facts: Facts | None, waiting: str) -> str:
    if facts is None:
        return f'<p class="xm-dim" role="status">{escape(waiting, 200)}</p>'
    parts = [
        f'<p class="xm-bad"><span class="xm-sign">✕</span>{escape(redact(problem), 400)}</p>'
        for problem in facts.problems
    ]
    if facts.plan:
        parts.append(f"<p>{escape(redact(facts.plan), 400)}</p>")
    parts += [f'<p class="xm-dim">{escape(root, 400)}</p>' for root in facts.roots]
    if facts.files:
        lines = tree(facts.files)
        rows = [
            f'<tr><td style="padding-left:{min(depth, 12) * 14}px">'
            f"<bdi>{escape(name, 120)}</bdi></td>"
            f'<td class="xm-right">{format_bytes(size)}</td></tr>'
            for depth, name, size in lines[:MOST_LINES]
        ]
        parts.append(f'<div class="xm-scroll" tabindex="0"><table>{"".join(rows)}</table></div>')
        if len(lines) > MOST_LINES:
            parts.append(f'<p class="xm-dim">and {len(lines) - MOST_LINES:,} more lines</p>')
    elif not facts.problems and not facts.plan:
        parts.append('<p class="xm-dim">no files</p>')
    return "".join(parts)


def _versions_html(facts: Facts | None, waiting: str) -> str:
    if facts is None:
        return f'<p class="xm-dim">{escape(waiting, 200)}</p>'
    if not facts.versions:
        return '<p class="xm-dim">none</p>'
    items = "".join(f"<li><bdi>{escape(version)}</bdi></li>" for version in facts.versions)
    return f'<ul class="xm-list">{items}</ul>'


def _journal_html(run_id: str, tags: Mapping[str, Any]) -> str:
    texts = {key: str(value) for key, value in tags.items()}
    parts = read_part_records(run_id, texts)
    records = sorted([*read_records(run_id, texts), *parts], key=lambda past: past.began)
    if not records:
        return '<p class="xm-dim">none</p>'
    lines = []
    for past in records:
        when = datetime.fromtimestamp(past.began / 1000, timezone.utc)
        words = f"{when:%Y-%m-%d %H:%M} UTC, {past.owner}: {past.state}"
        if past.part != "model":
            words += f", {part_words(past.part)} only"
        if past.files:
            words += f", {format_count(past.files, 'file')}, {format_bytes(past.bytes)}"
        if past.forced:
            words += f", forced past: {'; '.join(past.forced)}"
        if past.note:
            words += f" ({redact(past.note)})"
        lines.append(f"<li>{escape(words, 400)}</li>")
    return f'<ul class="xm-list">{"".join(lines)}</ul>'


class Details:
    """The one details panel of a browser; it moves to the row that is opened.

    Parameters
    ----------
    press_keep
        Told the line, and the reason that was typed.
    pick_others
        Told the run of whose models all but the best are to be ticked.

    Attributes
    ----------
    run_id
        The line it shows, "" while it is closed.
    keeping
        Keep and Unkeep; None where nothing may be changed.
    """

    def __init__(
        self,
        kit: Kit,
        *,
        press_keep: Callable[[str, str], None] | None,
        pick_others: Callable[[str], None] | None,
    ) -> None:
        self._kit = kit
        self.run_id = ""
        self.html = kit.html("", "xm-facts")
        self.keeping: KeepingLine | None = None
        if press_keep is not None:
            self.keeping = KeepingLine(kit, press_keep)
        self.others_button: widgets.Button | None = None
        if pick_others is not None:
            self.others_button = kit.button(
                "Tick all but its best model",
                lambda: pick_others(self.run_id) if self.run_id else None,
                tooltip="Tick the models of this run that are worse than its best",
                shown=False,
            )
        told = (None if self.keeping is None else self.keeping.box, self.others_button)
        line = kit.box([one for one in told if one is not None], "xm-actions")
        self.box = kit.box((line, self.html) if line.children else (self.html,), "xm-details")

    def show(
        self,
        looking: Looking,
        keeping: Keeping,
        deletion: Deletion | None,
        *,
        others: int = 0,
        ids: Sequence[str] = (),
        interrupted: bool = False,
    ) -> None:
        """Write the panel, with what is known by now of the line's deletion.

        Parameters
        ----------
        others
            How many models of the run can go while its best stays.
        ids
            What a deletion from here would ask for.
        interrupted
            Whether the line's button ends a run instead.
        """
        self.run_id = looking.id
        if not looking.id:
            self.html.value = ""
            return
        if self.keeping is not None:
            self.keeping.show(looking, keeping)
        if self.others_button is not None:
            self.others_button.layout = self._kit.shown if others else self._kit.gone
        call = _call(looking.id, ids)
        if interrupted:
            call = f"manager.mark_killed({json.dumps(looking.id, ensure_ascii=False)})"
        told = deletion is not None and not deletion.busy
        several = deletion is not None and deletion.kind == "many" and deletion.plan is not None
        self.html.value = details_html(
            looking.record,
            looking.facts,
            call=call,
            waiting=looking.waiting,
            said=deletion.message if deletion is not None and told else "",
            log=deletion.log if deletion is not None and told else (),
            plan=plan_html(deletion.plan) if deletion is not None and told and several else "",
        )
