"""Rows times a Jacobian, by reverse passes and by the tape, against Jacobians written out."""

import autograd.numpy as anp
import numpy as np
import pytest
from autograd.extend import defvjp, primitive
from problems import normal

import vittles_ng as vn
from vittles_ng import adjoint
from vittles_ng.taylor.recorded import Recorded

A = normal(4, 9, start=0.3)
BASE = (normal(9, start=0.1), normal(2, start=0.6))


def fun(x, h):
    return anp.exp(anp.dot(A, x) * h[0]) + h[1] ** 2


def jacobian(argnum):
    x, h = BASE
    slope = np.exp(A @ x * h[0])[:, None]
    return slope * A * h[0] if argnum == 0 else np.hstack([slope * (A @ x)[:, None], np.full((4, 1), 2 * h[1])])


@pytest.mark.parametrize("n_rows", [0, 1, 3, 12])
@pytest.mark.parametrize("argnum", [0, 1])
def test_against_the_jacobian_written_out(argnum, n_rows):
    rows = normal(n_rows, 4, start=0.8)
    got = adjoint.pulled_back(fun, Recorded(fun, BASE), BASE, argnum, rows)
    np.testing.assert_allclose(got, rows @ jacobian(argnum), rtol=1e-12, atol=1e-14)


def test_few_rows_are_pulled_back_many_pushed_forward():
    runs = []

    def counted(x, h):
        runs.append(1)
        return fun(x, h)

    recorded = Recorded(counted, BASE)
    for n_rows, expected in [(2, 2), (9, 2), (1, 3)]:
        adjoint.pulled_back(counted, recorded, BASE, 0, np.ones((n_rows, 4)))
        assert len(runs) == expected


def test_an_argument_that_does_not_matter():
    recorded = Recorded(lambda x, h: anp.sum(x) * anp.ones(4), BASE)
    assert not adjoint.pulled_back(fun, recorded, BASE, 1, np.ones((1, 4))).any()


def test_columns_in_blocks_are_the_columns():
    n = 1300  # more than two blocks
    base = (normal(n, start=0.2),)
    recorded = Recorded(lambda x: x**2, base)
    rows = np.vstack([np.eye(n), np.ones((1, n))])
    np.testing.assert_allclose(adjoint.pulled_back(None, recorded, base, 0, rows), rows * 2 * base[0], rtol=1e-14)


@primitive
def half(x):
    return 0.5 * x


defvjp(half, lambda ans, x: lambda g: g * 0.6)
vn.defjet(half, lambda k, y, x: 0.5 * x[k])


def test_a_derivative_rule_that_is_wrong_is_overruled():
    def wrong(x):
        return half(x) + x

    base = (np.ones(3),)
    rows = np.array([[1.0, 2.0, 3.0]])
    got = adjoint.pulled_back(wrong, Recorded(wrong, base), base, 0, rows)
    np.testing.assert_allclose(got, 1.5 * rows, rtol=1e-15)
