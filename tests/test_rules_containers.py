"""Tuples, lists and dicts inside a function, and the vector-space operations of autograd."""

import autograd
import autograd.numpy as anp
import numpy as np
import pytest
from autograd.builtins import dict as adict
from autograd.builtins import isinstance as aisinstance
from autograd.builtins import list as alist
from autograd.builtins import tuple as atuple
from autograd.misc import flatten
from jet_checks import check_all, random_series

import vittles_ng as vn

ORDER = 5
V = np.random.default_rng(4).standard_normal(4)


def rows(seed=1):
    (series,) = random_series(V, ORDER, seed=seed)
    return series


def product(x):
    return x[0] * x[1] * x[2]


def from_tuple(x):
    t = atuple((x[0], x[1], x[2]))
    return t[0] * t[-2] * t[2]


def from_slice(x):
    t = atuple((x[3], x[0], x[1], x[2]))[1:]
    return t[0] * t[1] * t[2]


def from_list(x):
    s = alist([x[0], x[1]]) + [x[2]]
    return s[0] * s[1] * s[-1]


def from_left(x):
    s = [x[0]] + alist([x[1], x[2]])
    return s[0] * s[1] * s[2]


def from_dict(x):
    d = adict({"a": x[0], "b": adict({"c": x[1:3]})})
    return d["a"] * d["b"]["c"][0] * d["b"]["c"][1]


def from_dict_items(x):
    d = adict({"a": x[0], "b": x[1], "c": x[2]})
    total = 1.0
    for _, value in d.items():
        total = total * value
    return total


def from_constants(x):
    t = atuple((2.0, x[0], np.ones(3)))
    return t[1] * t[0] * anp.sum(t[2]) / 6.0 * x[1] * x[2]


def through_a_function(x):
    def inner(pair):
        a, b = pair
        return a * b

    return inner(atuple((inner((x[0], x[1])), x[2])))


CASES = {
    "tuple": from_tuple,
    "slice of a tuple": from_slice,
    "list, extended": from_list,
    "list, extended on the left": from_left,
    "nested dict": from_dict,
    "items of a dict": from_dict_items,
    "constants in a tuple": from_constants,
    "passed to a function": through_a_function,
}


@pytest.mark.parametrize("name", CASES)
def test_containers_inside(name):
    fun = CASES[name]
    assert np.allclose(vn.jet(fun, rows()), vn.jet(product, rows()), rtol=1e-13)
    assert np.allclose(vn.jet(autograd.grad(fun), rows()), vn.jet(autograd.grad(product), rows()), rtol=1e-12)
    check_all(fun, V)


def test_product_is_itself_right():
    a, b, c = (rows()[:, i] for i in range(3))
    triple = np.convolve(np.convolve(a, b), c)[: ORDER + 1]
    assert np.allclose(vn.jet(product, rows()), triple, rtol=1e-13)


def test_gradients_in_several_arguments():
    """grad over a tuple of argnums returns a container of cotangents."""
    f = lambda a, b: anp.sum(a**2 * b)  # noqa: E731
    both = lambda x: autograd.grad(f, argnum=(0, 1))(x[:2], x[2:])  # noqa: E731
    fun = lambda x: anp.sum(both(x)[0] * both(x)[1])  # noqa: E731  (2 a b) a^2
    closed = lambda x: anp.sum(2.0 * x[:2] ** 3 * x[2:])  # noqa: E731
    assert np.allclose(vn.jet(fun, rows()), vn.jet(closed, rows()), rtol=1e-12)
    check_all(fun, V)


def test_gradient_of_a_function_of_a_dict():
    f = lambda d: d["a"] ** 3 * anp.sum(d["b"])  # noqa: E731

    def fun(x):
        g = autograd.grad(f)({"a": x[0], "b": x[1:]})
        return g["a"] * anp.sum(g["b"])

    closed = lambda x: 3.0 * x[0] ** 2 * anp.sum(x[1:]) * 3.0 * x[0] ** 3  # noqa: E731
    assert np.allclose(vn.jet(fun, rows()), vn.jet(closed, rows()), rtol=1e-12)


def test_gradient_of_a_function_of_a_list_of_tuples():
    f = lambda s: s[0][0] * s[0][1] ** 2 + anp.sum(s[1] ** 3)  # noqa: E731

    def fun(x):
        g = autograd.grad(f)([(x[0], x[1]), x[2:]])
        return g[0][0] + g[0][1] + anp.sum(g[1])

    closed = lambda x: x[1] ** 2 + 2.0 * x[0] * x[1] + 3.0 * anp.sum(x[2:] ** 2)  # noqa: E731
    assert np.allclose(vn.jet(fun, rows()), vn.jet(closed, rows()), rtol=1e-12)


def test_flattened_containers():
    """autograd.misc.flatten and its inverse, as at the boundary of structured parameters."""
    flat, unflatten = flatten({"scale": 1.5, "location": np.zeros((1, 3))})
    f = lambda x: unflatten(x)["scale"] ** 2 * anp.sum(unflatten(x)["location"] ** 3)  # noqa: E731
    scale = int(np.flatnonzero(flat)[0])
    others = [i for i in range(4) if i != scale]
    closed = lambda x: x[scale] ** 2 * anp.sum(x[np.array(others)] ** 3)  # noqa: E731
    assert np.allclose(vn.jet(f, rows()), vn.jet(closed, rows()), rtol=1e-12)
    assert np.allclose(vn.jet(autograd.grad(f), rows()), vn.jet(autograd.grad(closed), rows()), rtol=1e-12)


def test_a_flattened_gradient():
    """flatten of traced containers inside the function."""

    def fun(x):
        flat, _ = flatten((x[0] ** 2, [x[1:3], x[3]]))
        return anp.sum(flat**2)

    closed = lambda x: x[0] ** 4 + anp.sum(x[1:] ** 2)  # noqa: E731
    assert np.allclose(vn.jet(fun, rows()), vn.jet(closed, rows()), rtol=1e-12)
    assert np.allclose(vn.jet(autograd.grad(fun), rows()), vn.jet(autograd.grad(closed), rows()), rtol=1e-12)


def test_several_results():
    """A tuple or list of results is a tuple of series; one that is constant has zeros."""
    results = vn.jet(lambda x: (x[0] * x[1], anp.ones(2), x), rows())
    assert isinstance(results, tuple) and [x.shape for x in results] == [(6,), (6, 2), (6, 4)]
    assert np.allclose(results[0], np.convolve(rows()[:, 0], rows()[:, 1])[: ORDER + 1])
    assert np.array_equal(results[1], np.r_[np.ones((1, 2)), np.zeros((ORDER, 2))])
    assert np.array_equal(results[2], rows())
    boxed = vn.jet(lambda x: atuple((x[0] * x[1], x)), rows())
    assert np.array_equal(boxed[0], results[0]) and np.array_equal(boxed[1], rows())


def test_isinstance_sees_through_the_trace():
    fun = lambda x: x[0] if aisinstance(atuple((x,)), tuple) else 0.0 * x[0]  # noqa: E731
    assert np.array_equal(vn.jet(fun, rows()), rows()[:, 0])


def test_second_derivatives_by_vector_space_operations():
    """Hessian-vector products, jacobians and hessians use inner products, scalings and sums of vector spaces."""
    f = lambda x: anp.sum(anp.exp(x)) * x[0]  # noqa: E731
    v = np.arange(1.0, 5.0)

    def closed(x):
        e = anp.exp(x)
        first = np.array([1.0, 0.0, 0.0, 0.0])
        return e * v * x[0] + first * anp.sum(e * v) + e * v[0]

    by_product = lambda x: autograd.hessian_vector_product(f)(x, v)  # noqa: E731
    by_matrix = lambda x: anp.dot(autograd.hessian(f)(x), v)  # noqa: E731
    expected = vn.jet(closed, rows())
    assert np.allclose(vn.jet(by_product, rows()), expected, rtol=1e-12)
    assert np.allclose(vn.jet(by_matrix, rows()), expected, rtol=1e-12)


def test_forward_mode_inside():
    jvp = lambda x: autograd.make_jvp(lambda u: anp.sin(u) * u[0])(x)(np.ones(4))[1]  # noqa: E731
    closed = lambda x: anp.cos(x) * x[0] + anp.sin(x)  # noqa: E731
    assert np.allclose(vn.jet(jvp, rows()), vn.jet(closed, rows()), rtol=1e-12)
