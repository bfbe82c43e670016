"""The model registry, read once and indexed by run, model id and source."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from expmgr.errors import LocationError, NotFoundError
from expmgr.tracking.queries import asking, ensure_reachable, iter_model_versions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

__all__ = ["RegistryIndex", "read_registry"]

_RUNS_SOURCE = re.compile(r"^runs:/+([^/?#]+)")
_MODEL_SOURCE = re.compile(r"^models:/+(m-[^/?#@]+)(?:/|$)")
_VERSION_SOURCE = re.compile(r"^models:/")
_SEGMENTS = re.compile(r"[/?#&=]+")


@dataclass(frozen=True)
class RegistryIndex:
    """Registered versions by what they point at. Pure once made.

    Attributes
    ----------
    by_run, by_model
        Descriptions such as ``churn v3 (champion)`` by run id and by LoggedModel id.
    by_path
        The same by blob path, for versions registered by URI.
    """

    by_run: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    by_model: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    by_path: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def versions_of(
        self, run_id: str, model_ids: Iterable[str], blob_paths: Iterable[str] = ()
    ) -> tuple[str, ...]:
        """Return the versions that name this run, these models or anything in these paths."""
        found = list(self.by_run.get(run_id, ()))
        for model_id in model_ids:
            found.extend(self.by_model.get(model_id, ()))
        for path in blob_paths:
            for source, versions in self.by_path.items():
                if (source + "/").startswith(path + "/") or (path + "/").startswith(source + "/"):
                    found.extend(versions)
        return tuple(dict.fromkeys(found))


def read_registry(client: MlflowClient, blob_path: Callable[[str], str]) -> RegistryIndex:
    """Page through all versions of all registered models.

    Parameters
    ----------
    blob_path
        Turns an artifact URI into a blob path of our container; LocationError where it is none.

    Notes
    -----
    ``search_model_versions`` leaves aliases out, so each registered model that has versions is
    asked once. ``run_id`` and ``model_id`` may be missing or wrong, so the source counts too. A
    copy's source is the version that it was copied from, which may be gone: the registry is asked
    where the copy lies. A source that is no location of ours, or one that is not understood, still
    protects a run or model whose id stands in it.
    """
    by_run: dict[str, list[str]] = defaultdict(list)
    by_model: dict[str, list[str]] = defaultdict(list)
    by_path: dict[str, list[str]] = defaultdict(list)
    # The client has no public name for its registry; asked first, since MLflow's own retries
    # against a closed port go on for four minutes.
    ensure_reachable(client._registry_uri or "")  # noqa: SLF001
    versions = list(iter_model_versions(client))
    aliases = _aliases(client, {version.name for version in versions})
    for version in versions:
        names = aliases.get((version.name, str(version.version)), ())
        text = f"{version.name} v{version.version}" + (f" ({', '.join(names)})" if names else "")
        if version.run_id:
            by_run[version.run_id].append(text)
        model_id = getattr(version, "model_id", None)
        if model_id:
            by_model[model_id].append(text)
        source = version.source or ""
        if not model_id and _VERSION_SOURCE.match(source) and not _MODEL_SOURCE.match(source):
            source = _copied_from(client, version)
        if match := _RUNS_SOURCE.match(source):
            by_run[match[1]].append(text)
        elif match := _MODEL_SOURCE.match(source):
            by_model[match[1]].append(text)
        elif source:
            try:
                by_path[blob_path(source)].append(text)
            except LocationError:
                for segment in filter(None, _SEGMENTS.split(source)):
                    by_run[segment].append(text)
                    by_model[segment].append(text)
    return RegistryIndex(
        *(
            {key: tuple(dict.fromkeys(texts)) for key, texts in index.items()}
            for index in (by_run, by_model, by_path)
        )
    )


def _copied_from(client: MlflowClient, version: ModelVersion) -> str:
    """Return where the files of a copied version lie, "" where nobody knows any more."""
    try:
        with asking("read the model registry"):
            return client.get_model_version_download_uri(version.name, version.version) or ""
    except NotFoundError:
        return ""


def _aliases(client: MlflowClient, names: Iterable[str]) -> dict[tuple[str, str], tuple[str, ...]]:
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    token: str | None = None
    wanted = set(names)
    while wanted:
        with asking("read the model registry"):
            page = client.search_registered_models(max_results=100, page_token=token)
        for model in page:
            for alias, version in (model.aliases or {}).items():
                found[model.name, str(version)].append(alias)
        token = page.token
        if not token:
            break
    return {key: tuple(sorted(aliases)) for key, aliases in found.items()}
