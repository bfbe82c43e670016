"""Managers and small real models for the training tests."""

from __future__ import annotations

import functools
import logging
import threading

from expmgr import ExperimentsManagerWithAzureBlobBackend, MetricValue, RetryConfig, RetryParams

AT_ONCE = RetryConfig(
    **{
        name: RetryParams(attempts=2, wait_initial=0, wait_max=0)
        for name in ("delete_model", "list_blobs", "upload", "download", "inspect")
    }
)
# "Saving scikit-learn models in the pickle or cloudpickle format requires exercising caution"
logging.getLogger("mlflow.sklearn").setLevel(logging.ERROR)


def make_manager(
    tracking_uri,
    credentials,
    plugin_name,
    *,
    kind=ExperimentsManagerWithAzureBlobBackend,
    **options,
):
    settings = {
        "tracking_uri": tracking_uri,
        "main_metric": "accuracy",
        "plugin_name": plugin_name,
        "retry_config": AT_ONCE,
        **options,
    }
    if credentials is not None:
        settings["azure_blob_credentials"] = credentials
    return kind(**settings)


@functools.cache
def classifier(depth: int = 2):
    from sklearn.datasets import load_iris
    from sklearn.tree import DecisionTreeClassifier

    features, labels = load_iris(return_X_y=True)
    return DecisionTreeClassifier(max_depth=depth, random_state=0).fit(features, labels)


def train(manager, quality, *, depth=2, params=None, **options):
    """One whole run: params, main metric, model. Returns the run id and what became of the save."""
    manager.set_run({"quality": quality, "depth": depth} if params is None else params)
    run_id = manager.current_run_id
    if quality is not None:
        manager.save_metric(MetricValue(manager.main_metric, quality))
    saved = manager.save_model(classifier(depth), **options)
    manager.finish_run()
    return run_id, saved


class CountingClient:
    """An MLflow client that counts its calls, and dies at one of them if told so.

    Once dead, every call raises: a killed process does nothing more.
    """

    def __init__(self, client, die_at=None):
        self._client = client
        self._die_at = die_at
        self._lock = threading.Lock()
        self.calls: list[str] = []

    def count(self, name):
        with self._lock:
            if self._die_at is not None and len(self.calls) >= self._die_at:
                raise KilledError(name)
            self.calls.append(name)

    def __getattr__(self, name):
        attribute = getattr(self._client, name)
        if not callable(attribute) or name.startswith("_"):
            return attribute

        @functools.wraps(attribute)
        def call(*args, **kwargs):
            self.count(name)
            return attribute(*args, **kwargs)

        return call


class KilledError(BaseException):
    """The process was killed here."""


def count_calls(manager, die_at=None):
    """Put a counting client under the manager; returns it."""
    client = CountingClient(manager.client, die_at)
    manager._client = client
    return client
