"""The metrics' tests."""

from tests.losses_to_come import losses_to_come  # noqa: F401  (delete with tests/losses_to_come.py)
