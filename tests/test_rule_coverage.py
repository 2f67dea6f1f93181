"""Every primitive that autograd can differentiate in reverse has a Taylor rule, or is refused by name."""

import importlib
import pkgutil
import sys

import autograd.numpy as np
import autograd.scipy
import pytest
from autograd.core import VSpace, primitive_vjps, sparse_add
from autograd.scipy import integrate
from autograd.util import func

import vittles_ng as vn
from vittles_ng.errors import MissingRuleError
from vittles_ng.taylor.rules import lookup
from vittles_ng.taylor.tape import record

# primitive -> why it has no rule
REFUSED = {
    np.nan_to_num: "hides NaN and infinity, where no series exists",
    np.gradient: "np.diff and slices say the same",
    np.linalg.eig: "complex in general, and NumPy's choice of phase is not smooth",
    integrate.odeint: "adaptive steps have no series",
}
# sums of the vector spaces: not in the table, because the tape itself turns them into one n-ary sum
SUMS = {sparse_add, func(VSpace.add), func(VSpace.mut_add)}


def _differentiable():
    """Every primitive with a VJP that a module of autograd holds, or a class of one."""
    for name in ("autograd.numpy", "autograd.numpy.linalg", "autograd.numpy.fft"):
        importlib.import_module(name)
    for module in pkgutil.walk_packages(autograd.scipy.__path__, "autograd.scipy."):
        importlib.import_module(module.name)
    modules = [m for name, m in sys.modules.items() if name.split(".")[0] == "autograd" and m is not None]
    held = [value for module in modules for value in vars(module).values()]
    held += [value for cls in held if isinstance(cls, type) for value in vars(cls).values()]
    named = {id(value): value for value in held if getattr(value, "_is_autograd_primitive", False)}
    return sorted((p for p in named.values() if p in primitive_vjps), key=_label)


def _label(primitive):
    return f"{getattr(primitive.fun, '__module__', '')}.{primitive.__name__}"


PRIMITIVES = _differentiable()


def test_the_list_is_complete():
    # autograd 1.9.1 has 216; another version, or another SciPy under it, a few more or fewer
    assert 200 <= len(PRIMITIVES) <= len(primitive_vjps)
    names = {p.__name__ for p in PRIMITIVES}
    assert names >= {
        "add",
        "sparse_add",
        "untake",
        "where",
        "eigh",
        "logsumexp",
        "convolve",
        "rfftn",
        "solve_triangular",
    }
    assert set(REFUSED) | SUMS <= set(PRIMITIVES)


@pytest.mark.parametrize("primitive", [p for p in PRIMITIVES if p not in SUMS], ids=_label)
def test_has_a_rule_or_a_named_refusal(primitive):
    record(lambda x: x, 0.0)  # loads the tables
    factory = lookup(primitive)
    if primitive in REFUSED:
        with pytest.raises(MissingRuleError, match=primitive.__name__):
            factory(None)
    else:
        assert not getattr(factory, "refused", False)


@pytest.mark.parametrize("fun, name", [
    (np.nan_to_num, "nan_to_num"),
    (np.gradient, "gradient"),
    (lambda x: np.real(np.linalg.eig(np.diag(x))[0]), "eig"),
    (lambda x: integrate.odeint(lambda y, t: -y, x, np.array([0.0, 1.0])), "odeint"),
    (lambda x: np.sort(np.reshape(x, (2, 2)), axis=0), "sort"),
    (lambda x: np.partition(np.reshape(x, (2, 2)), 1), "partition"),
    (lambda x: x.astype(int) * x, "astype"),
])  # fmt: skip
@pytest.mark.parametrize("in_gradient", [False, True])
def test_refusal_names_the_primitive(fun, name, in_gradient):
    called = autograd.grad(lambda x: np.sum(fun(x))) if in_gradient else fun
    with pytest.raises(MissingRuleError, match=name):
        vn.jet(called, np.array([[1.0, 4.0, 2.0, 3.0], [1.0, 1.0, 0.0, 2.0]]))


def test_sums_of_vector_spaces_are_the_tapes_own():
    """``sparse_add``, ``VSpace.add`` and ``mut_add`` of a gradient that indexes one array many times."""
    fun = autograd.grad(lambda x: x[0] ** 2 * x[1] + x[[0, 0, 2]] @ x[:3] + x[1])
    # closed form: (2 x0 x1 + 2 x0 + x1, x0^2 + x0 + 1, 2 x2)
    x, dx = np.array([1.0, 2.0, 3.0]), np.array([1.0, -1.0, 2.0])
    got = vn.jet(fun, np.stack([x, dx, 0 * x]))
    expected = np.array([[8.0, 3.0, 6.0], [3.0 + 0.0 + 0.0, 3.0, 4.0], [-2.0, 1.0, 0.0]])
    expected[1, 0] = 2 * (dx[0] * x[1] + x[0] * dx[1]) + 2 * dx[0] + dx[1]
    expected[1, 1] = 2 * x[0] * dx[0] + dx[0]
    expected[2] = [2 * dx[0] * dx[1], dx[0] ** 2, 0.0]
    assert np.allclose(got, expected, rtol=1e-14)
