"""Solvers: ``H x = rhs`` with ``H`` factored once.

Each is a small object with ``solve(rhs)`` and ``solve_transpose(rhs)`` for ``rhs`` of shape ``(n,)`` or ``(n,
n_rhs)``, ``n``, ``shape``, ``rcond`` and ``description``. :func:`choose_solver` picks one from the matrix,
:func:`as_solver` takes whatever a user has.
"""

from .arrow import Arrow, arrow
from .base import Solver
from .callable_solver import CallableSolver, check_solves
from .cholmod import Cholmod
from .choose import SOLVERS, as_solver, choose_solver
from .conjugate_gradient import CGOptions, ConjugateGradient, cg, make_cg
from .dense_cholesky import DenseCholesky
from .dense_lu import DenseLU
from .schur import Schur
from .superlu import SuperLU

__all__ = [
    "SOLVERS",
    "Arrow",
    "CGOptions",
    "CallableSolver",
    "Cholmod",
    "ConjugateGradient",
    "DenseCholesky",
    "DenseLU",
    "Schur",
    "Solver",
    "SuperLU",
    "arrow",
    "as_solver",
    "cg",
    "check_solves",
    "choose_solver",
    "make_cg",
]
