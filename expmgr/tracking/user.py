"""Who asks and who made a run, by the name that MLflow writes down."""

from __future__ import annotations

import getpass

__all__ = ["USER_TAG", "user_name", "user_tags"]

USER_TAG = "mlflow.user"
"""``mlflow.utils.mlflow_tags.MLFLOW_USER``"""


def user_name() -> str:
    """Return this user's name as MLflow's fluent client writes it down for a run.

    Returns
    -------
    str
        "" where there is none: in a container without a name for its user
        (``mlflow.tracking.context.default_context``).
    """
    try:
        return getpass.getuser()
    except (ImportError, KeyError, OSError):
        return ""


def user_tags() -> dict[str, str]:
    """Return the tag that says who makes a run; MLflow's client by itself sets none."""
    name = user_name()
    return {USER_TAG: name} if name else {}
