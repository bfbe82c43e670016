"""The demo without a screen: the notebook is executed and one delete button is pressed in it."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from expmgr.demo.data import CONTAINER, DemoData
from expmgr.demo.errors import DemoError
from expmgr.formatting import format_bytes, format_count

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from expmgr.demo.azurite import AzuriteServer

__all__ = ["check_demo", "press_delete"]

_MARK = "expmgr-check:"
_CELL = f"""\
import json
from expmgr.demo.check import press_delete
print({_MARK!r} + json.dumps(press_delete(manager, browser)))
"""


def press_delete(manager: Any, browser: Any, *, timeout: float = 120.0) -> dict[str, Any]:
    """Delete the first deletable run's model on the page by its buttons, as a person would.

    This runs in the notebook's kernel.

    Parameters
    ----------
    manager, browser
        What the notebook's cells have made.
    timeout
        Seconds that each step may take.

    Returns
    -------
    dict
        ``run_id``, ``run_name``, ``prefixes`` (the plan's locations) and ``status`` (what the row
        said in the end); or ``problem``.
    """
    from expmgr.catalog.model import is_model_id
    from expmgr.widgets.arming import ARMED_AFTER

    browser.wait(timeout)
    table = browser.table.set_index("run_id")
    for row in browser.rows:
        known = row.run_id in table.index and not is_model_id(row.run_id)
        if not known or table.loc[row.run_id, "model"] != "stored":
            continue
        plan = manager.plan_deletion([row.run_id])
        if not plan.runs[0].deletable or plan.files == 0:
            continue
        run_id = str(row.run_id)
        # The page takes no click on what has stood there for less than a moment.
        time.sleep(ARMED_AFTER + 0.2)
        row.delete_button.click()
        browser.wait(timeout)
        time.sleep(ARMED_AFTER + 0.2)
        row.confirm_button.click()
        browser.wait(timeout)
        return {
            "run_id": run_id,
            "run_name": str(table.loc[run_id, "run_name"]),
            "prefixes": [planned.location.prefix for planned in plan.runs[0].locations],
            "files": plan.files,
            "bytes": plan.bytes,
            "status": str(getattr(row.status, "value", row.status)),
        }
    return {"problem": "no model on the first page can be deleted (expmgr demo --fresh makes more)"}


@dataclass(frozen=True)
class _Change:
    before: Mapping[str, int]
    after: Mapping[str, int]

    @property
    def removed(self) -> list[str]:
        return sorted(set(self.before) - set(self.after))

    def show(self) -> None:
        for word, listing in (("before", self.before), ("after", self.after)):
            size = format_bytes(sum(listing.values()))
            print(f"{word + ':':8}{format_count(len(listing), 'blob')}, {size} in {CONTAINER!r}")
        for name in sorted(self.before):
            if name in self.after:
                print(f"    {name}  {format_bytes(self.before[name])}")
            else:
                print(f"  - {name}  {format_bytes(self.before[name])}")


def check_demo(data: DemoData, azurite: AzuriteServer) -> None:
    """Execute the notebook, press one delete button in it, and compare the container.

    Raises
    ------
    DemoError
        A cell failed, nothing could be deleted, or anything but the plan's blobs went.
    """
    before = _listing(azurite)
    said = _execute(data, data.environment(azurite), data.folder / "check.ipynb")
    change = _Change(before, _listing(azurite))
    change.show()
    if "problem" in said:
        raise DemoError(said["problem"])
    expected = sorted(name for name in before if name.startswith(tuple(said["prefixes"])))
    print(f"run {said['run_id']} ({said['run_name']!a}): {said['status']}")
    if change.removed != expected or set(change.after) - set(before):
        message = f"the plan named {len(expected)} blobs, {len(change.removed)} went"
        raise DemoError(message)
    print(f"Deleted {format_count(len(expected), 'blob')} through the row's delete button.")


def _listing(azurite: AzuriteServer) -> dict[str, int]:
    from azure.storage.blob import BlobServiceClient

    with BlobServiceClient.from_connection_string(azurite.connection_string) as service:
        blobs = service.get_container_client(CONTAINER).list_blobs()
        return {blob.name: blob.size for blob in blobs}


def _execute(data: DemoData, environment: Mapping[str, str], save_as: Path) -> dict[str, Any]:
    """Execute a copy of the notebook with one more cell; return what that cell printed."""
    import os

    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError

    notebook = nbformat.read(data.notebook, as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell(_CELL))
    client = NotebookClient(
        notebook,
        timeout=300,
        kernel_name="python3",
        extra_arguments=["--IPKernelApp.log_level=ERROR"],
        resources={"metadata": {"path": str(data.notebook.parent)}},
    )
    try:
        client.execute(env={**os.environ, **environment})
    except CellExecutionError as error:
        message = f"a cell of the notebook failed: {error.ename}: {error.evalue}"
        raise DemoError(message) from error
    finally:
        nbformat.write(notebook, save_as)
    for output in notebook.cells[-1].outputs:
        for line in str(output.get("text", "")).splitlines():
            if line.startswith(_MARK):
                found: dict[str, Any] = json.loads(line[len(_MARK) :])
                return found
    message = "the notebook's last cell said nothing"
    raise DemoError(message)
