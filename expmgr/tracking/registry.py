"""The model registry, read whole: which versions point at which models, runs and places."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING
from urllib.parse import unquote

from expmgr.catalog.versions import Version, VersionsBuilder
from expmgr.errors import LocationError, NotFoundError
from expmgr.tracking.queries import (
    asking,
    ensure_reachable,
    in_parallel,
    iter_model_versions,
    iter_registered_models,
    iter_versions_since,
    run_or_none,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

    from expmgr.catalog.versions import Versions

__all__ = ["read_new_versions", "read_versions"]

_RUNS_SOURCE = re.compile(r"^runs:/+([^/?#]+)")
_MODEL_SOURCE = re.compile(r"^models:/+(m-[^/?#@]+)(?:/|$)")
_WHOLE_MODEL = re.compile(r"(?:^models:/+|/models/)(m-[0-9a-f]{32})(?:/artifacts)?/?$")
"""A LoggedModel and nothing else, by its id or its place; of a version a number would follow."""
_VERSION_SOURCE = re.compile(r"^models:/+[^/?#@]+(?:/[0-9]+|@[^/?#]+)/?$")
_MODELS = "models:/"
_SEGMENTS = re.compile(r"[/?#&=]+")


def read_versions(client: MlflowClient, blob_path: Callable[[str], str]) -> Versions:
    """Page through all versions of all registered models.

    Parameters
    ----------
    blob_path
        Turns an artifact URI into a blob path of our container; LocationError where it is none.

    Notes
    -----
    ``search_model_versions`` leaves aliases out, so the registered models are asked, too. A version
    that names its LoggedModel is of that model alone. ``run_id`` and ``model_id`` may be missing or
    wrong, so the source counts as well, in every way in which it may be read: percent-encoding
    undone or not; ``models:/m-x/3`` as the LoggedModel ``m-x`` and as version 3 of a registered
    model of that name; ``runs:/<id>/name`` as what that run made and what it links to. A copy's
    source is the version that it was copied from, which may be gone: the registry is asked where
    the copy lies. A source that is no location of ours, or one that is not understood, still
    protects a run or model whose id stands in it. Where every source is a path of ours, the version
    is known to lie there, and so to be none of the directories beside it.
    """
    # The client has no public name for its registry; asked first, since MLflow's own retries
    # against a closed port go on for four minutes.
    ensure_reachable(client._registry_uri or "")  # noqa: SLF001
    found = list(iter_model_versions(client))
    return _versions(client, blob_path, found, _aliases(client, any_version=bool(found)))


def read_new_versions(
    client: MlflowClient, blob_path: Callable[[str], str], since: int, known: Versions
) -> Versions | None:
    """Return the known versions and those registered since; None where there are none.

    One request, where few are new. What is known stays as it is: an alias that moved, and a version
    that was deleted, show when the registry is read whole.

    Parameters
    ----------
    since
        Milliseconds since 1970.
    """
    recent = list(iter_versions_since(client, since))
    subjects = known.subjects() if recent else frozenset()
    new = [entry for entry in recent if f"{entry.name}/{entry.version}" not in subjects]
    return known.plus(_versions(client, blob_path, new, {})) if new else None


def _versions(
    client: MlflowClient,
    blob_path: Callable[[str], str],
    found: Sequence[ModelVersion],
    aliases: Mapping[tuple[str, str], Sequence[str]],
) -> Versions:
    builder = VersionsBuilder()
    linking: dict[str, list[Version]] = defaultdict(list)
    for entry in found:
        names = aliases.get((entry.name, str(entry.version)), ())
        text = f"{entry.name} v{entry.version}" + (f" ({', '.join(names)})" if names else "")
        version = Version(text, f"{entry.name}/{entry.version}")
        model_id = getattr(entry, "model_id", None)
        sources = _sources(client, entry, known=bool(model_id))
        model_ids = {match[1] for source in sources if (match := _WHOLE_MODEL.search(source))}
        for named in model_ids | ({model_id} if model_id else set()):
            builder.model(named, version)
        if entry.run_id and not model_id and not model_ids:
            builder.run(entry.run_id, version)
        for source in sources:
            _note_source(builder, source, version, blob_path, linking)
    runs = in_parallel(lambda run_id: run_or_none(client, run_id), list(linking))
    for run in runs:
        outputs = getattr(run, "outputs", None)
        for output in (outputs.model_outputs if outputs is not None else None) or ():
            for version in linking[run.info.run_id if run is not None else ""]:
                builder.model(output.model_id, version)
    return builder.build()


def _sources(client: MlflowClient, entry: ModelVersion, *, known: bool) -> tuple[str, ...]:
    source = entry.source or ""
    sources = [source]
    is_version = _VERSION_SOURCE.match(source) or not _MODEL_SOURCE.match(source)
    if not known and source.startswith(_MODELS) and is_version:
        # A version of a registered model, whose name may begin with "m-": where does it lie?
        sources.append(_copied_from(client, entry))
    sources += [unquote(source) for source in sources]
    return tuple(dict.fromkeys(filter(None, sources)))


def _note_source(
    builder: VersionsBuilder,
    source: str,
    version: Version,
    blob_path: Callable[[str], str],
    linking: dict[str, list[Version]],
) -> None:
    if match := _RUNS_SOURCE.match(source):
        below = re.split(r"[?#]", source[match.end() :])[0].strip("/")
        builder.below(match[1], below, version)
        builder.uncertain(version)
        linking[match[1]].append(version)
    elif match := _MODEL_SOURCE.match(source):
        builder.model(match[1], version)
        builder.uncertain(version)
    elif not source.startswith(_MODELS):
        try:
            builder.path(blob_path(source), version)
        except LocationError:
            builder.uncertain(version)
            for segment in filter(None, _SEGMENTS.split(source)):
                builder.below(segment, "", version)
                builder.model(segment, version)


def _copied_from(client: MlflowClient, version: ModelVersion) -> str:
    """Return where the files of a copied version lie, "" where nobody knows any more."""
    try:
        with asking("read the model registry"):
            return client.get_model_version_download_uri(version.name, version.version) or ""
    except NotFoundError:
        return ""


def _aliases(client: MlflowClient, *, any_version: bool) -> dict[tuple[str, str], list[str]]:
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for model in iter_registered_models(client) if any_version else ():
        for alias, version in sorted((model.aliases or {}).items()):
            found[model.name, str(version)].append(alias)
    return found
