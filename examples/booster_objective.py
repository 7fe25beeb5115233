"""Gradient boosting by hand: Newton steps from fastloss' gradient and diagonal hessian.

Gradient and hessian are what a booster asks of its objective. Needs scikit-learn
(`pip install 'fastloss[demo]'`) for the trees and the data.
"""

import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from sklearn.tree import DecisionTreeRegressor

import fastloss as fl

TREES = 60
LEARNING_RATE = 0.2


def main() -> None:
    features, targets = load_breast_cancer(return_X_y=True)
    train, test, train_targets, test_targets = train_test_split(
        features, targets.astype(np.float64), test_size=0.25, random_state=0
    )
    scores, test_scores = np.zeros(len(train)), np.zeros(len(test))
    for number in range(1, TREES + 1):
        grad, hess = fl.binary_cross_entropy_with_logits.grad_and_hess(
            scores, train_targets, reduction="sum"
        )
        # A leaf's weighted mean of -grad/hess is its Newton step, -sum(grad) / sum(hess).
        tree = DecisionTreeRegressor(max_depth=3, random_state=0)
        tree.fit(train, -grad / hess, sample_weight=hess)
        scores += LEARNING_RATE * tree.predict(train)
        test_scores += LEARNING_RATE * tree.predict(test)
        if number in (1, 5, 20, TREES):
            loss = fl.binary_cross_entropy_with_logits(test_scores, test_targets)
            accuracy = ((test_scores > 0) == (test_targets > 0)).mean()
            print(f"{number:3} trees: test loss {loss:.4f}, test accuracy {accuracy:.1%}")


if __name__ == "__main__":
    main()
