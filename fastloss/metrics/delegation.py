"""How the metrics hand over to scikit-learn what they do not compute themselves."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

Metric = TypeVar("Metric", bound=Callable[..., Any])


class NotPlain(Exception):
    """Raised where a call is for scikit-learn to answer: a decision, not an error."""


def or_sklearn(metric: Metric) -> Metric:
    """Let scikit-learn answer where `metric` raises `NotPlain`, with the arguments as given.

    So the result of whatever is unusual is scikit-learn's, its warnings and errors included.
    """

    @functools.wraps(metric)
    def with_fallback(*args: Any, **kwargs: Any) -> Any:
        try:
            return metric(*args, **kwargs)
        except NotPlain:
            pass
        return _theirs(metric.__name__)(*args, **kwargs)

    return cast(Metric, with_fallback)


def require(plain: Any) -> None:
    """Leave the call to scikit-learn unless `plain`."""
    if not plain:
        raise NotPlain


def _theirs(name: str) -> Callable[..., Any]:
    try:
        from sklearn import metrics
    except ImportError:
        raise ImportError(
            f"fastloss.metrics.{name} leaves what is not a NumPy array of numbers in the usual "
            "form, and every error, to scikit-learn: pip install scikit-learn"
        ) from None
    theirs: Callable[..., Any] = getattr(metrics, name)
    return theirs
