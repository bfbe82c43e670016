"""MLflow's flavours: which one a model is of, saved to a folder and loaded from one.

Only ``save_model`` and ``load_model`` of a flavour are used, on local folders: they touch neither
MLflow's active run nor its global tracking URI.
"""

from __future__ import annotations

import importlib
import inspect
import shutil
from typing import TYPE_CHECKING, Any

from expmgr.errors import InvalidInputError, StorageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from types import ModuleType

    from mlflow.models import Model

__all__ = ["PLAIN_FILES", "flavor_of", "load_folder", "save_folder"]

PLAIN_FILES = "expmgr_checkpoint"
"""In an ``MLmodel`` file: the model is the files themselves, at ``path`` below its folder."""

_FLAVORS = {
    # The package that a model's class (or one of its bases) comes from -> MLflow's module.
    "sklearn": "sklearn",
    "xgboost": "xgboost",
    "lightgbm": "lightgbm",
    "catboost": "catboost",
    "torch": "pytorch",
    "keras": "keras",
    "tensorflow": "tensorflow",
    "transformers": "transformers",
    "sentence_transformers": "sentence_transformers",
    "onnx": "onnx",
    "spacy": "spacy",
    "statsmodels": "statsmodels",
    "prophet": "prophet",
    "pmdarima": "pmdarima",
    "paddle": "paddle",
    "h2o": "h2o",
}
_PYFUNC = "python_function"


def flavor_of(model: object) -> str:
    """Return the name of MLflow's flavour for a model, from the packages of its class and bases.

    The nearest class decides, so that an ``XGBClassifier``, which is also a scikit-learn
    estimator, is xgboost's; ``mlflow.pyfunc.PythonModel`` and plain functions are pyfunc's.

    Raises
    ------
    InvalidInputError
        None is known; name it with ``flavor=``.
    """
    if inspect.isfunction(model):
        return "pyfunc"
    for base in type(model).__mro__:
        package = base.__module__.split(".")[0]
        if base.__module__.startswith("mlflow.pyfunc"):
            return "pyfunc"
        if package in _FLAVORS:
            return _FLAVORS[package]
    message = (
        f"no MLflow flavour is known for a {type(model).__name__}; name it, such as "
        "save_model(model, flavor='sklearn')."
    )
    raise InvalidInputError(message)


def _module(flavor: str) -> ModuleType:
    try:
        module = importlib.import_module(f"mlflow.{flavor}")
    except ImportError as error:
        message = f"MLflow's flavour {flavor!r} cannot be used here: {error}."
        raise InvalidInputError(message) from error
    if not (hasattr(module, "save_model") and hasattr(module, "load_model")):
        raise InvalidInputError(f"mlflow.{flavor} is no flavour: it saves and loads no models.")
    return module


def save_folder(
    model: object,
    folder: Path,
    *,
    flavor: str | None,
    requirements: Sequence[str] | None,
    mlflow_model: Model,
    options: Mapping[str, Any] | None = None,
) -> str:
    """Save a model to a new folder in MLflow's format, and return the flavour.

    Parameters
    ----------
    flavor
        ``sklearn``, ``pytorch``, ...; None tells it by the model's class.
    requirements
        pip requirements that the model declares. None declares what the flavour itself needs, at
        the versions installed; MLflow's own inference, which loads the model in another process
        for seconds, runs only for flavours that do not tell.
    mlflow_model
        What goes into the ``MLmodel`` file.
    options
        Handed to the flavour's ``save_model``. scikit-learn models are pickled by cloudpickle
        unless told otherwise here: MLflow's default since 3.10, skops, refuses most of them.

    Raises
    ------
    InvalidInputError
        The flavour is unknown or cannot save this model.
    """
    flavor = flavor or flavor_of(model)
    module = _module(flavor)
    settings = dict(options or {})
    parameters = inspect.signature(module.save_model).parameters
    if flavor == "sklearn" and "serialization_format" in parameters:
        settings.setdefault("serialization_format", "cloudpickle")
    if not {"pip_requirements", "conda_env"} & settings.keys():
        settings["pip_requirements"] = (
            list(requirements) if requirements is not None else _own_requirements(module, settings)
        )
    settings = {
        key: value
        for key, value in settings.items()
        if key in parameters or _takes_any(parameters) or key in (options or {})
    }
    try:
        if flavor == "pyfunc":
            module.save_model(
                path=str(folder), python_model=model, mlflow_model=mlflow_model, **settings
            )
        else:
            # The first parameter is the model; its name differs from flavour to flavour.
            module.save_model(model, path=str(folder), mlflow_model=mlflow_model, **settings)
    except Exception as error:
        message = (
            f"mlflow.{flavor} could not save the {type(model).__name__}: {error} Check flavor= and "
            "save_options=."
        )
        raise InvalidInputError(message) from error
    for cache in list(folder.rglob("__pycache__")):
        shutil.rmtree(cache, ignore_errors=True)
    return flavor


def _takes_any(parameters: Mapping[str, inspect.Parameter]) -> bool:
    return any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters.values())


def _own_requirements(module: ModuleType, settings: Mapping[str, Any]) -> list[str] | None:
    tell = getattr(module, "get_default_pip_requirements", None)
    if tell is None:
        return None
    pickled = settings.get("serialization_format") == "cloudpickle"
    if pickled and "include_cloudpickle" in inspect.signature(tell).parameters:
        return list(tell(include_cloudpickle=True))
    return list(tell())


def load_folder(folder: Path, flavor: str | None = None) -> Any:
    """Load the model in a folder, by its own flavour rather than as a generic Python function.

    Of files that were saved as they are (`PLAIN_FILES`) the path is returned.

    Raises
    ------
    StorageError
        The folder holds no model, or its flavour could not load it here.
    """
    from mlflow.models import Model

    try:
        flavors = Model.load(str(folder)).flavors
    except Exception as error:
        raise StorageError(f"what was downloaded holds no readable MLmodel: {error}") from error
    if PLAIN_FILES in flavors and flavor is None:
        return folder / str(flavors[PLAIN_FILES].get("path", "."))
    if flavor is None:
        named = [name for name in flavors if name != _PYFUNC]
        flavor = named[0] if named else "pyfunc"
    module = _module(flavor)
    try:
        if flavor == "pyfunc":
            loaded = module.load_model(str(folder))
            return _unwrapped(loaded)
        return module.load_model(str(folder))
    except Exception as error:
        message = f"mlflow.{flavor} could not load the model: {error}"
        raise StorageError(message) from error


def _unwrapped(loaded: Any) -> Any:
    """Return the PythonModel inside a pyfunc model, where there is one."""
    try:
        return loaded.unwrap_python_model()
    except Exception:  # noqa: BLE001 - MlflowException where the model is of another loader
        return loaded
