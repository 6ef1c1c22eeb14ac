"""What every test runs under: no hub, one thread (sums in one order, and no fight over the cores), a GPU if asked."""

import os

# Before the first import of torch or transformers, which read them once. Processes that a test starts inherit them.
os.environ.update(HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false", OMP_NUM_THREADS="1")
# A GPU that is there would be taken by half of what a test compares.
if os.environ.get("TEST_DEVICE", "cpu") == "cpu":
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
# Two processes that share a pipe then write whole lines: unbuffered, they write into each other's.
os.environ.pop("PYTHONUNBUFFERED", None)

import hypothesis
import pytest
import torch

pytest_plugins = ["tests.browser"]
torch.set_num_threads(1)

# No deadline: a busy machine is no failure. The same examples every time: what fails in one run fails in the next.
hypothesis.settings.register_profile("concise_rl", deadline=None, derandomize=True)
hypothesis.settings.load_profile("concise_rl")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the slow tests last, of each file where files are run by several processes; the order stays otherwise."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is not None)
