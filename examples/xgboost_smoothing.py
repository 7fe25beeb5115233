"""Label smoothing in a booster: XGBoost on handwritten digits, with fastloss as its objective.

XGBoost's softmax has no label smoothing; fastloss' cross-entropy does, and without it grows the
same trees. Smoothing limits how sure a model becomes, of its mistakes as well; the last table
shows what that costs. Needs scikit-learn and XGBoost: `pip install 'fastloss[boosting,demo]'`.
"""

import numpy as np
import xgboost as xgb
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import fastloss as fl

ROUNDS, CLASSES = 40, 10
PARAMETERS = {
    "objective": "multi:softprob", "num_class": CLASSES, "base_score": 0.5, "max_depth": 4,
    "eta": 0.3, "eval_metric": "mlogloss",
}  # fmt: skip


def data() -> tuple[xgb.DMatrix, xgb.DMatrix, np.ndarray]:
    features, targets = load_digits(return_X_y=True)
    train, test, train_targets, test_targets = train_test_split(
        features, targets, test_size=0.4, random_state=0, stratify=targets
    )
    return (
        xgb.DMatrix(train, label=train_targets),
        xgb.DMatrix(test, label=test_targets),
        test_targets,
    )


class Progress(xgb.callback.TrainingCallback):
    """One line that counts the rounds."""

    def after_iteration(self, model: xgb.Booster, epoch: int, evals_log: dict) -> bool:
        """Show the loss after a round."""
        loss = evals_log["test"]["mlogloss"][-1]
        print(f"\r  round {epoch + 1:3} of {ROUNDS}, test loss {loss:.3f}", end="", flush=True)
        return False

    def after_training(self, model: xgb.Booster) -> xgb.Booster:
        """End the line."""
        print()
        return model


def main() -> None:
    train, test, targets = data()
    softmax = fl.objectives.XGBoostObjective
    contestants = {
        "XGBoost's softmax": None,
        "fastloss, the same": softmax(fl.cross_entropy),
        "fastloss, smoothing 0.01": softmax(fl.cross_entropy, label_smoothing=0.01),
        "fastloss, smoothing 0.1": softmax(fl.cross_entropy, label_smoothing=0.1),
    }
    scores = {}
    for name, objective in contestants.items():
        print(name)
        model = xgb.train(
            PARAMETERS, train, ROUNDS, evals=[(test, "test")], obj=objective,
            verbose_eval=False, callbacks=[Progress()],
        )  # fmt: skip
        scores[name] = model.predict(test, output_margin=True)

    print("\nOn digits held out")
    print(
        f"  {'objective':26} {'accuracy':>8} {'mean loss':>10} {'worst':>7} {'sure if wrong':>14}"
    )
    for name, margins in scores.items():
        losses = fl.cross_entropy(margins, targets, reduction="none")
        guesses = margins.argmax(axis=1)
        confidence = np.exp(-fl.cross_entropy(margins, guesses, reduction="none"))
        wrong = guesses != targets
        print(
            f"  {name:26} {1 - wrong.mean():8.1%} {losses.mean():10.3f} {losses.max():7.2f} "
            f"{confidence[wrong].mean():14.0%}"
        )


if __name__ == "__main__":
    main()
