"""What opening a row shows: everything about one run, and the call that a script would make."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from expmgr.catalog.model import KEEP_TAG, is_pin
from expmgr.errors import ExpmgrError
from expmgr.formatting import format_bytes, format_count, format_metric
from expmgr.secrecy import redact
from expmgr.text import HOVER_LIMIT, escape
from expmgr.tracking.journal import read_records
from expmgr.widgets.columns import is_missing
from expmgr.widgets.deletion import describe_failure
from expmgr.widgets.keeping import Keeping
from expmgr.widgets.notice import waiting_for

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from expmgr.widgets.deletion import Deletion
    from expmgr.widgets.kit import Kit
    from expmgr.widgets.loop import Job, Loop

__all__ = ["Details", "Facts", "details_html", "look_up", "tree"]

MOST_FILES = 2_000
MOST_LINES = 200
MOST_ENTRIES = 300
MOST_LOGGED = 50


@dataclass(frozen=True)
class Facts:
    """What only the servers know of a run.

    Attributes
    ----------
    files
        Name below its location, and bytes.
    roots
        The locations' paths.
    versions
        Registered versions, in words.
    plan
        What a deletion would do, in one line.
    tags
        The run's tags as they are now; a table may be older.
    problems
        What could not be asked.
    """

    files: tuple[tuple[str, int | None], ...] = ()
    roots: tuple[str, ...] = ()
    versions: tuple[str, ...] = ()
    plan: str = ""
    tags: Mapping[str, str] | None = None
    problems: tuple[str, ...] = field(default=())


def look_up(manager: Any, run_id: str) -> Facts:
    """Ask the servers about one run. Takes as long as they take; never raises theirs."""
    problems: list[str] = []
    files: list[tuple[str, int | None]] = []
    roots: list[str] = []
    summary = ""
    try:
        (entry,) = manager.plan_deletion([run_id]).runs
        summary = str(getattr(entry, "summary", ""))
        for planned in entry.locations:
            roots.append(planned.location.path)
            files.extend(_files_of(manager, planned, several=len(entry.locations) > 1))
    except (ExpmgrError, OSError, ValueError, AttributeError) as error:
        problems.append(describe_failure(error))
    versions: list[str] = []
    tags: Mapping[str, str] | None = None
    try:
        client = manager.interactive_client
        tags = dict(client.get_run(run_id).data.tags)
        found = client.search_model_versions(f"run_id = '{run_id}'")
        versions = [f"{version.name} version {version.version}" for version in found]
    except Exception as error:  # noqa: BLE001 - MLflow raises of every kind; it is shown
        problems.append(describe_failure(error))
    return Facts(tuple(files), tuple(roots), tuple(versions), summary, tags, tuple(problems))


def _files_of(manager: Any, planned: Any, *, several: bool) -> list[tuple[str, int | None]]:
    prefix = planned.location.prefix
    above = f"{planned.location.owner_id}/" if several else ""
    store = getattr(manager, "blob_store", None)
    if store is None:
        return [(above + name.removeprefix(prefix), None) for name in planned.etags]
    return [
        (above + blob.name.removeprefix(prefix), blob.bytes)
        for blob in itertools.islice(store.list(prefix), MOST_FILES)
        if not blob.is_directory
    ]


def tree(files: Sequence[tuple[str, int | None]]) -> list[tuple[int, str, int | None]]:
    """Return the lines of a file tree: depth, name (folders end in a slash) and bytes.

    Examples
    --------
    >>> tree([("data/model.pkl", 30), ("MLmodel", 2), ("data/a.txt", 5)])
    [(0, 'MLmodel', 2), (0, 'data/', 35), (1, 'a.txt', 5), (1, 'model.pkl', 30)]
    """
    sums: dict[tuple[str, ...], int | None] = {}
    for name, size in files:
        parts = tuple(name.split("/"))
        for depth in range(1, len(parts)):
            folder = parts[:depth]
            before = sums.get(folder, 0)
            sums[folder] = None if before is None or size is None else before + size
    lines: list[tuple[tuple[str, ...], bool, int | None]] = [
        *((folder, True, size) for folder, size in sums.items()),
        *((tuple(name.split("/")), False, size) for name, size in files),
    ]
    lines.sort(key=lambda line: line[0])
    return [
        (len(parts) - 1, parts[-1] + ("/" if folder else ""), size) for parts, folder, size in lines
    ]


def details_html(
    record: Mapping[str, Any],
    facts: Facts | None,
    *,
    call: str,
    waiting: str = "",
    said: str = "",
    log: Sequence[str] = (),
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
    """
    run_id = str(record["run_id"])
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
    identity = f'<p class="xm-copy">{escape(run_id)}</p>'
    sections = [
        _section("Run id", identity),
        _section("Metrics", _pairs(metrics, "no metrics")),
        _section("Params", _pairs(groups["params"], "no params")),
        _section("Tags", _pairs(tags, "no tags")),
        _section("Model files", _files_html(facts, waiting)),
        _section("Registered versions", _versions_html(facts, waiting)),
        _section("Past deletions", _journal_html(run_id, all_tags)),
    ]
    script = f'<pre class="xm-copy" tabindex="0">{escape(call, 400)}</pre>'
    return (
        f'{_said(said, log)}<div class="xm-sections">{"".join(sections)}</div>'
        f'<div class="xm-script">{_section("The same from a script", script)}</div>'
    )


def _said(said: str, log: Sequence[str]) -> str:
    lines = "\n".join(escape(line, 1000) for line in log[-MOST_LOGGED:])
    folded = f'<pre class="xm-log" tabindex="0">{lines}</pre>' if lines else ""
    return _section("This deletion", f"<p>{escape(said, 600)}</p>{folded}") if said else ""


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
    records = read_records(run_id, {key: str(value) for key, value in tags.items()})
    if not records:
        return '<p class="xm-dim">none</p>'
    lines = []
    for past in records:
        when = datetime.fromtimestamp(past.began / 1000, timezone.utc)
        words = f"{when:%Y-%m-%d %H:%M} UTC, {past.owner}: {past.state}"
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

    Attributes
    ----------
    run_id
        The run it shows, "" while it is closed.
    keeping
        Keep and Unkeep; None where nothing may be changed.
    """

    def __init__(
        self,
        manager: Any,
        loop: Loop,
        kit: Kit,
        *,
        patience: float,
        can_delete: bool,
        deletion_of: Callable[[str], Deletion | None],
        kept: Callable[[str, str], None] | None = None,
    ) -> None:
        self._manager = manager
        self._loop = loop
        self._patience = patience
        self._can_delete = can_delete
        self._deletion_of = deletion_of
        self._job: Job | None = None
        self._record: Mapping[str, Any] = {}
        self._facts: Facts | None = None
        self._waiting = ""
        self.run_id = ""
        self.html = kit.html("", "xm-facts")
        self.keeping: Keeping | None = None
        if kept is not None and hasattr(manager, "pin"):
            self.keeping = Keeping(manager, loop, kit, changed=kept)
        line = () if self.keeping is None else (self.keeping.box,)
        self.box = kit.box((*line, self.html), "xm-details")

    def open(self, record: Mapping[str, Any], then: Callable[[], None]) -> None:
        """Show what the table knows at once, and ask the servers for the rest."""
        self.close()
        self.run_id = run_id = str(record["run_id"])
        self._record = record
        if not self._can_delete:
            self._show(Facts())
            then()
            return

        def done(facts: Facts | None, error: Exception | None) -> None:
            self._job = None
            self._show(
                facts or Facts(problems=(describe_failure(error or RuntimeError("no answer")),))
            )

        self._show(None, "Asking the tracking server and the storage account …")
        then()
        self._job = self._loop.work(
            lambda: look_up(self._manager, run_id),
            done,
            slow=lambda: self._show(None, waiting_for(self._manager)),
            slow_after=self._patience,
        )

    def _show(self, facts: Facts | None, waiting: str = "") -> None:
        self._facts, self._waiting = facts, waiting
        self.draw()

    def draw(self) -> None:
        """Write the panel, with what is known by now of the run's deletion."""
        if not self.run_id:
            return
        if self.keeping is not None:
            self.keeping.show(self.run_id, self._kept())
        deletion = self._deletion_of(self.run_id)
        ended = deletion is not None and not deletion.busy
        self.html.value = details_html(
            self._record,
            self._facts,
            call=f'manager.delete_model("{self.run_id}")',
            waiting=self._waiting,
            said=deletion.message if deletion is not None and ended else "",
            log=deletion.log if deletion is not None and ended else (),
        )

    def _kept(self) -> str:
        """Return why the run is kept, "" where it is not; the server's tags are the newest."""
        tags = self._facts.tags if self._facts is not None else None
        value = tags.get(KEEP_TAG) if tags is not None else self._record.get(f"tags.{KEEP_TAG}")
        if (is_missing(value) and value != "") or not is_pin(str(value)):
            return ""
        return str(value).strip() or "no reason given"

    def note_kept(self, run_id: str, reason: str) -> None:
        """Take note of a pin that was set or taken back since the servers were asked."""
        if run_id != self.run_id:
            return
        self._record = {**self._record, f"tags.{KEEP_TAG}": reason or None}
        if self._facts is not None and self._facts.tags is not None:
            tags = {key: value for key, value in self._facts.tags.items() if key != KEEP_TAG}
            self._facts = replace(self._facts, tags={**tags, KEEP_TAG: reason} if reason else tags)
        self.draw()

    def close(self) -> None:
        """Show nothing, and forget an answer that is still to come."""
        if self._job is not None:
            self._job.abandon()
            self._job = None
        self.run_id = ""
        self.html.value = ""
