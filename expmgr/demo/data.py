"""The demo's data folder: made once, found again at the next start."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
import shutil
import sys
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from expmgr.demo.azurite import AzuriteServer
from expmgr.demo.errors import DemoError
from expmgr.demo.own_files import check_own
from expmgr.demo.recipes import FINE_TUNES, PLUGIN_NAME, RECIPES, STORIES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["CONTAINER", "NOTEBOOKS", "DemoData", "notebook_source"]

CONTAINER = "models"
_ARTIFACT_ROOT = f"wasbs://{CONTAINER}@devstoreaccount1.blob.core.windows.net/mlflow"

NOTEBOOKS = (
    "browse.ipynb",
    "track.ipynb",
    "cleanup.ipynb",
    "free-half-the-bill.ipynb",
    "a-search-that-keeps-its-best.ipynb",
)
"""What the demo's JupyterLab shows: the run browser first, a search that fills it, a clean-up, and
the documentation's tutorials."""


@dataclass(frozen=True)
class DemoData:
    """Where the demo keeps everything.

    Attributes
    ----------
    folder
        The data folder.
    """

    folder: Path

    @property
    def tracking_uri(self) -> str:
        """MLflow's SQLite database."""
        return f"sqlite:///{self.folder / 'mlflow.db'}"

    @property
    def notebook(self) -> Path:
        """The working copy of the notebook."""
        return self.folder / "notebooks" / "browse.ipynb"

    @property
    def state_dir(self) -> Path:
        """Jupyter's settings, runtime files and log."""
        return self.folder / "jupyter"

    def azurite(self) -> AzuriteServer:
        """Return the server for this folder's blobs, not started yet."""
        return AzuriteServer(self.folder / "blobs")

    def environment(self, azurite: AzuriteServer) -> dict[str, str]:
        """Return what the notebook's kernel needs to know; the notebook itself holds no secret."""
        return {
            "MLFLOW_TRACKING_URI": self.tracking_uri,
            "AZURE_STORAGE_CONNECTION_STRING": azurite.connection_string,
            "EXPMGR_CONTAINER": CONTAINER,
            "EXPMGR_PLUGIN": PLUGIN_NAME,
            "EXPMGR_MAIN_METRIC": "accuracy",
            "MLFLOW_DISABLE_TELEMETRY": "true",
        }

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep a second demo away from the same folder; Azurite would damage its blobs.

        Raises
        ------
        DemoError
            Another demo is running there, or the folder is not this user's own.
        """
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.check_own()
        if sys.platform == "win32":
            yield
            return
        import fcntl

        with (self.folder / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                message = (
                    f"another demo is running in {self.folder}: stop it, or choose another folder "
                    "with --data"
                )
                raise DemoError(message) from error
            yield

    def check_own(self) -> None:
        """Refuse, with a DemoError, a folder that somebody else may have written to."""
        check_own(self.folder, skip={"azurite"})  # an earlier version's, which is not run

    def is_complete(self) -> bool:
        """Tell whether the sample runs are there, made by these versions from these recipes."""
        with contextlib.suppress(OSError, ValueError):
            made = json.loads((self.folder / "demo.json").read_text(encoding="utf-8"))
            return isinstance(made, dict) and made.get("fingerprint") == _fingerprint()
        return False

    def clear(self) -> None:
        """Remove runs and blobs."""
        (self.folder / "demo.json").unlink(missing_ok=True)
        for database in self.folder.glob("mlflow.db*"):
            database.unlink()
        shutil.rmtree(self.folder / "blobs", ignore_errors=True)

    def create(
        self, azurite: AzuriteServer, on_run: Callable[[int, int, str], None] | None = None
    ) -> None:
        """Train and log the sample runs; they count only once all are there."""
        from azure.storage.blob import BlobServiceClient
        from mlflow import MlflowClient

        from expmgr.demo.fine_tunes import create_fine_tunes
        from expmgr.demo.sample_runs import create_sample_runs
        from expmgr.demo.stories import create_stories

        # MLflow would warn once a model that pickles can run code: these were made right here.
        logging.getLogger("mlflow").setLevel(logging.ERROR)
        os.environ["AZURE_STORAGE_CONNECTION_STRING"] = azurite.connection_string
        with BlobServiceClient.from_connection_string(azurite.connection_string) as service:
            container = service.create_container(CONTAINER)
            client = MlflowClient(self.tracking_uri)
            run_ids = create_sample_runs(client, container, _ARTIFACT_ROOT, on_run=on_run)
            create_stories(client, _ARTIFACT_ROOT)
            create_fine_tunes(client, container, _ARTIFACT_ROOT)
        made = {"fingerprint": _fingerprint(), "runs": run_ids}
        (self.folder / "demo.json").write_text(json.dumps(made, indent=1), encoding="utf-8")

    def place_notebooks(self) -> None:
        """Put working copies of the notebooks in place; one that was edited since stays."""
        for name in NOTEBOOKS:
            copy = self.notebook.with_name(name)
            shipped = notebook_source(name).read_bytes()
            stamp = copy.with_name(f".{copy.stem}.sha256")
            digest = hashlib.sha256(shipped).hexdigest()
            known = stamp.read_text(encoding="utf-8") if stamp.is_file() else ""
            if known != digest or not copy.is_file():
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_text(_working_copy(shipped), encoding="utf-8")
                stamp.write_text(digest, encoding="utf-8")


def notebook_source(name: str = "browse.ipynb") -> Path:
    """Return a notebook: beside this module when installed, else the repository's."""
    here = Path(__file__).resolve()
    repository = here.parents[2]
    homes = (here.parent, repository / "notebooks", repository / "docs" / "tutorials")
    for home in homes:
        if (home / name).is_file():
            return home / name
    message = f"the notebook {name} is missing from this installation of expmgr"
    raise DemoError(message)


def _working_copy(shipped: bytes) -> str:
    """Return a notebook to be run: without what it once showed, and links to pages around it."""
    notebook = json.loads(shipped)
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            cell.update(outputs=[], execution_count=None)
        else:
            text = "".join(cell["source"])
            cell["source"] = re.sub(r"\[([^\]]+)\]\(\.\./[^)]*\)", r"\1", text)
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def _fingerprint() -> str:
    # Another MLflow may want another database schema; other recipes want other runs.
    recipe = f"{version('mlflow')} {PLUGIN_NAME} {RECIPES!r} {STORIES} {FINE_TUNES}"
    return hashlib.sha256(recipe.encode()).hexdigest()[:16]
