"""Branches at kinks: which recordings are made, and that a kink is refused only where the side matters."""

import autograd.numpy as anp
import numpy as np
import pytest
from autograd.extend import defvjp, primitive

import vittles_ng as vn
from vittles_ng.errors import NonSmoothError
from vittles_ng.taylor.branches import Branches, current
from vittles_ng.taylor.recorded import Recorded
from vittles_ng.taylor.tape import record

LINE = np.array([0.0, 1.0, 0.0, 0.0])


def sides(n_kinks):
    """The side each kink takes in every recording, (n_recordings, n_kinks)."""
    rows, n_patterns, pattern = [], 1, 0
    while pattern < n_patterns:
        with Branches(pattern) as branches:
            rows.append([branches.other("kink", np.array(float(i))) for i in range(n_kinks)])
        n_patterns = branches.n_patterns
        pattern += 1
    return np.array(rows, dtype=bool).reshape(len(rows), n_kinks)


@pytest.mark.parametrize("n_kinks", [0, 1, 2, 3, 23, 24, 25, 100])
def test_recordings_tell_all_kinks_apart(n_kinks):
    taken = sides(n_kinks)
    assert len(taken) == 1 + min(n_kinks, 24)
    assert not taken[0].any()
    # the first kinks are flipped one at a time, and every kink takes its other side somewhere
    np.testing.assert_array_equal(taken[1:, :24], np.eye(min(n_kinks, 24), dtype=bool))
    assert taken.any(axis=0).all()
    assert len({tuple(column) for column in taken.T}) == n_kinks


def test_later_kinks_are_flipped_in_half_of_the_recordings():
    share = np.mean(sides(3000)[1:, 24:], axis=0)
    assert 0.45 < np.mean(share) < 0.55
    assert 0.0 < np.min(share) and np.max(share) < 1.0


def test_the_same_kink_on_equal_values_is_one_choice():
    with Branches(1) as branches:
        x = np.array([0.0, 1.0, 2.0])
        first = branches.other("max of ties", x[::2])
        assert branches.other("max of ties", np.array([0.0, 2.0])) == first
        assert len(branches.kinks) == 1
        branches.other("abs at 0", np.array([0.0, 2.0]))
        branches.other("max of ties", np.array([[0.0, 2.0]]))
        branches.other("max of ties", np.array([0, 2]))
    assert branches.kinks == ["max of ties", "abs at 0", "max of ties", "max of ties"]


def test_current_is_the_innermost_recording():
    assert not current().other("kink", np.zeros(1))
    with Branches(1) as outer:
        assert current() is outer
        with Branches() as inner:
            assert current() is inner
        assert current() is outer
        with pytest.raises(KeyError), Branches(2):
            raise KeyError
        assert current() is outer
    assert current() is not outer


# A hinge max(x, 0) with a kink at 0, independent of the package's own rules.
@primitive
def hinge(x):
    return np.maximum(x, 0.0)


@primitive
def side(x):
    """1 where the hinge is taken to be on its right side."""
    if x == 0.0:
        return np.float64(current().other("hinge at 0", x))
    return np.float64(x > 0.0)


defvjp(hinge, lambda ans, x: lambda g: g * side(x))
defvjp(side, lambda ans, x: lambda g: 0.0 * g)
vn.defjet(side, lambda k, y, x: np.zeros_like(x[k]))


def smoothed(fun):
    """A function of ``hinge`` whose slope is recorded: ``hinge(x) = x side(x)``."""
    return lambda x: fun(lambda z: z * side(z), x)


SMOOTH = {
    # name: (function of hinge and x, its series along x = t)
    "difference": (lambda h, x: h(x) - h(x) + x**3, [0, 0, 0, 1]),
    "multiple": (lambda h, x: h(x) - h(2.0 * x) / 2.0 + x, [0, 1, 0, 0]),
    "shift": (lambda h, x: anp.log(anp.exp(x - h(x)) + anp.exp(-h(x))) + h(x), [np.log(2.0), 0.5, 0.125, 0]),
}


@pytest.mark.parametrize("name", SMOOTH)
def test_a_kink_that_cancels_is_no_kink(name):
    fun, expected = SMOOTH[name]
    np.testing.assert_allclose(vn.jet(smoothed(fun), LINE), expected, atol=1e-15)


KINKED = {
    # name: (function of hinge and x, the first order at which the side shows)
    "first order": (lambda h, x: h(x), 1),
    "second order": (lambda h, x: x + x * h(x), 2),
    "third order": (lambda h, x: h(x) * x * x, 3),
}


@pytest.mark.parametrize("name", KINKED)
def test_a_kink_that_shows_names_the_order(name):
    fun, order = KINKED[name]
    if order > 1:
        vn.jet(smoothed(fun), LINE[:order])
    with pytest.raises(NonSmoothError, match=f"hinge at 0.*the series of order {order} depends on the side"):
        vn.jet(smoothed(fun), LINE)


def test_kinks_of_different_quantities_are_different_choices():
    # |x| + |y| along (t, -t) is 2 |t|: with one choice of sign for both it would be zero
    def separate(x):
        return anp.abs(x[0]) + anp.abs(x[1])

    with pytest.raises(NonSmoothError, match="abs"):
        vn.jet(separate, np.array([[0.0, 0.0], [1.0, -1.0]]))
    with pytest.raises(NonSmoothError, match="abs"):
        vn.jet(lambda x: anp.sum(anp.abs(x)), np.array([[0.0, 0.0, 0.0], [1.0, 1.0, -2.0]]))


def test_away_from_the_kink_one_recording_is_made():
    assert len(record(smoothed(lambda h, x: h(x)), np.array(0.5))) == 1
    tapes = record(smoothed(lambda h, x: h(x)), np.array(0.0))
    assert len(tapes) == 2
    assert set(tapes[0].kinks) == {"hinge at 0"}


def test_both_recordings_are_corrected():
    # x + x side(x) - x side(x): the side cancels, before and after the correction
    recorded = Recorded(smoothed(lambda h, x: anp.exp(x + h(x) - h(x))), (np.array(0.0),), corrected=0)
    replay = recorded.start(1)
    coefficients = []
    for k in range(1, 4):
        (c,) = replay.coefficient([None])
        coefficients.append(0.0 if c is None else c[0])
        replay.correct(np.array([1.0 if k == 1 else 0.0]))
    assert replay.order == 3
    np.testing.assert_allclose(coefficients, [0.0, 1 / 2, 1 / 6], atol=1e-15)


# ---- the package's own kinked primitives ----

TIE = np.array([[1.0, 1.0, 0.5], [0.3, -0.2, 0.1], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]])


def handmade_logsumexp(x):
    shift = anp.max(x)
    return shift + anp.log(anp.sum(anp.exp(x - shift)))


def test_logsumexp_by_hand_at_a_tie():
    expected = vn.jet(lambda x: anp.log(anp.sum(anp.exp(x))), TIE)
    np.testing.assert_allclose(vn.jet(handmade_logsumexp, TIE), expected, rtol=1e-14)


def test_logsumexp_by_hand_in_an_objective():
    # minimise logsumexp(b) - b.p + |b|^2 / 2 at p = 1/3: the solution is zero, where all entries tie
    def objective(b, p):
        return handmade_logsumexp(b) - anp.dot(b, p) + 0.5 * anp.sum(b**2)

    def smooth(b, p):
        return anp.log(anp.sum(anp.exp(b))) - anp.dot(b, p) + 0.5 * anp.sum(b**2)

    make = vn.ParametricSensitivityTaylorExpansion.optimization_objective
    p0 = np.full(3, 1.0 / 3.0)
    by_hand, reference = (make(f, np.zeros(3), p0, 5) for f in (objective, smooth))
    new = p0 + 0.1 * np.cos(np.arange(24.0)).reshape(8, 3)
    batch = by_hand.evaluate_taylor_series_terms(new)
    np.testing.assert_allclose(batch, reference.evaluate_taylor_series_terms(new), rtol=1e-11, atol=1e-15)
    for i, p in enumerate(new):
        np.testing.assert_allclose(by_hand.evaluate_taylor_series_terms(p), batch[:, i], rtol=1e-11, atol=1e-15)


@pytest.mark.parametrize(
    ("named", "fun", "at"),
    [
        ("abs at 0", lambda x: anp.sum(anp.abs(x)), np.array([0.0, 1.0])),
        ("abs at 0", lambda x: anp.sum(anp.fabs(x)), np.array([0.0, 1.0])),
        ("max", lambda x: anp.max(x), np.array([1.0, 1.0, 0.5])),
        ("min", lambda x: anp.min(x), np.array([1.0, 0.5, 0.5])),
        ("maximum", lambda x: anp.sum(anp.maximum(x, 0.0)), np.array([0.0, 1.0])),
        ("minimum", lambda x: anp.sum(anp.minimum(x, 1.0)), np.array([0.0, 1.0])),
    ],
)
def test_kinks_are_refused_where_the_side_shows(named, fun, at):
    series = np.zeros((3, at.size))
    series[0], series[1] = at, np.linspace(0.5, 1.5, at.size)
    with pytest.raises(NonSmoothError, match=f"{named}.*depends on the side taken"):
        vn.jet(fun, series)
    moved = series + np.array([[0.25, -0.1, 0.05][: at.size], np.zeros(at.size), np.zeros(at.size)])
    assert np.isfinite(vn.jet(fun, moved)).all()


def test_abs_at_zero_where_the_side_does_not_show():
    np.testing.assert_allclose(vn.jet(lambda x: anp.abs(x) ** 2, LINE), [0, 0, 1, 0], atol=1e-15)
    np.testing.assert_allclose(vn.jet(lambda x: anp.abs(x) - anp.abs(x) + x, LINE), LINE, atol=1e-15)


def test_abs_at_zero_in_an_objective():
    make = vn.ParametricSensitivityTaylorExpansion.optimization_objective

    def lasso(b, penalty):
        return 0.5 * anp.sum((b - 0.5) ** 2) + 0.5 * anp.sum(b**2) + penalty[0] * anp.sum(anp.abs(b))

    # away from zero: b = (0.5 - penalty) / 2
    terms = make(lasso, [0.2], [0.1], 3).evaluate_taylor_series_terms([0.2])
    np.testing.assert_allclose(terms[:, 0], [0.2, -0.05, 0, 0], atol=1e-15)
    with pytest.raises(NonSmoothError, match="abs"):
        make(lasso, [0.0], [0.5], 3).evaluate_taylor_series([0.6])
