"""Losses as objectives of gradient boosting: XGBoost, LightGBM, CatBoost.

None of the three is imported here: an objective is an object that the library calls.

>>> import fastloss as fl
>>> objective = fl.objectives.XGBoostObjective(fl.cross_entropy, label_smoothing=0.1)
>>> # xgboost.train({"num_class": 3, "base_score": 0}, data, obj=objective)
>>> # xgboost.XGBClassifier(objective=objective)
"""

from __future__ import annotations

from fastloss.objectives.catboost import CatBoostObjective
from fastloss.objectives.initial import initial_score
from fastloss.objectives.lightgbm import LightGBMObjective
from fastloss.objectives.xgboost import XGBoostObjective

__all__ = ["CatBoostObjective", "LightGBMObjective", "XGBoostObjective", "initial_score"]
