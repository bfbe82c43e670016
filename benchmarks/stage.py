"""The servers that something is measured on: a fresh Azurite, MLflow on SQLite or over HTTP."""

from __future__ import annotations

import contextlib
import shutil
import uuid
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from benchmarks.delay_proxy import DelayProxy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from azure.storage.blob import ContainerClient
    from mlflow import MlflowClient
    from servers import MlflowServer

    from expmgr import ExperimentsManagerWithAzureBlobBackend
    from expmgr.demo.azurite import AzuriteServer

METRIC = "accuracy"


@dataclass(frozen=True)
class Place:
    """Where the servers are, for whoever is measured; a plain value that a process can be given.

    Attributes
    ----------
    tracking_uri
        SQLite or HTTP.
    database
        MLflow's, for filling it.
    endpoint, account_name, account_key, container
        Of the storage account.
    plugin
        Its experiments' names begin so.
    """

    tracking_uri: str
    database: str
    endpoint: str
    account_name: str
    account_key: str
    container: str
    plugin: str

    @property
    def connection_string(self) -> str:
        """What MLflow finds the storage account by."""
        return (
            f"DefaultEndpointsProtocol=http;AccountName={self.account_name};"
            f"AccountKey={self.account_key};BlobEndpoint={self.endpoint};"
        )

    @property
    def environment(self) -> dict[str, str]:
        """What MLflow reads from the environment."""
        return {"AZURE_STORAGE_CONNECTION_STRING": self.connection_string}

    @property
    def root(self) -> str:
        """The artifact root of its experiments, as MLflow names it."""
        return f"wasbs://{self.container}@{self.account_name}.blob.core.windows.net/root"

    def manager(self, **options: Any) -> ExperimentsManagerWithAzureBlobBackend:
        """Return a manager that knows nothing yet."""
        from expmgr import AzureBlobCredentials, ExperimentsManagerWithAzureBlobBackend

        credentials = AzureBlobCredentials(
            account_name=self.account_name,
            account_key=self.account_key,
            container_name=self.container,
            account_url=self.endpoint,
        )
        return ExperimentsManagerWithAzureBlobBackend(
            tracking_uri=self.tracking_uri,
            azure_blob_credentials=credentials,
            main_metric=METRIC,
            plugin_name=self.plugin,
            **options,
        )

    def client(self) -> MlflowClient:
        """Return MLflow's own client."""
        from mlflow import MlflowClient

        return MlflowClient(self.tracking_uri, self.tracking_uri)

    def container_client(self, container: str | None = None) -> ContainerClient:
        """Return Azure's own client, of the models' container where no other is named."""
        from azure.storage.blob import ContainerClient

        name = container or self.container
        return ContainerClient.from_connection_string(self.connection_string, name)

    def blobs(self, prefix: str = "") -> int:
        """Count the blobs that are there, or those below a prefix."""
        with self.container_client() as client:
            return sum(1 for _ in client.list_blob_names(name_starts_with=prefix or None))


@dataclass(frozen=True)
class Stage:
    """One set of servers.

    Attributes
    ----------
    near
        The servers themselves, for filling them and for looking.
    place
        The same as those see them who are measured: as far away as was asked for.
    """

    near: Place
    place: Place

    def emptied(self) -> Stage:
        """Return the same servers with another container and other experiments, both empty."""
        name = uuid.uuid4().hex[:12]
        near = replace(self.near, container=f"bench-{name}", plugin=f"bench {name}")
        with near.container_client() as client:
            client.create_container()
        return Stage(near, replace(self.place, container=near.container, plugin=near.plugin))


class Stages:
    """Starts servers in a folder.

    Parameters
    ----------
    folder
        Theirs.
    azurite, server
        Servers that run already, for all: for a quick look, where starting them would take longer
        than what is looked at. None: new ones each time.
    """

    def __init__(
        self,
        folder: Path,
        *,
        azurite: AzuriteServer | None = None,
        server: MlflowServer | None = None,
    ) -> None:
        self._folder = folder
        self._azurite = azurite
        self._server = server

    @contextlib.contextmanager
    def open(self, *, server: bool = False, round_trip: float = 0.0) -> Iterator[Stage]:
        """Start an Azurite with an empty container and an MLflow without experiments.

        Parameters
        ----------
        server
            An ``mlflow server``; else MLflow works on SQLite in the process that asks.
        round_trip
            Seconds that a proxy puts between both servers and whoever is measured.
        """
        with contextlib.ExitStack() as ends:
            azurite = self._azurite or ends.enter_context(self.new_azurite())
            if server:
                mlflow = self._server or ends.enter_context(self.new_server(azurite))
                uri, database = mlflow.tracking_uri, str(mlflow.folder / "mlflow.db")
            else:
                database = str(self._new_database())
                uri = f"sqlite:///{database}"
            near = Place(
                tracking_uri=uri,
                database=database,
                endpoint=azurite.endpoint,
                account_name=azurite.account_name,
                account_key=azurite.account_key,
                container="",
                plugin="",
            )
            far = near
            if round_trip:
                far = replace(far, endpoint=_away(near.endpoint, round_trip, ends))
                if server:
                    far = replace(far, tracking_uri=_away(uri, round_trip, ends))
            yield Stage(near, far).emptied()

    def _new_folder(self) -> Path:
        folder = self._folder / uuid.uuid4().hex[:12]
        folder.mkdir(parents=True)
        return folder

    def on(self, azurite: AzuriteServer, server: MlflowServer) -> Stages:
        """Return the same on servers that run already."""
        return Stages(self._folder, azurite=azurite, server=server)

    def new_azurite(self) -> AzuriteServer:
        """Return one that is not started yet."""
        from expmgr.demo.azurite import AzuriteServer

        return AzuriteServer(self._new_folder() / "azurite")

    def new_server(self, azurite: AzuriteServer) -> MlflowServer:
        """Return one that is not started yet, on an empty database."""
        from servers import MlflowServer

        return MlflowServer(self._new_database().parent, azurite.connection_string)

    def _new_database(self) -> Path:
        """Make an empty database; migrating one takes seconds, copying does not."""
        from mlflow import MlflowClient

        template = self._folder / "template.db"
        if not template.exists():
            MlflowClient(f"sqlite:///{template}").search_experiments(max_results=1)
        database = self._new_folder() / "mlflow.db"
        shutil.copyfile(template, database)
        return database


def _away(url: str, round_trip: float, ends: contextlib.ExitStack) -> str:
    parts = urlsplit(url)
    assert parts.port is not None
    proxy = ends.enter_context(DelayProxy(parts.port, round_trip))
    return f"http://127.0.0.1:{proxy.port}{parts.path}"
