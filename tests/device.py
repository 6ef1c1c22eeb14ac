"""Where the tests compute: on the CPU, or with `TEST_DEVICE=cuda` in the environment on a GPU. See CONTRIBUTING.md."""

import os

DEVICE = os.environ.get("TEST_DEVICE", "cpu")
"""`cpu` or `cuda`."""
ON_CPU = DEVICE == "cpu"
"""For `use_cpu` of a training."""
