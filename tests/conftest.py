"""Settings that must be in place before NumPy or matplotlib is imported, and the fixtures that many tests share."""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")

import numpy as np  # noqa: E402
import pytest  # noqa: E402


@pytest.fixture
def rng():
    """A generator with the same stream in every test, whatever the order in which tests run."""
    return np.random.default_rng(20190729)
