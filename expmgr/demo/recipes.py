"""Which models the demo trains: real scikit-learn models of visibly different size and accuracy."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "FINE_TUNES",
    "HOSTILE_NAME",
    "PLUGIN_NAME",
    "RECIPES",
    "STORIES",
    "Layout",
    "Recipe",
    "Trait",
    "make_estimator",
]

PLUGIN_NAME = "demo"
STORIES = "fine-tuning"
"""The experiment of checkpoints, an evaluation, a study and a model without a run."""
FINE_TUNES = "networks"
"""The experiment of checkpoints with optimizer states, trash and a purged run's folder."""
HOSTILE_NAME = (
    "<img src=x onerror=\"document.title='owned'\"><script>alert(1)</script>"
    " $E=mc^2$ \u202egnorts\u202c 💥"
)
"""A run name that scripts, maths and right-to-left marks must not get out of."""

Layout = Literal["mlflow 2", "mlflow 3", "raw"]
Trait = Literal["", "running", "failed", "registered", "gone", "checkpoints", "initial"]


@dataclass(frozen=True)
class Recipe:
    """One run of the demo.

    Attributes
    ----------
    dataset
        Which of scikit-learn's own data sets; each is an experiment.
    name
        The run's name.
    estimator
        Name of the scikit-learn class.
    params
        Its parameters.
    layout
        How the model is stored: as MLflow 3 does (a LoggedModel), as MLflow 2 did (a directory of
        the run's artifacts), or as raw files that MLflow knows nothing about.
    trait
        What is special about the run: still running, failed, registered with an alias, blobs
        already removed, raw checkpoints, or the model that its experiment started from.
    """

    dataset: Literal["digits", "breast cancer", "wine"]
    name: str
    estimator: str
    params: Mapping[str, Any] = field(default_factory=dict)
    layout: Layout = "mlflow 3"
    trait: Trait = ""


def make_estimator(recipe: Recipe) -> Any:
    """Return the untrained scikit-learn estimator of a recipe, its inputs scaled."""
    from sklearn import (
        dummy,
        ensemble,
        linear_model,
        naive_bayes,
        neighbors,
        neural_network,
        svm,
        tree,
    )
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    modules = (dummy, ensemble, linear_model, naive_bayes, neighbors, neural_network, svm, tree)
    kind = next(found for m in modules if (found := getattr(m, recipe.estimator, None)))
    params = dict(recipe.params)
    if "random_state" in kind().get_params():
        params["random_state"] = 7
    return make_pipeline(StandardScaler(), kind(**params))


def _forest(trees: int, depth: int | None = None) -> dict[str, Any]:
    return {"n_estimators": trees, "max_depth": depth}


def _mlp(*layers: int, epochs: int = 40) -> dict[str, Any]:
    return {"hidden_layer_sizes": layers, "max_iter": epochs}


RECIPES: tuple[Recipe, ...] = (
    Recipe("digits", "majority class", "DummyClassifier", trait="initial"),
    Recipe("digits", "naive Bayes", "GaussianNB", layout="mlflow 2"),
    Recipe("digits", "tree, depth 4", "DecisionTreeClassifier", {"max_depth": 4}),
    Recipe("digits", "tree, full", "DecisionTreeClassifier"),
    Recipe("digits", "logistic, l2", "LogisticRegression", {"max_iter": 200}, layout="mlflow 2"),
    Recipe("digits", "forest, 20 trees", "RandomForestClassifier", _forest(20)),
    Recipe(
        "digits", "forest, 100 trees", "RandomForestClassifier", _forest(100), layout="mlflow 2"
    ),
    Recipe("digits", "forest, 300 trees", "RandomForestClassifier", _forest(300)),
    Recipe("digits", "extra trees, 200", "ExtraTreesClassifier", _forest(200)),
    Recipe("digits", "5 neighbours", "KNeighborsClassifier", {"n_neighbors": 5}),
    Recipe("digits", "support vectors", "SVC", {"C": 10.0}, trait="registered"),
    Recipe("digits", "perceptron 64", "MLPClassifier", _mlp(64)),
    Recipe("digits", "perceptron 512-256", "MLPClassifier", _mlp(512, 256), trait="running"),
    Recipe("digits", HOSTILE_NAME, "RandomForestClassifier", _forest(50, 6)),
    Recipe("breast cancer", "majority class", "DummyClassifier", trait="initial"),
    Recipe(
        "breast cancer", "tree, depth 2", "DecisionTreeClassifier", {"max_depth": 2}, "mlflow 2"
    ),
    Recipe("breast cancer", "tree, full", "DecisionTreeClassifier", trait="gone"),
    Recipe("breast cancer", "logistic, C=0.01", "LogisticRegression", {"C": 0.01}, "mlflow 2"),
    Recipe("breast cancer", "logistic, C=1", "LogisticRegression", {"C": 1.0}),
    Recipe("breast cancer", "boosting, 30", "GradientBoostingClassifier", {"n_estimators": 30}),
    Recipe("breast cancer", "boosting, 150", "GradientBoostingClassifier", {"n_estimators": 150}),
    Recipe(
        "breast cancer", "forest, 200 trees", "RandomForestClassifier", _forest(200), "mlflow 2"
    ),
    Recipe("breast cancer", "perceptron 256", "MLPClassifier", _mlp(256), trait="failed"),
    Recipe("wine", "majority class", "DummyClassifier", trait="initial"),
    Recipe("wine", "naive Bayes", "GaussianNB"),
    Recipe("wine", "1 neighbour", "KNeighborsClassifier", {"n_neighbors": 1}, "mlflow 2"),
    Recipe("wine", "25 neighbours", "KNeighborsClassifier", {"n_neighbors": 25}),
    Recipe("wine", "tree, depth 1", "DecisionTreeClassifier", {"max_depth": 1}, "mlflow 2"),
    Recipe("wine", "forest, 150 trees", "RandomForestClassifier", _forest(150)),
    Recipe("wine", "perceptron 128-64", "MLPClassifier", _mlp(128, 64), "raw", "checkpoints"),
)
