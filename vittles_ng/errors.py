"""Named errors: each message gives what happened, the number, and the remedy.

Every class derives from :class:`VittlesError` and from the built-in exception that NumPy, SciPy or autograd users would
catch for the same fault, so ``except ValueError`` and ``except numpy.linalg.LinAlgError`` go on working.
"""

import importlib

from numpy.linalg import LinAlgError

__all__ = [
    "VittlesError",
    "OperandError",
    "ShapeError",
    "NonFiniteError",
    "IndependentError",
    "NotASolutionError",
    "NotSymmetricError",
    "NotPositiveDefiniteError",
    "SingularError",
    "SolveFailed",
    "MissingRuleError",
    "MutationError",
    "NonSmoothError",
    "RepeatedEigenvalueError",
    "SizeError",
    "MismatchError",
    "PatternError",
    "SavedFileError",
    "PathError",
    "DataError",
    "MissingDependencyError",
    "UnsupportedModelError",
    "UnsupportedOnBlocksError",
    "WorkerError",
    "DivergenceError",
    "NotQuadraticError",
    "NotCommutingError",
    "optional_import",
]


class VittlesError(Exception):
    """Base class of all errors that the package raises on purpose."""


class OperandError(VittlesError, TypeError):
    """An operand is of a kind that the operation does not take."""


class ShapeError(VittlesError, ValueError):
    """An array has the wrong shape."""


class NonFiniteError(VittlesError, ValueError):
    """A value is NaN or infinite."""


class IndependentError(VittlesError, ValueError):
    """An output does not depend on an argument that it is expanded in."""


class NotASolutionError(VittlesError, ValueError):
    """The base point does not solve the estimating equation to tolerance."""


class NotSymmetricError(VittlesError, LinAlgError, ValueError):
    """A symmetric matrix was asked for and another one given."""


class NotPositiveDefiniteError(VittlesError, LinAlgError, ValueError):
    """A matrix that must be positive definite is not: a saddle, or a parameter that is not identified."""


class SingularError(VittlesError, LinAlgError, ValueError):
    """A matrix that must be inverted is singular to working precision."""


class SolveFailed(VittlesError, RuntimeError):
    """An iterative solve stopped before it reached its tolerance.

    Attributes
    ----------
    residual : float
        Relative residual norm ``|A x - b| / |b|`` that was reached.
    iterations : int
        Iterations used.
    """

    def __init__(self, residual, iterations, advice="use a preconditioner, more iterations, or a direct solver"):
        self.residual = float(residual)
        self.iterations = int(iterations)
        super().__init__(
            f"the solve stopped at relative residual {self.residual:.1e} after {self.iterations} iterations: {advice}."
        )
        self._advice = advice

    def __reduce__(self):  # from and to other processes
        return type(self), (self.residual, self.iterations, self._advice)


class MissingRuleError(VittlesError, NotImplementedError):
    """A primitive has no Taylor rule."""


class MutationError(VittlesError, ValueError):
    """The user's function writes into an array after computing with it."""


class NonSmoothError(VittlesError, ValueError):
    """The function is not differentiable at the base point."""


class RepeatedEigenvalueError(VittlesError, LinAlgError, ValueError):
    """Eigen- or singular vectors are not differentiable where values coincide."""


class SizeError(VittlesError, MemoryError):
    """A result would not fit in memory."""


class MismatchError(VittlesError, ValueError):
    """A derivative or a part of a function that was given contradicts the function itself."""


class PatternError(VittlesError, ValueError):
    """A sparsity pattern misses entries of the matrix."""


class SavedFileError(VittlesError, ValueError):
    """A saved file is truncated, of another version, or no saved expansion."""


class PathError(VittlesError, RuntimeError):
    """A path of solutions cannot be followed further: a fold, or a singular Jacobian."""


class DataError(VittlesError, ValueError):
    """A data file, a formula or a fit cannot be used."""


class MissingDependencyError(VittlesError, ImportError):
    """A module of an optional extra is not installed."""


class UnsupportedModelError(VittlesError, TypeError):
    """A fitted model is of a kind that no adapter knows, or that cannot be expanded in its weights."""


class UnsupportedOnBlocksError(VittlesError, NotImplementedError):
    """A method needs all rows at once, where the data are blocks."""


class WorkerError(VittlesError, RuntimeError):
    """A worker process ended, or something could not be sent to it or back."""


class DivergenceError(VittlesError, ArithmeticError):
    """The iterates of a method run away: its step size is too large for the curvature."""


class NotQuadraticError(VittlesError, ValueError):
    """An objective that must be quadratic in its input is not."""


class NotCommutingError(VittlesError, ValueError):
    """The Hessian does not commute with its derivative, so that polynomials of it say nothing of the derivative.

    Attributes
    ----------
    commutator_norm : float
        ``|A H - H A| / (|A| |H|)`` in Frobenius norms, A the derivative of the Hessian H: from 0, where they commute,
        to the square root of 2.
    """

    def __init__(self, message, commutator_norm):
        self.commutator_norm = float(commutator_norm)
        super().__init__(message)

    def __reduce__(self):  # from and to other processes
        return type(self), (str(self), self.commutator_norm)


def optional_import(name, extra="report"):
    """Import a module of an optional extra, or say in one line how to get it.

    Parameters
    ----------
    name : str
        The module.
    extra : str, default="report"
        The extra of this package that brings it.

    Raises
    ------
    MissingDependencyError
        The module is not installed.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        package = error.name.split(".")[0]
        raise MissingDependencyError(f"the {extra} needs {package}: pip install 'vittles-ng[{extra}]'") from error
