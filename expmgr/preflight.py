"""What is reachable and permitted, asked by doing it once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from expmgr.errors import ExpmgrError, LocationError
from expmgr.tracking.queries import asking, iter_experiments
from expmgr.tracking.sight import hidden_by

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd
    from mlflow import MlflowClient

    from expmgr.storage.addresses import Addresses
    from expmgr.storage.self_check import Row, Status

__all__ = ["Preflight"]


@dataclass
class Preflight:
    """Asks the tracking server, the registry and the container, one check a row.

    Attributes
    ----------
    client
        Returns the MLflow client; may raise where the server is down.
    addresses
        Of the container.
    check_storage
        Returns the rows about the container and its account.
    prefix
        What the names of the manager's own experiments begin with.
    """

    client: Callable[[], MlflowClient]
    addresses: Addresses
    check_storage: Callable[[], list[Row]]
    prefix: str
    rows: list[Row] = field(default_factory=list)

    def run(self) -> pd.DataFrame:
        """Return the table; no failing check keeps the others from being made."""
        from expmgr.whole_table import WholeTable

        self.rows.clear()
        self._tracking()
        self.rows += self.check_storage()
        return WholeTable(self.rows, columns=["check", "status", "detail", "advice"])

    def _add(self, check: str, status: Status, detail: str = "", advice: str = "") -> None:
        self.rows.append((check, status, detail, advice))

    def _tracking(self) -> None:
        try:
            client = self.client()
            experiments = list(iter_experiments(client))
        except ExpmgrError as error:
            advice = "Check tracking_uri, the network and that the server runs."
            self._add("tracking server", "no", str(error), advice)
            for check in ("model registry", "permissions", "experiments"):
                self._add(check, "unknown", "the tracking server could not be asked")
            return
        self._add("tracking server", "ok", f"{len(experiments)} experiments")
        try:
            with asking("read the model registry"):
                client.search_registered_models(max_results=1)
        except ExpmgrError as error:
            advice = "Check registry_uri; until the registry answers, every model is protected."
            self._add("model registry", "no", str(error), advice)
        else:
            self._add("model registry", "ok")
        self._sight(client)
        own = [e for e in experiments if e.name.startswith(self.prefix)]
        elsewhere = []
        reason = ""
        for experiment in own:
            try:
                self.addresses.path_of(experiment.artifact_location)
            except LocationError as error:
                elsewhere.append(experiment.name)
                reason = str(error)
        if elsewhere:
            advice = (
                "Models of these experiments cannot be deleted with these credentials. For "
                "mlflow-artifacts: give artifacts_destination."
            )
            detail = f"{len(elsewhere)} of {len(own)} keep artifacts elsewhere: {reason}"
            self._add("experiments", "note", detail, advice)
        else:
            self._add("experiments", "ok", f"{len(own)} named '{self.prefix}...'")

    def _sight(self, client: MlflowClient) -> None:
        advice = (
            "Registry facts are as far as this user may read, and no orphan can be told from what "
            "is hidden: use an administrator's login to delete them."
        )
        try:
            hidden = hidden_by(client)
        except ExpmgrError as error:
            self._add("permissions", "unknown", str(error), advice)
            return
        if hidden:
            self._add("permissions", "note", hidden, advice)
        else:
            self._add("permissions", "ok", "this user sees all of the tracking server")
