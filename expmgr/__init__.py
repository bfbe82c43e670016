"""Browse MLflow runs in a notebook and delete their models from Azure Blob Storage, safely.

Every public name can be imported from here. Names are loaded when they are first used, so that
``import expmgr`` stays cheap: MLflow, pandas and the Azure SDK are imported by what needs them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from expmgr.azure_blob import ExperimentsManagerWithAzureBlobBackend
    from expmgr.cleanup.plan import DeletionPlan
    from expmgr.cleanup.report import DeletionReport
    from expmgr.credentials import AzureBlobCredentials
    from expmgr.errors import (
        ConflictError,
        CredentialsError,
        DeletionCancelledError,
        DeletionError,
        ExpmgrError,
        FilterError,
        InvalidInputError,
        JournalError,
        LocationError,
        NotFoundError,
        ProtectedModelError,
        RunError,
        StorageError,
        TakesEverythingError,
        TrackingError,
        TrackingUnreachableError,
        TransferCancelledError,
    )
    from expmgr.manager import ExperimentsManager
    from expmgr.metrics import MetricsAccumulator, MetricValue
    from expmgr.prices import StoragePrices
    from expmgr.results import DeletionProgress, DeletionResult
    from expmgr.retry import RetryConfig, RetryParams
    from expmgr.training.iterations import FineTuningIteration

__all__ = [
    "AzureBlobCredentials",
    "ConflictError",
    "CredentialsError",
    "DeletionCancelledError",
    "DeletionError",
    "DeletionPlan",
    "DeletionProgress",
    "DeletionReport",
    "DeletionResult",
    "ExperimentsManager",
    "ExperimentsManagerWithAzureBlobBackend",
    "ExpmgrError",
    "FilterError",
    "FineTuningIteration",
    "InvalidInputError",
    "JournalError",
    "LocationError",
    "MetricValue",
    "MetricsAccumulator",
    "NotFoundError",
    "ProtectedModelError",
    "RetryConfig",
    "RetryParams",
    "RunError",
    "StorageError",
    "StoragePrices",
    "TakesEverythingError",
    "TrackingError",
    "TrackingUnreachableError",
    "TransferCancelledError",
]

__version__ = "0.2.0"

_HOMES = {
    "AzureBlobCredentials": "credentials",
    "DeletionPlan": "cleanup.plan",
    "DeletionProgress": "results",
    "DeletionReport": "cleanup.report",
    "DeletionResult": "results",
    "ExperimentsManager": "manager",
    "ExperimentsManagerWithAzureBlobBackend": "azure_blob",
    "FineTuningIteration": "training.iterations",
    "MetricValue": "metrics",
    "MetricsAccumulator": "metrics",
    "RetryConfig": "retry",
    "RetryParams": "retry",
    "StoragePrices": "prices",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        message = f"module 'expmgr' has no attribute {name!r}"
        raise AttributeError(message)
    value = getattr(import_module(f"expmgr.{_HOMES.get(name, 'errors')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
