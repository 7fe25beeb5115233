"""Whatever is unusual or wrong: scikit-learn's own result, warning or error."""

import numpy as np
import pytest

from tests.metrics.peer import check_same, ours

Y = np.array([0, 1, 1, 0, 1])
P = np.array([0.1, 0.8, 0.6, 0.3, 0.9])
M = np.array([0, 1, 2, 1, 0])
GAP = np.array([0, 2, 2, 0, 0])  # class 1 does not occur
Q = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.2, 0.2, 0.6], [0.3, 0.4, 0.3], [0.5, 0.3, 0.2]])
D = np.array([-2.0, 0.5, 1.5, -0.5, 3.0])
T = np.array([3.0, -0.5, 2.0, 7.0, 4.0])
NAN, INF = np.where(P == 0.6, np.nan, P), np.where(P == 0.6, np.inf, P)
ZERO = np.array([1.0, 1.0, 0.0, 1.0, 1.0])

LOG_LOSS = [
    (["spam", "ham", "ham", "spam"], [[0.1, 0.9], [0.9, 0.1], [0.8, 0.2], [0.35, 0.65]], {}),
    (Y.tolist(), P.tolist(), {}),
    (Y, P > 0.5, {}),
    (Y, (P > 0.5).astype(int), {}),
    (Y, P.astype(np.float16), {}),
    (Y[:, None], P, {}),
    (Y, P[:, None], {}),
    (np.eye(3)[M], Q, {}),
    (np.eye(3, dtype=int)[M], Q, {}),
    (Y.astype("O"), P, {}),
    (Y, P * 2, {}),
    (Y, P - 0.5, {}),
    (Y, NAN, {}),
    (Y, INF, {}),
    (Y, NAN, {"sample_weight": ZERO}),
    (np.ones(5, int), P, {}),
    (np.ones(5, int), P, {"labels": [1]}),
    (Y, P, {"labels": [1, 0]}),
    (Y, P, {"labels": [0, 2]}),
    (Y, P, {"labels": ["a", "b"]}),
    (Y + 0.5, P, {}),
    (M, P, {}),
    (M, Q * 1.1, {}),
    (M, Q[:, :2], {}),
    (M, Q, {"labels": [0, 1]}),
    (M, Q, {"labels": [2, 1, 0]}),
    (M, Q, {"labels": [0, 1, 2, 3]}),
    (M * 2, Q, {}),
    (GAP, Q, {}),
    (np.minimum(M, 1), Q, {}),
    (Y, Q[:, :1], {}),
    (Y[:4], P, {}),
    (Y, P, {"sample_weight": np.ones(4)}),
    (Y, P, {"sample_weight": np.zeros(5)}),
    (Y, P, {"sample_weight": -np.ones(5)}),
    (Y, P, {"sample_weight": NAN}),
    (Y, P, {"sample_weight": ZERO.tolist()}),
    (Y, P, {"sample_weight": np.ones((5, 1))}),
    (Y, P, {"normalize": "yes"}),
    (Y, P, {"normalize": 1}),
    (Y, P[:0], {}),
    (Y[:0], P[:0], {}),
    (Y, None, {}),
    (Y, 0.5, {}),
    (Y, P, {"y_pred": P}),
]

BRIER = [
    (["spam", "ham", "ham", "spam"], [0.1, 0.9, 0.8, 0.3], {"pos_label": "ham"}),
    (["spam", "ham", "ham", "spam"], [0.1, 0.9, 0.8, 0.3], {}),
    (Y.tolist(), P.tolist(), {}),
    (Y, P > 0.5, {}),
    (Y, P, {"pos_label": 7}),
    (Y, P, {"pos_label": True}),
    (Y, P, {"pos_label": "a"}),
    (Y, P, {"labels": [0, 1]}),
    (Y, P, {"scale_by_half": "never"}),
    (Y, P, {"scale_by_half": np.bool_(False)}),
    (Y, P * 2, {}),
    (Y, -P, {}),
    (Y, NAN, {}),
    (np.where(Y, np.nan, 1.0), P, {}),
    (Y + 0.5, P, {}),
    (M, P, {}),
    (M, Q * 1.1, {}),
    (M, Q, {"pos_label": 1}),
    (M, Q, {"labels": [0, 1]}),
    (M, Q[:, :2], {}),
    (M * 3, Q, {}),
    (GAP, Q, {}),
    (Y, P, {"sample_weight": np.zeros(5)}),
    (Y[:3], P, {}),
]

HINGE = [
    (["a", "b", "b", "a", "b"], D, {}),
    (Y.tolist(), D.tolist(), {}),
    (Y, D.astype(int), {}),
    (np.ones(5, int), D, {}),
    (Y, D, {"labels": [0, 1]}),
    (M, D, {}),
    (M, Q, {"labels": [0, 1, 2, 3]}),
    (M, Q, {"labels": [2, 1, 0]}),
    (np.minimum(M, 1), Q, {"labels": [0, 1, 2]}),
    (np.minimum(M, 1), Q, {}),
    (M * 2, Q, {}),
    (GAP, Q, {}),
    (M, Q, {"labels": [1, 2, 3]}),
    (Y, D[:, None], {}),
    (Y, np.stack([D, D], 1), {}),
    (Y, np.where(D > 1, np.inf, D), {}),
    (Y, np.where(D > 1, np.nan, D), {}),
    (Y, np.where(D > 1, np.nan, D), {"sample_weight": ZERO}),
    (M, np.where(Q > 0.7, -np.inf, Q), {}),
    (Y, D, {"sample_weight": np.zeros(5)}),
    (Y, D[:4], {}),
    (Y, np.array(["a"] * 5), {}),
]

REGRESSION = [
    (T.tolist(), D.tolist(), {}),
    (T, D.astype(np.float16), {}),
    (T.astype(np.float16), D.astype(np.float16), {}),
    (T, np.where(D > 1, np.nan, D), {}),
    (T, np.where(D > 1, np.nan, D), {"sample_weight": ZERO[[0, 1, 3, 4, 2]]}),
    (np.where(T > 1, np.inf, T), D, {"sample_weight": np.zeros(5)}),
    (T, D, {"sample_weight": np.array([1.0, 1.0, 1.0, 1.0, -1.0])}),
    (T, D, {"sample_weight": np.array([1.0, -1.0, 0.0, 1.0, -1.0])}),
    (T, D, {"sample_weight": 2.0}),
    (T, D, {"sample_weight": np.ones(3)}),
    (T, D[:4], {}),
    (T, Q, {}),
    (T[:, None], D, {}),
    (Q, Q[::-1].copy(), {"multioutput": [0.5, 0.5, 0.0]}),
    (Q, Q[::-1].copy(), {"multioutput": [0.5, 0.5]}),
    (Q, Q[::-1].copy(), {"multioutput": np.zeros(3)}),
    (Q, Q[::-1].copy(), {"multioutput": "variance_weighted"}),
    (Q, Q[::-1].copy(), {"multioutput": "some"}),
    (T, D, {"multioutput": np.array([1.0])}),
    (T > 1, D, {}),
    (T + 1j, D, {}),
    (T.astype("O"), D, {}),
    (np.array(["a"] * 5), D, {}),
    (T[:0], D[:0], {}),
    (np.float64(1.0), np.float64(1.0), {}),
    (T[None, None], D[None, None], {}),
]

PINBALL = [(T, D, {"alpha": alpha}) for alpha in (0, 1, 0.0, 1.0, -0.1, 1.5, "0.5", None, np.nan)]

CASES = {
    "log_loss": LOG_LOSS,
    "brier_score_loss": BRIER,
    "hinge_loss": HINGE,
    "mean_squared_error": REGRESSION,
    "mean_pinball_loss": REGRESSION + PINBALL,
}


@pytest.mark.parametrize(
    "name, case", [(name, case) for name, cases in CASES.items() for case in range(len(cases))]
)
def test_as_scikit_learn(name, case):
    y, p, options = CASES[name][case]
    check_same(name, y, p, **options)


def test_overflow_is_reported_as_by_scikit_learn():
    check_same("mean_squared_error", np.full(3, 1e200), np.zeros(3))
    check_same("hinge_loss", Y[:2], np.array([9e307, 9.5e307]))
    many = np.array([[9e307, -9e307, 0.0], [-9e307, 9e307, 0.0], [9e307, 0.0, -9e307]])
    check_same("hinge_loss", np.arange(3), many)


@pytest.mark.parametrize("weights", [[np.inf, -np.inf], [1.5e308, 1.5e308]])
def test_weights_that_overflow_are_reported_as_by_scikit_learn(weights):
    w = np.array(weights)
    check_same("mean_squared_error", np.array([1.0, 2.0]), np.array([1.0, 3.0]), sample_weight=w)
    check_same("log_loss", Y[:2], P[:2], sample_weight=w, normalize=False)
    check_same("hinge_loss", Y[:2], np.array([np.inf, -np.inf]), sample_weight=np.ones(2))


def test_unknown_and_missing_arguments():
    for name, args, options in (
        ("log_loss", (Y, P), {"weight": 1}),
        ("brier_score_loss", (Y,), {}),
        ("mean_squared_error", (), {}),
        ("hinge_loss", (Y, D, [0, 1]), {}),
    ):
        with pytest.raises(TypeError):
            ours(name)(*args, **options)
