"""What real libraries write to MLflow: each scenario trains in an experiment of its own.

Run in a process of its own, since autologging patches libraries for good:
``python real_clients.py ROOT`` with MLflow's and Azure's settings in the environment. Prints a JSON
object, by scenario what was made or, under ``error``, how it failed.
"""

from __future__ import annotations

import json
import sys
import traceback
import uuid

import mlflow
import mlflow.lightgbm
import mlflow.sklearn
import mlflow.xgboost
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.tree import DecisionTreeClassifier

FEATURES, LABELS = load_breast_cancer(return_X_y=True, as_frame=True)
FEATURES = FEATURES.iloc[:, :5]
PLUGIN = "real"


def tree(depth: int) -> DecisionTreeClassifier:
    return DecisionTreeClassifier(max_depth=depth, random_state=0).fit(FEATURES, LABELS)


def log_tree(depth: int, name: str = "model", **options):
    return mlflow.sklearn.log_model(
        tree(depth),
        name=name,
        pip_requirements=[],
        serialization_format="cloudpickle",  # skops does not trust its trees
        **options,
    )


def grid_search():
    """Two searches with autologging; the second one finds less."""
    mlflow.sklearn.autolog(log_datasets=False, max_tuning_runs=2)
    made = []
    for strengths in ([1.0, 0.1], [1e-9]):
        with mlflow.start_run() as run:
            estimator = LogisticRegression(max_iter=1000)
            GridSearchCV(estimator, {"C": strengths}, cv=2).fit(FEATURES, LABELS)
            made.append(run.info.run_id)
    mlflow.sklearn.autolog(disable=True)
    return made


def xgboost():
    """Two boosters with autologging; the second one learns less."""
    import xgboost as xgb

    mlflow.xgboost.autolog(log_datasets=False)
    data = xgb.DMatrix(FEATURES, label=LABELS)
    made = []
    for rounds in (6, 1):
        with mlflow.start_run() as run:
            xgb.train(
                {"objective": "binary:logistic", "nthread": 1},
                data,
                num_boost_round=rounds,
                evals=[(data, "valid")],
                verbose_eval=False,
            )
            made.append(run.info.run_id)
    mlflow.xgboost.autolog(disable=True)
    return made


def lightgbm():
    """Two boosters with autologging; the second one learns less."""
    import lightgbm as lgb

    mlflow.lightgbm.autolog(log_datasets=False)
    made = []
    for rounds in (6, 1):
        data = lgb.Dataset(FEATURES, label=LABELS)
        with mlflow.start_run() as run:
            lgb.train(
                {"objective": "binary", "verbose": -1, "num_threads": 1},
                data,
                num_boost_round=rounds,
                valid_sets=[data],
                valid_names=["valid"],
            )
            made.append(run.info.run_id)
    mlflow.lightgbm.autolog(disable=True)
    return made


def optuna_study():
    """A study as a parent run, its trials as nested runs, a model each."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    trials = {}

    def objective(trial):
        depth = trial.suggest_int("depth", 1, 3)
        with mlflow.start_run(nested=True) as run:
            score = tree(depth).score(FEATURES, LABELS)
            log_tree(depth)
            mlflow.log_metric("score", score)
            trials[depth] = run.info.run_id
        return score

    with mlflow.start_run() as parent:
        sampler = optuna.samplers.GridSampler({"depth": [1, 2, 3]}, seed=0)
        optuna.create_study(direction="maximize", sampler=sampler).optimize(objective, n_trials=3)
    return {"parent": parent.info.run_id, "trials": [trials[depth] for depth in (1, 2, 3)]}


def evaluate():
    """Two models whose quality only evaluations in other runs tell."""
    made = []
    for depth in (4, 1):
        with mlflow.start_run() as run:
            info = log_tree(depth)
        with mlflow.start_run() as evaluation:
            mlflow.models.evaluate(
                f"models:/{info.model_id}",
                FEATURES.assign(label=LABELS),
                targets="label",
                model_type="classifier",
                evaluator_config={"log_explainer": False, "log_model_explainability": False},
            )
        made.append([run.info.run_id, info.model_id, evaluation.info.run_id])
    return made


def checkpoints():
    """Three checkpoints of one run, the middle one the best; then a run that ends better."""
    made = []
    with mlflow.start_run() as run:
        for step, value in enumerate((0.7, 0.95, 0.6)):
            info = log_tree(1 + step, name=f"checkpoint-{step}", step=step)
            mlflow.log_metric("accuracy", value, step=step, model_id=info.model_id)
            made.append(info.model_id)
    with mlflow.start_run() as later:
        info = log_tree(2)
        mlflow.log_metric("accuracy", 0.8)
    return {
        "run": run.info.run_id,
        "models": made,
        "later": [later.info.run_id, info.model_id],
    }


def without_a_run():
    """Two models that no run made."""
    made = []
    for depth in (1, 2):
        made.append(log_tree(depth, name="loose").model_id)
        assert mlflow.active_run() is None
    return made


def registry():
    """A model that is registered, has an alias and was copied; one that a run registers by URI."""
    client = mlflow.MlflowClient()
    names = [f"{name}-{uuid.uuid4().hex[:8]}" for name in ("first", "copy", "by-run")]
    with mlflow.start_run() as run:
        info = log_tree(1)
        model = LogisticRegression(max_iter=5)
        other = mlflow.sklearn.log_model(
            model.fit(FEATURES, LABELS), name="other", pip_requirements=[]
        )
    version = mlflow.register_model(f"models:/{info.model_id}", names[0])
    client.set_registered_model_alias(names[0], "champion", version.version)
    client.copy_model_version(f"models:/{names[0]}/{version.version}", names[1])
    with mlflow.start_run() as second:
        by_run = log_tree(2)
    mlflow.register_model(f"runs:/{second.info.run_id}/model", names[2])
    return {
        "run": run.info.run_id,
        "models": [info.model_id, other.model_id],
        "second": [second.info.run_id, by_run.model_id],
        "names": names,
    }


SCENARIOS = (
    *(grid_search, xgboost, lightgbm, optuna_study),
    *(evaluate, checkpoints, without_a_run, registry),
)


def without_guessing(*_args, fallback=(), **_options):
    """The requirements as they would be if guessing failed: it loads every model once more."""
    return list(fallback or ())


def main(root: str) -> None:
    mlflow.models.infer_pip_requirements = without_guessing
    made = {}
    for scenario in SCENARIOS:
        name = scenario.__name__
        location = f"{root}/{name}"
        experiment_id = mlflow.create_experiment(f"{PLUGIN} / {name}", artifact_location=location)
        mlflow.set_experiment(experiment_id=experiment_id)
        try:
            made[name] = {"made": scenario()}
        except Exception:  # noqa: BLE001 - the others shall be tested all the same
            made[name] = {"error": traceback.format_exc()}
            while mlflow.active_run() is not None:
                mlflow.end_run("FAILED")
    sys.stdout.write(json.dumps(made) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
