"""matplotlib is loaded for a picture, and by nothing that comes before one."""

from __future__ import annotations

import os
import subprocess
import sys

from jupyter_driver import REPOSITORY

A_SESSION = """
import sys
import expmgr

def heavy():
    return sorted({name.partition(".")[0] for name in sys.modules} & {"matplotlib", "PIL"})

manager = expmgr.ExperimentsManagerWithAzureBlobBackend.from_env()
runs = manager.runs()
assert len(manager.models()) == 2
browser = manager.browse()
assert browser.wait(60)
browser.close()
plan = manager.plan_deletion(runs["run_id"])
report = manager.delete_models(plan)
assert report.counts == {"deleted": 1, "protected": 1}, report
manager.storage_usage()
print("before a picture:", *heavy())
manager.plot_storage()
print("after one:", *heavy())
"""


def test_a_table_a_browser_a_plan_and_a_deletion_load_no_matplotlib(lab, azurite):
    lab.best()
    lab.with_model(0.5)
    environment = {
        **os.environ,
        "PYTHONPATH": str(REPOSITORY),
        "MLFLOW_TRACKING_URI": lab.backend.tracking_uri,
        "AZURE_STORAGE_CONNECTION_STRING": azurite.connection_string,
        "EXPMGR_CONTAINER": lab.credentials.container_name,
        "EXPMGR_PLUGIN": lab.plugin,
        "EXPMGR_MAIN_METRIC": "accuracy",
    }
    done = subprocess.run(
        [sys.executable, "-c", A_SESSION],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    before, after = done.stdout.splitlines()[-2:]
    assert before == "before a picture:"
    assert after == "after one: PIL matplotlib"
