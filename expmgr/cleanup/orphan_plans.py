"""Deleting orphans: what was found, looked at again right before, and nothing else."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from expmgr.catalog.model import Model, Size, Stored
from expmgr.catalog.places import Folder, folder_of, paths_to
from expmgr.catalog.reason import Reason
from expmgr.cleanup.drafts import Draft, protected
from expmgr.cleanup.evidence import Subject
from expmgr.cleanup.folder_scan import digest_of
from expmgr.cleanup.ownership import Judge
from expmgr.cleanup.plan import DeletionPlan, PlannedLocation, RunPlan
from expmgr.errors import ExpmgrError, InvalidInputError, ProtectedModelError
from expmgr.results import DeletionResult
from expmgr.storage.location import Location
from expmgr.text import plain
from expmgr.tracking.models import maker_of, model_of
from expmgr.tracking.queries import in_parallel

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import pandas as pd

    from expmgr.cleanup.gathered import Gathered
    from expmgr.cleanup.ownership import Verdict
    from expmgr.cleanup.planner import Planner
    from expmgr.storage.location import LocationKind
    from expmgr.storage.store import Store

__all__ = [
    "Asked",
    "OrphanPlanner",
    "asked_of_table",
    "asked_prefixes",
    "left",
    "location_of",
    "subject_of",
]

_NEEDED = ("kind", "prefix", "seen")
_SEEN = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True)
class Asked:
    """A prefix that somebody wants gone.

    Attributes
    ----------
    path
        Without its slash.
    named
        Whether a person named it: then it may be one that nobody knows.
    seen
        Digest of the files that were found; "" where nobody looked before.
    """

    path: str
    named: bool = False
    seen: str = ""

    @property
    def prefix(self) -> str:
        """With its slash."""
        return f"{self.path}/"


def asked_of_table(frame: pd.DataFrame) -> tuple[list[Asked], list[str]]:
    """Return what a table of `find_orphans` asks for, and the unknown prefixes that it leaves.

    Raises
    ------
    InvalidInputError
        It is no such table, or a row of trash does not tell which files were found.
    """
    missing = [name for name in _NEEDED if name not in getattr(frame, "columns", ())]
    if missing:
        message = (
            f"this is no table of find_orphans(): it has no column {', '.join(map(repr, missing))}."
            " Give the table or some of its rows, or name prefixes=[...]."
        )
        raise InvalidInputError(message)
    asked: list[Asked] = []
    left: list[str] = []
    blind: list[str] = []
    for kind, prefix, seen in frame[list(_NEEDED)].itertuples(index=False):
        if kind != "trash":
            left.append(str(prefix))
        elif isinstance(seen, str) and _SEEN.fullmatch(seen):
            asked.append(Asked(_path(prefix), seen=seen))
        else:
            blind.append(str(prefix))
    if blind:
        names = plain(", ".join(blind), 400)
        message = (
            f"column 'seen' does not tell which files were found of {names}: "
            "nothing was deleted. Find again; a table read from a file needs dtype={'seen': str}."
        )
        raise InvalidInputError(message)
    return asked, left


def asked_prefixes(prefixes: str | Iterable[str]) -> list[Asked]:
    """Return what a person names.

    Raises
    ------
    InvalidInputError
        One is no prefix.
    """
    named = [prefixes] if isinstance(prefixes, str) else list(prefixes)
    return [Asked(_path(prefix), named=True) for prefix in dict.fromkeys(named)]


def left(prefix: str) -> DeletionResult:
    """Return the result of an unknown prefix in a table: it stays."""
    reason = Reason(
        "unknown", "nothing says that it was deleted; name it in prefixes=[...]", prefix
    )
    message = f"Protected, nothing was deleted: {reason}"
    error = ProtectedModelError(message, run_id=prefix, reasons=(reason,))
    return DeletionResult(prefix, "protected", message=message, error=error, reasons=(reason,))


def _path(prefix: object) -> str:
    if not isinstance(prefix, str) or not prefix.strip("/"):
        message = (
            "a prefix must be a folder in the container, such as '1/<run id>/artifacts/', not "
            f"{prefix!r}."
        )
        raise InvalidInputError(message)
    return prefix.removesuffix("/")


@dataclass
class OrphanPlanner:
    """Plans the deletion of orphans, and looks at each again right before it goes.

    Attributes
    ----------
    hidden
        What may hide things from this user, in words: then nothing counts as nobody's.
    """

    planner: Planner
    hidden: str = ""
    _asked: dict[str, Asked] = field(default_factory=dict)

    def plan(self, asked: Sequence[Asked]) -> DeletionPlan:
        """Return what would go; every prefix that may not go has a problem or reasons.

        Raises
        ------
        InvalidInputError
            Prefixes that are no folders of a run or model, or have a live owner: all at once.
        TrackingError
            MLflow could not be asked.
        """
        gathered = self.planner.gathered()
        judge = self._judge(gathered)
        folders = self._folders(asked, gathered)
        wrong = [one for one, folder in folders.items() if folder is None]
        known = {one: folder for one, folder in folders.items() if folder is not None}
        verdicts = judge.judge(known.values())
        owned = [one for one, folder in known.items() if verdicts[folder].kind == "owned"]
        if wrong or [one for one in owned if one.named]:
            raise InvalidInputError(_refusal(wrong, [one for one in owned if one.named]))
        trash = dict.fromkeys(
            one for one, folder in known.items() if _is_trash_model(folder, verdicts[folder])
        )
        others = [one for one in known if one not in trash]
        drafts = in_parallel(
            lambda one: self._draft(one, known[one], verdicts[known[one]], gathered), others
        )
        plans = dict(zip(others, protected(drafts, gathered), strict=True))
        if trash:
            ids = [known[one].owner_id for one in trash]
            told = {plan.id: plan for plan in self.planner.plan(ids, part="model")}
            for one in trash:
                plan = told[known[one].owner_id]
                plans[one] = replace(plan, problem=plan.problem or _changed(one, plan))
        for one, plan in plans.items():
            self._asked[plan.id] = one
        return DeletionPlan(tuple(plans[one] for one in known), home=self.planner.home)

    def check_again(self, plans: Sequence[RunPlan]) -> tuple[RunPlan, ...]:
        """Return the plans with whose they are, and what protects them, as of now.

        Raises
        ------
        TrackingError
            MLflow could not be asked.
        """
        gathered = self.planner.gathered()
        again_asked = {plan.id: self._asked[plan.id] for plan in plans}
        places = self._folders(again_asked.values(), gathered)
        folders = {id_: places[one] for id_, one in again_asked.items()}
        judge = self._judge(gathered)
        verdicts = judge.judge(folder for folder in folders.values() if folder is not None)
        again: dict[str, RunPlan] = {}
        drafts: list[Draft] = []
        trash: list[RunPlan] = []
        for plan in plans:
            folder = folders[plan.id]
            if plan.problem or folder is None:
                problem = plan.problem or f"{plan.id} is no folder of a run or model any more."
                again[plan.id] = replace(plan, problem=problem)
            elif _is_trash_model(folder, verdicts[folder]) and plan.id == folder.owner_id:
                trash.append(plan)
            else:
                asked = self._asked[plan.id]
                drafts.append(self._judged(plan, asked, folder, verdicts[folder]))
        for plan in protected(drafts, gathered):
            again[plan.id] = plan
        for plan in self.planner.check_again(trash) if trash else ():
            again[plan.id] = plan
        return tuple(again[plan.id] for plan in plans)

    def _judge(self, gathered: Gathered) -> Judge:
        return Judge(
            gathered.client,
            gathered.blob_store,
            gathered.finder,
            gathered.experiments,
            self.hidden,
            lists=False,
        )

    def _folders(self, asked: Iterable[Asked], gathered: Gathered) -> dict[Asked, Folder | None]:
        """Return the folder of a run or model that a prefix is; None where it is no such folder."""
        roots = frozenset(gathered.finder.homes(gathered.experiments.values()))
        leading = paths_to(roots)
        found = {one: folder_of(f"{one.path}/-", roots, leading) for one in asked}
        return {
            one: folder
            if folder is not None and folder.owner_id and folder.path == one.path
            else None
            for one, folder in found.items()
        }

    def _draft(self, asked: Asked, folder: Folder, verdict: Verdict, gathered: Gathered) -> Draft:
        plan = RunPlan(
            "" if folder.is_model else folder.owner_id,
            run_name=verdict.name,
            experiment_id=verdict.experiment_id,
            model="artifacts",
            asked=asked.prefix,
            owner_id=folder.owner_id,
            journal="blob",
        )
        try:
            location = gathered.finder.check(
                location_of(folder, gathered.blob_store.addresses.store)
            )
            listing = gathered.blob_store.measure(location)
            plan = replace(
                plan,
                locations=(PlannedLocation.of(location, listing),),
                model_ids=(folder.owner_id,) if folder.is_model else (),
                planned_at=listing.listed_at,
            )
            changed = _changed(asked, plan)
            if changed:
                return Draft(replace(plan, problem=changed))
        except ExpmgrError as error:
            return Draft(replace(plan, problem=str(error), problem_error=error))
        return self._judged(plan, asked, folder, verdict)

    def _judged(self, plan: RunPlan, asked: Asked, folder: Folder, verdict: Verdict) -> Draft:
        """Return the draft of what was listed, after what the server says of it now."""
        if verdict.kind == "owned" or (verdict.kind == "unknown" and not asked.named):
            said = verdict.evidence or f"a live {'model' if folder.is_model else 'run'} owns it"
            message = f"{asked.prefix} is no trash: {said}. Nothing of it was deleted."
            return Draft(replace(plan, problem=message))
        plan = replace(plan, nobodys=verdict.kind == "unknown")
        doubt: tuple[Reason, ...] = ()
        if verdict.kind == "unknown" and self.hidden:
            said = f"{self.hidden}, so nothing can be called nobody's"
            doubt = (Reason("unknown", said, folder.path),)
        marked = any(f"{folder.path}/MLmodel" in planned.etags for planned in plan.locations)
        stored = Stored(Size(plan.files, plan.bytes), marked)
        return Draft(plan, subject_of(folder, verdict, stored), doubt)


def subject_of(folder: Folder, verdict: Verdict, stored: Stored) -> Subject:
    """Return what the rules of protection look at: trash obeys them too."""
    maker = None if verdict.run is None else maker_of(verdict.run, whole=True)
    if verdict.model is not None:
        model = model_of(verdict.model, folder.path, in_trash=True)
    else:
        model = Model(
            folder.owner_id,
            "logged" if folder.is_model else "raw",
            verdict.experiment_id,
            run_id="" if folder.is_model else folder.owner_id,
            path=folder.path,
            in_trash=True,
        )
    return Subject((replace(model, stored=stored),), (), maker)


def _is_trash_model(folder: Folder, verdict: Verdict) -> bool:
    """Whether it is a LoggedModel in the trash, which is planned as any model is."""
    return folder.is_model and verdict.kind == "trash"


def _changed(asked: Asked, plan: RunPlan) -> str:
    """Return why a folder is not the one that was found, "" where it is, or is gone."""
    etags = {name: tag for planned in plan.locations for name, tag in planned.etags.items()}
    if not asked.seen or not etags or digest_of(etags) == asked.seen:
        return ""
    return (
        f"{asked.prefix} is not what find_orphans() saw: files came, changed or went. Nothing of "
        "it was deleted; find again."
    )


def location_of(folder: Folder, store: Store) -> Location:
    """Return the location that a run's or model's folder is; the guard has not seen it yet."""
    kind: LocationKind = "logged_model" if folder.is_model else "run_artifacts"
    return Location(store.account, store.container, folder.path, kind, folder.owner_id)


def _refusal(wrong: Sequence[Asked], owned: Sequence[Asked]) -> str:
    said = []
    if wrong:
        names = ", ".join(plain(one.prefix) for one in wrong)
        said.append(
            f"not a whole folder '<id>/artifacts/' of a run or model, which is all that expmgr "
            f"deletes: {names}"
        )
    if owned:
        names = ", ".join(plain(one.prefix) for one in owned)
        said.append(f"a live run or model owns {names}")
    return f"{'; '.join(said)}. Nothing was deleted; find_orphans() tells what nobody owns."
