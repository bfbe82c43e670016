"""What a deletion would remove: a dry run as a value."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from expmgr.catalog.parts import is_named, part_words
from expmgr.catalog.reason import covered
from expmgr.catalog.states import DELETABLE_STATES
from expmgr.cleanup.naming import NAMED_HEADS, named_cells, named_lines
from expmgr.errors import InvalidInputError, NotFoundError
from expmgr.formatting import format_bytes, format_count
from expmgr.prices import merged
from expmgr.text import MESSAGE_LIMIT, escape, keep_plain, words

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    import pandas as pd
    from typing_extensions import Self

    from expmgr.catalog.model import Model
    from expmgr.catalog.parts import Part
    from expmgr.catalog.reason import Reason
    from expmgr.cleanup.home import Home
    from expmgr.prices import Bill, StoragePrices, TierUse
    from expmgr.storage.listing import Listing
    from expmgr.storage.location import Location

__all__ = ["DeletionPlan", "Kept", "PlannedLocation", "RunPlan"]

_KEPT_SHOWN = 20
"""Kept models that are shown one by one; a table holds them all."""


@dataclass(frozen=True)
class PlannedLocation:
    """One location as it was listed for the plan.

    Attributes
    ----------
    files, bytes
        What lies there.
    etags
        Blob name to ETag, by which a file that came or changed later is recognised and left. Of a
        part these names alone go.
    sizes
        Blob name to bytes.
    model
        The model whose files these are.
    tiers
        What of it lies in which access tier.
    """

    location: Location
    files: int
    bytes: int
    etags: Mapping[str, str] = field(repr=False, compare=False)
    sizes: Mapping[str, int] = field(default_factory=dict, repr=False, compare=False)
    model: Model | None = field(default=None, repr=False, compare=False)
    tiers: Mapping[str, TierUse] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, location: Location, listing: Listing, model: Model | None = None) -> Self:
        """Return a location with what a listing of it showed."""
        return cls(
            location,
            listing.files,
            listing.bytes,
            listing.etags,
            listing.sizes,
            model,
            listing.tiers,
        )

    def __reduce__(self) -> tuple[type[PlannedLocation], tuple[Any, ...]]:
        # a read-only view of a dictionary is not pickled
        seen = (dict(self.etags), dict(self.sizes))
        about = (self.location, self.files, self.bytes)
        return type(self), (*about, *seen, self.model, dict(self.tiers))


@dataclass(frozen=True)
class RunPlan:
    """What deleting one run's models, or one model, would remove.

    Attributes
    ----------
    run_id
        The run that made what would go; "" for a model without one.
    asked
        The model that was asked for by its id, "" where the run was.
    model
        The model's state, see `expmgr.catalog.states.ModelState`.
    model_ids
        LoggedModels that would go.
    reasons
        Why the model is protected; empty where it may go. A run is all or nothing: the reasons of
        all of its models, of which others may go by their own ids.
    doubts
        Of these, what no force passes: whose files the raw artifacts are. They go when they are
        named (``part="raw"``) by somebody from whom the server hides nothing.
    problem
        Why nothing can be planned, or "".
    problem_error
        The error behind ``problem``.
    linked
        Models that the run merely links to; they stay.
    planned_at
        The storage service's clock at the first listing.
    owner_id
        The run or model whose tags record the deletion.
    record_id
        Under which number the journal would record the deletion.
    note
        What could not be located and so would stay, or "".
    part
        ``model``; ``raw``: all artifacts of a run for which MLflow recorded no model;
        ``optimizer``, ``checkpoints``, ``other``; or patterns. See `expmgr.catalog.parts`.
    unknown
        Whether there is no such run or model; a run without a model is known.
    journal
        Where the deletion is recorded: ``tags`` of its owner, or a ``blob`` for what takes none.
    nobodys
        Of a folder: no server says that its owner was deleted, a person named it.
    told_after
        Metrics of the run, by name, that are to say that its last model is gone.
    told_with
        Where the run's other models lie that go at the same time: the last of them tells.
    """

    run_id: str
    run_name: str = ""
    experiment_id: str = ""
    experiment_name: str = ""
    model: str = "unknown"
    locations: tuple[PlannedLocation, ...] = ()
    model_ids: tuple[str, ...] = ()
    reasons: tuple[Reason, ...] = ()
    problem: str = ""
    problem_error: Exception | None = field(default=None, compare=False, repr=False)
    linked: tuple[str, ...] = ()
    planned_at: datetime | None = None
    record_id: str = "1"
    note: str = ""
    asked: str = ""
    owner_id: str = ""
    part: Part = "model"
    doubts: tuple[Reason, ...] = ()
    unknown: bool = False
    journal: Literal["tags", "blob"] = "tags"
    nobodys: bool = False
    told_after: tuple[tuple[str, float], ...] = field(default=(), compare=False, repr=False)
    told_with: tuple[str, ...] = field(default=(), compare=False, repr=False)

    def __post_init__(self) -> None:
        keep_plain(self, "problem", "note")

    @property
    def id(self) -> str:
        """What was asked for: the run, or the model by its own id."""
        return self.asked or self.run_id

    @property
    def journal_id(self) -> str:
        """Whose tags record the deletion, and what ``_delete_model`` is called with."""
        return self.owner_id or self.run_id

    @property
    def files(self) -> int:
        """Files that would go."""
        return sum(planned.files for planned in self.locations)

    @property
    def bytes(self) -> int:
        """Bytes that would go."""
        return sum(planned.bytes for planned in self.locations)

    @property
    def tiers(self) -> Mapping[str, TierUse]:
        """What of it lies in which access tier."""
        return merged(planned.tiers for planned in self.locations)

    @property
    def raw_artifacts(self) -> bool:
        """Whether MLflow recorded no model, so that all of the run's artifacts would go."""
        return not is_named(self.part) and any(
            planned.location.kind == "run_artifacts" for planned in self.locations
        )

    @property
    def is_folder(self) -> bool:
        """Whether it is of a folder that nobody owns, rather than of what its owner has."""
        return self.journal == "blob" and self.asked.endswith("/")

    @property
    def deletable(self) -> bool:
        """Whether a deletion would be carried out: files are there and nothing protects them."""
        return (
            not self.problem
            and not self.reasons
            and self.files > 0
            and (is_named(self.part) or self.model in DELETABLE_STATES)
        )

    def only(self, model_ids: Sequence[str] | None) -> RunPlan:
        """Return the plan narrowed to some of its LoggedModels; None for all that it holds.

        Raises
        ------
        InvalidInputError
            The plan does not hold one of them.
        """
        if model_ids is None or self.problem:
            return self
        wanted = {model_ids} if isinstance(model_ids, str) else set(model_ids)
        missing = sorted(wanted.difference(self.model_ids))
        if missing:
            message = (
                f"the plan for run {self.run_id} does not hold {', '.join(missing)}, but "
                f"{', '.join(self.model_ids) or 'no logged models'}."
            )
            raise InvalidInputError(message, run_id=self.run_id)
        return replace(
            self,
            model_ids=tuple(model_id for model_id in self.model_ids if model_id in wanted),
            locations=tuple(
                planned
                for planned in self.locations
                if planned.location.kind == "logged_model" and planned.location.owner_id in wanted
            ),
        )

    def shows(self, reasons: Iterable[Reason]) -> bool:
        """Whether the plan shows each of these protections, of the same kind and subject."""
        return covered(reasons, self.reasons)

    @property
    def summary(self) -> str:
        """One line for a person."""
        if self.problem:
            return self.problem
        size = f"{format_count(self.files, 'file')}, {format_bytes(self.bytes)}"
        if self.reasons:
            return words(f"protected ({'; '.join(self.reasons)}): {size}")
        if is_named(self.part):
            gone = f"{part_words(self.part)}: {size if self.files else 'nothing'}"
            return words(f"{gone}; the models stay" + (f"; {self.note}" if self.note else ""))
        if not self.files:
            return "nothing is stored"
        if self.raw_artifacts:
            return f"all artifacts of the run (MLflow recorded no model): {size}"
        return words(f"model: {size}" + (f"; {self.note}" if self.note else ""))


@dataclass(frozen=True)
class Kept:
    """A model that a policy leaves where it is.

    Attributes
    ----------
    id
        The model's, or its run's where its models go together only.
    why
        In words.
    bytes
        None where it was not measured.
    kinds
        Of what kinds the reasons are that protect it, for counting; "" where the policy itself
        keeps it, and in a plan that was loaded.
    """

    id: str
    name: str = ""
    why: str = ""
    bytes: int | None = None
    kinds: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        keep_plain(self, "why")


@dataclass(frozen=True)
class DeletionPlan:
    """A dry run over some runs and models, each once.

    ``files`` and ``bytes`` count what would go; protected and impossible ones are listed beside it.

    Attributes
    ----------
    kept
        What a policy leaves, and why.
    note
        Why there is nothing to do, or "".
    home
        Tracking server, account and container that it is about: another manager refuses it.
    prices
        What storage costs, where the manager knows.
    """

    runs: tuple[RunPlan, ...] = ()
    kept: tuple[Kept, ...] = ()
    note: str = ""
    home: Home | None = None
    prices: StoragePrices | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        """Drop what is there twice: deleted by one, it would be "not found" by the other."""
        keep_plain(self, "note")
        once = {run.id: run for run in reversed(self.runs)}
        object.__setattr__(self, "runs", tuple(reversed(once.values())))

    def __len__(self) -> int:
        return len(self.runs)

    def __iter__(self) -> Iterator[RunPlan]:
        return iter(self.runs)

    def __getitem__(self, id: str) -> RunPlan:  # noqa: A002 - the id of a run or a model
        for run in self.runs:
            if run.id == id:
                return run
        raise KeyError(id)

    def of(self, id: str) -> RunPlan:  # noqa: A002 - as above
        """Return what is planned for one run or model.

        Raises
        ------
        InvalidInputError
            The plan is not about it.
        """
        try:
            return self[id]
        except KeyError:
            about = ", ".join(run.id for run in self.runs[:3]) or "no run"
            message = f"the plan is about {about}, not about {id}: nothing was deleted."
            raise InvalidInputError(message, run_id=id) from None

    @property
    def deletable(self) -> tuple[RunPlan, ...]:
        """The runs whose model would go."""
        return tuple(run for run in self.runs if run.deletable)

    @property
    def protected(self) -> tuple[RunPlan, ...]:
        """The runs whose model stays, with reasons."""
        return tuple(run for run in self.runs if run.reasons)

    @property
    def files(self) -> int:
        """Files that would go."""
        return sum(run.files for run in self.deletable)

    @property
    def bytes(self) -> int:
        """Bytes that would go."""
        return sum(run.bytes for run in self.deletable)

    @property
    def bill(self) -> Bill | None:
        """What would be saved a month, and the fee for deleting early; None without prices."""
        if self.prices is None:
            return None
        return self.prices.bill(merged(run.tiers for run in self.deletable))

    def without(self, *ids: str) -> DeletionPlan:
        """Return the plan with some of its runs or models left where they are.

        Raises
        ------
        InvalidInputError
            The plan does not hold one of them; all of those are named.
        """
        known = {run.id for run in self.runs}
        unknown = [id_ for id_ in dict.fromkeys(ids) if id_ not in known]
        if unknown:
            named = ", ".join(repr(id_) for id_ in unknown)
            message = (
                f"the plan does not hold {named}: name runs and models by the ids that it shows."
            )
            raise InvalidInputError(message)
        left = tuple(
            Kept(run.id, run.run_name, "taken out of the plan", run.bytes)
            for run in self.runs
            if run.id in ids
        )
        return replace(
            self,
            runs=tuple(run for run in self.runs if run.id not in ids),
            kept=(*left, *self.kept),
        )

    def to_json(self) -> str:
        """Return the plan as JSON, without secrets: to be kept, sent on and loaded again."""
        from expmgr.cleanup.plan_file import plan_to_json

        return plan_to_json(self)

    @classmethod
    def from_json(cls, text: str) -> DeletionPlan:
        """Return a plan from its JSON.

        What it shows is what goes then, too: files that came or changed since are left, and its
        protection is asked again.

        Raises
        ------
        InvalidInputError
            It is no plan, one of another version, or not whole.
        """
        from expmgr.cleanup.plan_file import plan_from_json

        return plan_from_json(text)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the plan to a file, see `to_json`."""
        Path(path).write_text(self.to_json(), encoding="utf-8")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> DeletionPlan:
        """Return the plan that `save` wrote, see `from_json`.

        Raises
        ------
        InvalidInputError
            The file cannot be read, or holds no plan.
        """
        try:
            text = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidInputError(f"no plan could be read from {str(path)!r}: {error}") from error
        return cls.from_json(text)

    def known(self) -> Self:
        """Return the plan, where there is all that it is about.

        Raises
        ------
        NotFoundError
            There is not; it names everything that was asked for in vain.
        """
        unknown = [run for run in self.runs if run.unknown]
        if not unknown:
            return self
        if len(unknown) == 1:
            raise NotFoundError(unknown[0].problem, run_id=unknown[0].id)
        ids = ", ".join(repr(run.id) for run in unknown)
        message = (
            f"the tracking server has no run or model {ids}: nothing was deleted or planned. Check "
            "the ids and the tracking URI, or leave these out."
        )
        raise NotFoundError(message)

    def to_frame(self) -> pd.DataFrame:
        """Return one row a run: ids, names, model state, files, bytes, what happens and why.

        What a policy keeps follows, a row a model, with the reason in ``kept``.
        With prices also ``monthly``, what it costs a month, and ``early``, the fee for deleting it
        now.
        """
        import pandas as pd

        columns = [
            "run_id",
            "run_name",
            "experiment_name",
            "model",
            "files",
            "bytes",
            "deletable",
            "protected_by",
            "problem",
            "locations",
            "kept",
        ]
        rows: list[tuple[Any, ...]] = [
            (
                run.id,
                run.run_name,
                run.experiment_name,
                run.model,
                run.files,
                run.bytes,
                run.deletable,
                "; ".join(run.reasons),
                run.problem,
                [planned.location.path for planned in run.locations],
                "",
            )
            for run in self.runs
        ]
        rows += [
            (one.id, one.name, "", "", None, one.bytes, False, "", "", [], one.why)
            for one in self.kept
        ]
        frame = pd.DataFrame(rows, columns=columns).astype({"files": "Int64", "bytes": "Int64"})
        if self.prices is not None:
            bills = [self.prices.bill(run.tiers) for run in self.runs]
            rest = [math.nan] * len(self.kept)
            frame["monthly"] = [*(bill.monthly for bill in bills), *rest]
            frame["early"] = [*(bill.early for bill in bills), *rest]
        return frame

    @property
    def _head(self) -> str:
        parts = {part_words(run.part): None for run in self.runs if is_named(run.part)}
        noun = "model" if any(run.asked for run in self.runs) else "run"
        head = (
            f"DeletionPlan: {' and '.join(parts) + ' of ' if parts else ''}"
            f"{len(self.deletable)} of {format_count(len(self.runs), noun)}, "
            f"{format_count(self.files, 'file')}, {format_bytes(self.bytes)}"
        )
        if self.bill is not None:
            head += f"; saves {self.bill.words}"
        return f"{head}; {self.note}" if self.note else head

    @property
    def _kept_head(self) -> str:
        known = sum(one.bytes or 0 for one in self.kept)
        shown = len(self.kept) - len(self._kept_shown)
        more = f" (the first {_KEPT_SHOWN}; to_frame() has all)" if shown else ""
        return f"stays: {format_count(len(self.kept), 'model')}, {format_bytes(known)}{more}"

    @property
    def _kept_shown(self) -> tuple[Kept, ...]:
        return self.kept[:_KEPT_SHOWN]

    def __repr__(self) -> str:
        lines = named_lines([(run.run_name, run.id, run.summary) for run in self.runs])
        if self.kept:
            lines += [
                self._kept_head,
                *named_lines([(one.name, one.id, _stays(one)) for one in self._kept_shown]),
            ]
        return "\n".join([self._head, *lines])

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr>{named_cells(run.run_name, run.id)}<td>{escape(run.experiment_name)}</td>"
            f"<td>{escape(run.summary, MESSAGE_LIMIT)}</td></tr>"
            for run in self.runs
        )
        page = (
            f"<p>{escape(self._head)}</p><table><thead><tr>{NAMED_HEADS}<th>experiment</th>"
            f"<th>what would go</th></tr></thead><tbody>{rows}</tbody></table>"
        )
        if not self.kept:
            return page
        stays = "".join(
            f"<tr>{named_cells(one.name, one.id)}<td>{escape(_stays(one), MESSAGE_LIMIT)}</td></tr>"
            for one in self._kept_shown
        )
        return (
            f"{page}<p>{escape(self._kept_head)}</p><table><thead><tr>{NAMED_HEADS}"
            f"<th>why it stays</th></tr></thead><tbody>{stays}</tbody></table>"
        )


def _stays(one: Kept) -> str:
    return f"{one.why}: {format_bytes(one.bytes)}"
