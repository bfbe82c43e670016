"""One model, its maker, and what was seen of its files: the values that everybody reads. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from expmgr.catalog.quality import Entry

__all__ = [
    "ACTIVE_STATUSES",
    "INITIAL_TAG",
    "KEEP_TAG",
    "NOTHING",
    "JournalState",
    "Maker",
    "Model",
    "ModelKind",
    "Size",
    "Stored",
    "is_initial",
    "is_model_id",
    "is_pin",
    "run_and_path",
]

KEEP_TAG = "expmgr.keep"
INITIAL_TAG = "expmgr.initial_model"

ACTIVE_STATUSES = ("RUNNING", "SCHEDULED")

ModelKind = Literal["logged", "directory", "raw"]
JournalState = Literal["", "deleting", "interrupted", "deleted"]


def is_model_id(text: str) -> bool:
    """Whether an id is a LoggedModel's: ``m-`` and 32 digits; a run's has no dash."""
    return text.startswith("m-")


def run_and_path(text: str) -> tuple[str, str] | None:
    """Return run id and path of the id of a directory that a run logged; None for another id."""
    run_id, slash, path = text.partition("/")
    return (run_id, path) if slash and not is_model_id(text) else None


def is_initial(tags: Mapping[str, str], experiment_id: str, homes: Collection[str]) -> bool:
    """Whether a run holds an initial model: by its tag, or by the experiment that it is in.

    Parameters
    ----------
    homes
        Experiments whose models are all initial ones, by id.
    """
    return tags.get(INITIAL_TAG, "").lower() == "true" or experiment_id in homes


def is_pin(value: str | None) -> bool:
    """Whether a value of the tag ``expmgr.keep`` pins; only "false", "no" and "0" take it back."""
    return value is not None and value.strip().lower() not in {"false", "no", "0"}


class Size(NamedTuple):
    """Number of files and of bytes, and where prices are known what they cost.

    ``monthly`` is the cost of a month, ``early`` the fee for deleting them now.
    """

    files: int
    bytes: int
    monthly: float = 0.0
    early: float = 0.0

    def plus(self, other: Size) -> Size:
        """Return the sum."""
        return Size(
            self.files + other.files,
            self.bytes + other.bytes,
            self.monthly + other.monthly,
            self.early + other.early,
        )

    def minus(self, other: Size) -> Size:
        """Return the difference."""
        return Size(
            self.files - other.files,
            self.bytes - other.bytes,
            self.monthly - other.monthly,
            self.early - other.early,
        )


NOTHING = Size(0, 0)


@dataclass(frozen=True, slots=True)
class Stored:
    """What a listing showed of a model.

    Attributes
    ----------
    marked
        Whether an ``MLmodel`` file lies directly in it: without one nothing can load it.
    """

    size: Size
    marked: bool


@dataclass(frozen=True, slots=True)
class Maker:
    """A run, as the catalog sees it.

    Attributes
    ----------
    outputs
        Models that it lists as outputs, by id, with the step at which it lists them.
    inputs
        Models that it lists as inputs; None where that was not asked (``search_runs`` leaves
        them out).
    in_trash
        Whether the run is deleted.
    began
        Milliseconds since 1970, 0 where that is not known.
    """

    id: str
    name: str
    experiment_id: str
    status: str
    tags: Mapping[str, str]
    metrics: Mapping[str, float]
    outputs: Mapping[str, int]
    inputs: tuple[str, ...] | None = None
    in_trash: bool = False
    began: int = 0

    @property
    def active(self) -> bool:
        """Whether it is still under way; nobody waits for a run that was deleted."""
        return self.status in ACTIVE_STATUSES and not self.in_trash


@dataclass(frozen=True, slots=True)
class Model:
    """One stored model.

    Attributes
    ----------
    id
        ``m-...``, ``<run_id>/<path>`` (a directory that a run logged as a model), or ``<run_id>``
        (the raw artifacts of a run that never recorded one).
    run_id
        Its maker, "" where it has none.
    status
        READY, PENDING or FAILED; models that MLflow 2 recorded are READY.
    created, updated
        Milliseconds since 1970; ``updated`` is 0 where MLflow keeps no such time.
    path
        Where its files lie in our container, None where that is elsewhere or not known.
    entries
        Values that were logged for it.
    in_trash
        Whether the LoggedModel is deleted.
    external
        Whether MLflow says that its files are kept outside (``mlflow.model.isExternal``).
    stored
        What a listing showed; None where nothing was measured.
    journal
        What the journal says of its last deletion.
    alone
        Whether it may go by its own id. Of several directories that only their files tell, each
        goes with their run only: a record of one would make the others forgotten.
    """

    id: str
    kind: ModelKind
    experiment_id: str
    run_id: str = ""
    name: str = ""
    status: str = "READY"
    created: int = 0
    path: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    entries: tuple[Entry, ...] = ()
    in_trash: bool = False
    external: bool = False
    stored: Stored | None = None
    journal: JournalState = ""
    alone: bool = True
    updated: int = 0

    @property
    def whole(self) -> bool:
        """Whether it was seen to be a complete model; what is not is doubtful."""
        return (
            self.kind != "raw"
            and self.status == "READY"
            and not self.external
            and not self.in_trash
            and self.path is not None
            and self.stored is not None
            and self.stored.marked
            and self.journal not in {"deleting", "interrupted"}
        )

    @property
    def empty(self) -> bool:
        """Whether it was seen to have no files: nothing is there that could be protected."""
        return self.stored is not None and not self.stored.size.files

    @property
    def competes(self) -> bool:
        """Whether it may be the best of something: it is not in the trash and not known to be gone.

        Raw artifacts compete only once they were seen: most runs have none.
        """
        if self.in_trash or self.empty:
            return False
        return self.stored is not None or (self.kind != "raw" and self.journal != "deleted")
