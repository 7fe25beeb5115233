"""Classes split over processes: 2 and 4 of them on this machine."""

import pytest

torch = pytest.importorskip("torch")

from tests.helpers import each, run_python  # noqa: E402


@each("world", [2, 4])
def test_agrees_with_the_unsplit_loss(world, tmp_path):
    run_python(
        f"""
        import torch.multiprocessing
        from tests.torch.vocab_worker import work

        if __name__ == "__main__":
            torch.multiprocessing.start_processes(
                work, ({world}, "file://{tmp_path}/rendezvous"), {world}, start_method="fork"
            )
        """
    )
