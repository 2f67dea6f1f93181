"""Verdicts on refits against exact solutions on the same branch, closed forms, and bad input."""

import dataclasses

import autograd.numpy as anp
import numpy as np
import pytest
from scipy.special import lambertw
from trust_cases import TRUST_MODELS, cases

import vittles_ng as vn
from vittles_ng import chord, newton, polish, trust
from vittles_ng.errors import NonFiniteError, ShapeError
from vittles_ng.trust import convergence_radius, range_of_validity

Expansion = vn.ParametricSensitivityTaylorExpansion
EPS = np.finfo(float).eps


def minimum(objective, input_val0, hyper_val0, order=4, **options):
    """The expansion of a minimum near ``input_val0``."""
    return Expansion.optimization_objective(
        objective, np.array(input_val0, dtype=float), np.array(hyper_val0, dtype=float), order, **options
    )


def equation(function, input_val0, hyper_val0, order=4):
    """The expansion of a root."""
    return Expansion(function, np.array(input_val0, dtype=float), np.array(hyper_val0, dtype=float), order)


def ridge(n_input=1, order=3):
    """``(A + p I) b = m`` at p = 2: the chord iteration contracts by ``-(p - 2) (A + 2 I)^{-1}`` exactly."""
    a, m = np.diag(np.linspace(1.0, 3.0, n_input)), np.linspace(1.0, 2.0, n_input)

    def objective(b, p):
        return 0.5 * anp.dot(b, anp.dot(a, b)) + 0.5 * p[0] * anp.sum(b**2) - anp.dot(m, b)

    def exact(p):
        return m / (np.diag(a) + p)

    return minimum(objective, exact(2.0), [2.0], order), exact, np.diag(a)


# ---- the table ----


@dataclasses.dataclass(frozen=True)
class Row:
    """A refit of the table, unpolished and polished, with its true errors."""

    case: object
    tol: float
    refit: trust.Refit
    error: float
    polished: trust.Refit
    polished_error: float
    newton_step: float

    @property
    def ratio(self):
        return self.error / np.max(self.refit.error_estimate)


@pytest.fixture(scope="module")
def table():
    rows = []
    for case in cases():
        expand, new_hyper = case.model.expansion, case.new_hyper
        plain = expand.refit(new_hyper, max_order=case.order)
        tol = 1e-3 * np.max(np.abs(plain.value - case.model.input_val0))
        polished = expand.refit(new_hyper, max_order=case.order, polish=True)
        size = max(1.0, np.max(np.abs(polished.value)))
        newton_step = np.max(np.abs(case.model.newton_step(polished.value, case.new_hyper))) / size
        error, left = (np.max(np.abs(r.value - case.exact)) for r in (plain, polished))
        rows.append(Row(case, tol, plain, error, polished, left / size, newton_step))
    return rows


def _line(name, rows):
    trusted = [row for row in rows if row.refit.trusted]
    good = [row for row in rows if row.error < 0.1 * row.tol]
    refused = sum(not row.refit.trusted for row in good)
    worst = max((row.ratio for row in trusted), default=np.nan)
    exact = sum(row.newton_step <= 1e-12 and row.polished.n_factorizations == 0 for row in rows)
    gradients = np.median([row.polished.n_polish for row in rows])
    return (
        f"{name:22s} {len(rows):6d} {len(trusted):8d} {worst:18.2f} {len(good):10d} {refused:8d} "
        f"{exact:9d} {gradients:10.0f}"
    )


def test_print_the_table(table, capsys):
    lines = [
        f"{'model':22s} {'refits':>6s} {'trusted':>8s} {'worst true/estimate':>18s} {'good':>9s} {'refused':>8s} "
        f"{'polished':>9s} {'gradients':>10s}"
    ]
    lines += [_line(name, [row for row in table if row.case.model.name == name]) for name in TRUST_MODELS]
    lines.append(_line("all", table))
    with capsys.disabled():
        print("\n" + "\n".join(lines))
    assert len(table) >= 200 and len(TRUST_MODELS) == 10


def test_elastic_net_stays_away_from_kinks(table):
    net = TRUST_MODELS["elastic net"]
    exact = np.array([row.case.exact for row in table if row.case.model is net])
    assert np.all(np.sign(exact) == np.sign(net.input_val0)) and np.min(np.abs(exact)) > 0.01


def test_where_trusted_the_error_is_what_was_estimated(table):
    ratios = np.array([row.ratio for row in table if row.refit.trusted])
    assert len(ratios) >= 80
    assert np.mean(ratios <= 10.0) >= 0.99 and np.max(ratios) <= 100.0
    # what was measured, with some room: the two bounds above are far away
    assert np.max(ratios) < 2.0 and np.min(ratios) > 0.5


def test_estimates_hold_at_any_tolerance(table):
    ratios = np.array([row.ratio for row in table if row.refit.contraction < 0.9])
    assert len(ratios) >= 180 and np.max(ratios) < 3.0 and np.min(ratios) > 0.3


def test_good_refits_are_not_refused(table):
    good = [row for row in table if row.error < 0.1 * row.tol]
    assert len(good) >= 50
    assert np.mean([not row.refit.trusted for row in good]) <= 0.1


def test_refits_with_errors_above_tolerance_are_refused(table):
    wrong = [row for row in table if row.error > 2.0 * row.tol]
    assert len(wrong) >= 80 and not any(row.refit.trusted for row in wrong)


def test_polishing_reaches_the_exact_solution_with_the_old_factor(table):
    reached = [row.newton_step <= 1e-12 and row.polished.n_factorizations == 0 for row in table]
    assert np.mean(reached) >= 0.9
    on_branch = [row.polished_error < 1e-9 for row in table if row.polished.trusted]
    assert len(on_branch) >= 0.9 * len(table) and np.mean(on_branch) >= 0.99


def test_polished_refits_say_whether_they_are_minima(table):
    for row in table:
        if row.polished.trusted:
            assert row.polished.positive_definite is (True if row.case.model.is_objective else None)
        assert row.refit.positive_definite is None


@pytest.mark.parametrize("order", range(2, 7))
def test_diverging_net_is_refused_and_polished(order):
    net = TRUST_MODELS["net"]
    new = 1.5 * net.hyper_val0
    exact = net.exact_along(new - net.hyper_val0)[-1]
    found = net.expansion.refit(new, max_order=order)
    assert np.max(np.abs(found.value - exact)) > 0.1 * np.max(np.abs(exact - net.input_val0))
    assert not found.trusted and found.contraction > 1.0 and np.all(np.isinf(found.error_estimate))
    assert "contraction" in found.message and "follow_path" in found.message
    polished = net.expansion.refit(new, max_order=order, polish=True)
    assert polished.trusted and np.max(np.abs(polished.value - exact)) < 1e-9


# ---- closed forms ----


@pytest.mark.parametrize("p", [1.0, 1.9, 2.2, 4.0])
def test_contraction_and_error_of_scalar_ridge(p):
    expansion, exact, a = ridge()
    found = expansion.refit([p])
    assert found.contraction == pytest.approx(abs(p - 2.0) / (a[0] + 2.0), rel=1e-6)
    error = abs(found.value - exact(p))
    # the tail is geometric: the estimate is the error and the part for safety
    np.testing.assert_allclose(found.error_estimate, error * (1.0 + 0.1 * found.contraction**2), rtol=1e-6, atol=1e-14)
    assert found.residual_norm == pytest.approx(abs((a[0] + p) * (found.value - exact(p)))[0], rel=1e-6)
    assert found.order == 3 and found.n_polish == 0


@pytest.mark.parametrize("p", [1.5, 2.5, 3.5])
def test_contraction_of_ridge_lies_in_the_spectrum(p):
    expansion, exact, a = ridge(5)
    found = expansion.refit([p])
    bounds = abs(p - 2.0) / (a + 2.0)
    assert np.min(bounds) * (1 - 1e-6) <= found.contraction <= np.max(bounds) * (1 + 1e-6)
    assert np.max(np.abs(found.value - exact(p)) / found.error_estimate) < 1.3


@pytest.mark.parametrize("contraction, is_trusted", [(0.85, True), (0.95, False), (1.05, False)])
def test_contraction_near_one_is_no_evidence_at_any_tolerance(contraction, is_trusted):
    expansion, exact, a = ridge()
    found = expansion.refit([2.0 + contraction * (a[0] + 2.0)], tol=100.0)
    assert found.contraction == pytest.approx(contraction, rel=1e-6)
    assert found.trusted is is_trusted and bool(np.all(np.isfinite(found.error_estimate))) is (contraction < 1.0)


def test_diverging_ridge_is_refused_then_polished():
    expansion, exact, _ = ridge(5)
    found = expansion.refit([9.0])
    assert not found.trusted and found.contraction > 1.0
    polished = expansion.refit([9.0], polish=True)
    np.testing.assert_allclose(polished.value, exact(9.0), rtol=1e-12)
    assert polished.trusted and polished.positive_definite and polished.n_factorizations == 0 < polished.n_polish


def test_units_of_the_inputs_do_not_change_the_verdict():
    model = TRUST_MODELS["student t"]
    units = np.array([1e3, 1e-2, 1.0, 10.0])
    new = model.hyper_val0 + 0.5 * model.lines[0]
    scaled = minimum(lambda x, h: model.function(x / units, h), model.input_val0 * units, model.hyper_val0, 6)
    plain, other = model.expansion.refit(new), scaled.refit(new)
    np.testing.assert_allclose(other.error_estimate / units, plain.error_estimate, rtol=0.01)
    assert other.trusted == plain.trusted


# ---- radius and range ----


def _pair(radius, angle, n):
    """Coefficients 1..n of ``1 / (1 - 2 t cos(angle) / radius + t^2 / radius^2)``."""
    k = np.arange(1, n + 1)
    return np.sin((k + 1) * angle) / np.sin(angle) / radius**k


K = np.arange(1.0, 13.0)
RADII = {
    "pole": (2.0**-K, 2.0),
    "negative pole": ((-0.3) ** -K, 0.3),
    "logarithm": (1.5**-K / K, 1.5),
    "square root": (np.cumprod((K - 1.5) / K) * 3.0**-K, 3.0),
    "pair on the imaginary axis": (np.where(K % 2, 0.0, (-1.0) ** (K // 2)), 1.0),
    "pair at 80 degrees": (_pair(0.7, 1.4, 12), 0.7),
    "pair at 30 degrees": (_pair(1.3, 0.52, 12), 1.3),
    "pair at 120 degrees": (_pair(0.5, 2.1, 12), 0.5),
    "far away, the last terms lost in rounding": (100.0**-K + 1e-19, 100.0),
}


@pytest.mark.parametrize("name", RADII)
def test_radius_of_known_functions(name):
    coefficients, radius = RADII[name]
    for n in (8, 10, 12):
        assert 1 / 1.5 < convergence_radius(coefficients[:n, None]) / radius < 1.5


def _gegenbauer(angle, power, n):
    """Coefficients 1..n of ``(1 - 2 t cos(angle) + t^2)^-power``: a pair of singularities on the unit circle."""
    x = np.cos(angle)
    c = [1.0, 2.0 * power * x]
    for k in range(2, n + 1):
        c.append((2.0 * x * (k + power - 1.0) * c[-1] - (k + 2.0 * power - 2.0) * c[-2]) / k)
    return np.array(c[1:])[:, None]


@pytest.mark.parametrize("power", [1.0, 0.5, -0.5])
@pytest.mark.parametrize("n, share", [(6, 0.9), (8, 0.98), (12, 1.0)])
def test_radius_of_pairs_at_any_angle(power, n, share):
    radii = np.array([convergence_radius(_gegenbauer(angle, power, n)) for angle in np.linspace(0.1, 3.04, 99)])
    assert np.mean((radii > 1 / 1.5) & (radii < 1.5)) >= share


def test_radius_in_other_units_of_t():
    series = _pair(1.3, 0.52, 12)[:, None]
    assert convergence_radius(series * 4.0 ** K[:, None]) == pytest.approx(convergence_radius(series) / 4.0)


def test_radius_of_a_batch_of_vectors():
    series = np.stack([2.0**-K, 5.0**-K], axis=1)[:, :, None] * np.array([3.0, -1.0])
    radii = convergence_radius(series)
    assert radii.shape == (2,) and radii[0] == convergence_radius(series[:, 0])
    np.testing.assert_allclose(radii, [2.0, 5.0], rtol=0.3)


def test_radius_of_an_entire_function_is_large():
    assert convergence_radius(np.cumprod(1.0 / K)[:8, None]) > 4.0


UNTOLD = {
    "polynomial": np.array([1.0, -2.0, 0.5, 0.3, 0.0, 0.0]),
    "polynomial of a degree beyond half the orders": np.array([1.0, -2.0, 0.5, 0.3, 0.2, 0.1, 0.0, 0.0]),
    "polynomial with rounding": np.array([1.0, -2.0, 0.5, 0.3, 1e-17, -1e-17, 1e-17, 0.0]),
    "two orders": np.array([1.0, 0.5]),
    "no series": np.zeros(6),
    "overflow": np.array([1.0, 1e200, np.inf, np.inf]),
    "lost in rounding": 1e9**-K,
}


@pytest.mark.parametrize("name", UNTOLD)
def test_radius_that_cannot_be_told(name):
    assert np.isnan(convergence_radius(UNTOLD[name][:, None]))


def test_radius_of_a_refit_is_in_units_of_the_step():
    expansion, _, a = ridge(order=8)
    for p in (3.0, 2.5, 1.9):
        assert expansion.refit([p]).radius == pytest.approx((a[0] + 2.0) / abs(p - 2.0), rel=0.3)


def test_range_of_validity_of_a_geometric_series():
    series = 2.0 ** -np.arange(1, 9)[:, None] * np.array([0.5, -1.0])
    assert range_of_validity(series, 1e-6) == pytest.approx(2.0 * min(1e-6 ** (1 / 7), 1e-6 ** (1 / 8)))
    assert range_of_validity(series, 1e-6, scale=100.0) == pytest.approx(2.0 * 1e-4 ** (1 / 7))
    # it is what it says: the terms there are within the tolerance
    t = range_of_validity(series, 1e-6)
    assert np.max(np.abs(series[-2:] * t ** np.array([7, 8])[:, None])) <= 1e-6 * (1 + 1e-12)


def test_range_of_validity_at_the_edges():
    assert range_of_validity(np.array([[1.0], [0.0], [0.0]]), 1e-6) == np.inf
    assert range_of_validity(np.array([[1.0], [0.0], [2.0]]), 1e-6) == pytest.approx(5e-7 ** (1 / 3))
    assert range_of_validity(np.array([[4.0]]), 1e-2) == pytest.approx(2.5e-3)
    for tol, scale in ((0.0, 1.0), (1e-3, -1.0), (np.nan, 1.0)):
        with pytest.raises(ValueError, match="must be positive"):
            range_of_validity(np.ones((3, 1)), tol, scale)


# ---- tolerance ----


def test_tolerance_decides():
    expansion, exact, _ = ridge(3)
    error = np.max(np.abs(expansion.refit([2.4]).value - exact(2.4)))
    assert expansion.refit([2.4], tol=3.0 * error).trusted
    refused = expansion.refit([2.4], tol=0.3 * error)
    assert not refused.trusted and f"tol {0.3 * error:.1e}" in refused.message
    assert expansion.refit([2.4], tol=0.3 * error, polish=True).trusted


def test_default_tolerance_is_a_thousandth_of_the_change():
    expansion, exact, _ = ridge(3)
    verdicts = []
    for p in np.linspace(2.05, 3.5, 30):
        found = expansion.refit([p])
        bound = 1e-3 * np.max(np.abs(found.value - exact(2.0)))
        assert found.trusted == (np.max(found.error_estimate) <= bound)
        verdicts.append(found.trusted)
    assert any(verdicts) and not all(verdicts)


def test_order_changes_the_verdict():
    expansion, _, _ = ridge(3)
    assert expansion.refit([2.2], max_order=3).trusted and not expansion.refit([2.2], max_order=1).trusted
    assert expansion.refit([2.2], max_order=1).order == 1


@pytest.mark.parametrize("tol", [0.0, -1.0, np.nan, np.inf, np.array([1e-3, 1e-3])])
def test_tolerance_that_is_no_positive_number(tol):
    with pytest.raises(ValueError, match="tol must be a positive number"):
        ridge()[0].refit([2.4], tol=tol)


def test_tolerance_below_rounding():
    expansion, exact, _ = ridge()
    with pytest.raises(ValueError, match=f"below the rounding of the input, {EPS * exact(2.0)[0]:.1e}"):
        expansion.refit([2.4], tol=1e-18)
    assert not expansion.refit([[2.4]], tol=1e-15).trusted[0]


def test_zero_step():
    expansion, exact, _ = ridge(3)
    for tol, polished in ((None, False), (1e-12, False), (None, True), (1e-12, True)):
        found = expansion.refit([2.0], tol, polished)
        assert found.trusted and np.max(found.error_estimate) < 1e-13
        np.testing.assert_allclose(found.value, exact(2.0), rtol=1e-15)
        assert np.isnan(found.radius)


def test_zero_step_from_a_loose_base_point():
    expansion, exact, _ = ridge(3)
    loose = minimum(expansion._problem.function, exact(2.0) + 1e-6, [2.0], optimum_tol=1e-3)
    assert loose.refit([2.0]).trusted  # the value is the base point, which was accepted
    strict = loose.refit([2.0], tol=1e-8)
    assert not strict.trusted
    np.testing.assert_allclose(strict.error_estimate, 1e-6, rtol=1e-3)
    # its error does not become smaller with the step: it shows in the change
    assert not loose.refit([2.0 + 1e-5]).trusted and loose.refit([2.1], max_order=4).trusted


def test_first_order_that_vanishes_is_no_evidence_of_a_good_value():
    even = equation(lambda x, h: x - 1.0 - h**2, [1.0], [0.0], order=1)
    found = even.refit([0.1])
    assert found.value[0] == 1.0 and not found.trusted
    assert found.error_estimate[0] == pytest.approx(0.01)


@pytest.mark.parametrize("condition, step", [(1e4, 1e-5), (1e6, 1e-5), (1e6, 1e-8)])
def test_rounding_is_not_taken_for_a_poor_contraction(rng, condition, step):
    u, v = np.linalg.qr(rng.standard_normal((300, 30)))[0], np.linalg.qr(rng.standard_normal((30, 30)))[0]
    x = (u * np.geomspace(10.0, 10.0 / np.sqrt(condition), 30)) @ v.T
    y = x @ rng.standard_normal(30) + rng.standard_normal(300)
    expansion = minimum(
        lambda b, w: 0.5 * anp.sum(w * (y - anp.dot(x, b)) ** 2),
        np.linalg.lstsq(x, y, rcond=None)[0],
        np.ones(300),
        polish_optimum=True,
    )
    weights = 1.0 + step * rng.standard_normal(300)
    found = expansion.refit(weights)
    exact = np.linalg.lstsq(x * np.sqrt(weights)[:, None], y * np.sqrt(weights), rcond=None)[0]
    assert found.trusted and np.max(np.abs(found.value - exact)) <= 10.0 * np.max(found.error_estimate)


# ---- batches ----


@pytest.mark.parametrize("polished", [False, True])
@pytest.mark.parametrize("name", ["poisson with ridge", "two equations"])
def test_batch_equals_single_steps(name, polished):
    model = TRUST_MODELS[name]
    news = model.hyper_val0 + np.concatenate([0.3 * model.lines, np.zeros((1, model.lines.shape[1]))])
    batch = model.expansion.refit(news, polish=polished, tol=1e-4)
    assert batch.value.shape == batch.error_estimate.shape == (5, len(model.input_val0))
    assert batch.trusted.dtype == bool
    for i, new in enumerate(news):
        single = model.expansion.refit(new, polish=polished, tol=1e-4)
        for field in dataclasses.fields(trust.Refit):
            got, expected = getattr(batch, field.name)[i], getattr(single, field.name)
            if field.name == "message":
                assert got.split()[0] == expected.split()[0]
            elif expected is None:
                assert got is None
            else:
                np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-12, err_msg=field.name)


def test_empty_batch_and_mismatch():
    expansion, _, _ = ridge()
    empty = expansion.refit(np.zeros((0, 1)))
    assert empty.value.shape == (0, 1) and empty.trusted.shape == empty.radius.shape == (0,)
    with pytest.raises(ShapeError, match="2 steps, but 3 new hypers"):
        trust.refit(expansion._problem, expansion.solver, np.zeros((3, 2, 1)), np.zeros((3, 1)))


def test_two_calls_of_the_function_for_each_step():
    calls = []

    def function(x, h):
        calls.append(1)
        return x**3 + x - h

    expansion = equation(function, [1.0], [2.0])
    calls.clear()
    expansion.refit(np.array([[2.1], [2.2], [2.3]]))
    assert len(calls) == 6


# ---- where the function is not defined ----


def _with_log():
    # defined for h > 0; the minimum at x = 1 / h
    return minimum(lambda x, h: anp.sum(h * x - anp.log(x)) + anp.sum(anp.log(h)), [1.0], [1.0], 6)


def test_undefined_at_the_new_hyper():
    with pytest.raises(NonFiniteError, match=r"objective is nan at the new hyper"):
        _with_log().refit([-0.5])
    batch = _with_log().refit([[1.1], [-0.5], [0.9]])
    assert list(batch.trusted) == [True, False, True]
    assert np.all(np.isfinite(batch.value)) and np.isnan(batch.residual_norm[1])
    assert np.isinf(batch.contraction[1]) and np.all(np.isinf(batch.error_estimate[1]))
    assert "objective is nan" in batch.message[1]
    np.testing.assert_allclose(batch.value[[0, 2], 0], [1 / 1.1, 1 / 0.9], rtol=1e-5)


def test_function_that_raises_at_the_new_point():
    def objective(x, h):
        low = anp.linalg.cholesky(anp.array([[1.0, h[0]], [h[0], 1.0]]))
        return 0.5 * anp.sum((x - anp.sum(low)) ** 2)

    at = float(np.sum(np.linalg.cholesky(np.eye(2))))
    expansion = minimum(objective, [at], [0.0])
    with pytest.raises(NonFiniteError, match="raises LinAlgError"):
        expansion.refit([1.5])
    batch = expansion.refit([[1.5], [0.05]])
    assert list(batch.trusted) == [False, True] and "raises LinAlgError" in batch.message[0]
    polished = expansion.refit([[1.5], [0.05]], polish=True)
    assert list(polished.trusted) == [False, True] and "base point's input too" in polished.message[0]
    with pytest.raises(NonFiniteError, match="base point's input too"):
        expansion.refit([1.5], polish=True)


def test_errors_of_the_users_own_making_are_not_hidden():
    state = {"broken": False}

    def function(x, h):
        if state["broken"]:
            raise TypeError("my mistake")
        return x - h

    expansion = equation(function, [1.0], [1.0])
    state["broken"] = True
    with pytest.raises(TypeError, match="my mistake"):
        expansion.refit([[1.1]])


def test_series_value_where_the_function_is_not_defined_is_polished_away():
    # first order at h = 2.5: 1 - 1.5 < 0, outside of log; the solution 0.4 is inside
    expansion = _with_log()
    with pytest.raises(NonFiniteError, match="at the new hyper"):
        expansion.refit([2.5], max_order=1)
    found = expansion.refit([2.5], max_order=1, polish=True)
    assert found.trusted and found.positive_definite
    np.testing.assert_allclose(found.value, 0.4, rtol=1e-11)


def test_chord_step_out_of_the_domain_is_no_evidence():
    expansion = equation(lambda x, h: anp.log(x) - h, [1.0], [0.0], order=2)
    found = expansion.refit([-2.5])  # value 1.625, chord step log(1.625) + 2.5 = 2.99: below zero
    assert not found.trusted and np.isinf(found.contraction) and np.isfinite(found.residual_norm)
    assert "one chord step further" in found.message
    np.testing.assert_allclose(expansion.refit([-2.5], polish=True).value, np.exp(-2.5), rtol=1e-11)


def test_terms_that_overflow_are_marked():
    expansion, exact, _ = ridge(2)
    terms = expansion.evaluate_taylor_series_terms(np.array([[2.1], [2.2]]))
    terms[2, 0] = np.inf
    news = np.array([[2.1], [2.2]])
    batch = trust.refit(expansion._problem, expansion.solver, terms, news)
    assert list(batch.trusted) == [False, True] and "overflows" in batch.message[0]
    with pytest.raises(NonFiniteError, match="the series overflows"):
        trust.refit(expansion._problem, expansion.solver, terms[:, 0], news[:1])


def test_steps_far_too_long_keep_the_rest_of_the_batch():
    expansion, exact, _ = ridge(2, order=4)
    news = np.array([[2.1], [1e100], [1e30], [-1e200]])
    for polished in (False, True):
        batch = expansion.refit(news, polish=polished)
        assert batch.trusted[0] and not np.any(batch.trusted[1:] & ~np.isfinite(batch.value[1:]).all(axis=1))
        np.testing.assert_allclose(batch.value[0], exact(2.1), rtol=1e-4)
    assert not np.any(expansion.refit(news).trusted[1:])


@pytest.mark.parametrize("far", [1e20, 1e45, 1e60, 1e300])
def test_steps_far_too_long_that_share_a_block(far):
    def lambert(x, h):
        return x * anp.exp(x) - h[0] - anp.array([0.0, 1.0]) * h[1]

    expansion = equation(lambert, lambertw([1.0, np.e]).real, [1.0, np.e - 1.0], order=8)
    news = np.array([[1.1, 1.7], [far, 1.7], [0.9, 1.8]])
    batch = expansion.refit(news)
    assert list(batch.trusted) == [True, False, True]
    exact = lambertw(np.cumsum(news[::2], axis=1)).real
    np.testing.assert_allclose(batch.value[::2], exact, rtol=1e-6)
    polished = expansion.refit(news, polish=True)
    np.testing.assert_allclose(polished.value[::2], exact, rtol=1e-12)
    assert not polished.trusted[1]


@pytest.mark.parametrize("order", [4, 8, 12])
@pytest.mark.parametrize("h", [10.0, 100.0, 1e3, 1e6, 1e20])
def test_a_short_step_beside_an_input_that_ran_away_is_no_solution(order, h):
    # x exp(x) = h: far below zero the equation is flat, and steps of h / (2 e) are rounding of the huge input
    expansion = equation(lambda x, h: x * anp.exp(x) - h, [1.0], [np.e], order)
    assert not expansion.refit(h).trusted
    polished = expansion.refit(h, polish=True)
    if h < 1e6:
        np.testing.assert_allclose(polished.value, lambertw(h).real, rtol=1e-10)
    assert not polished.trusted or abs(polished.value[0] - lambertw(h).real) <= 2.0 * polished.error_estimate[0]


# ---- polishing ----


def _run_polish(expansion, start, hyper, contraction=np.inf):
    problem, solver = expansion._problem, expansion.solver
    hyper = np.array(hyper, dtype=float)
    point = chord.evaluate(problem, solver, np.array(start, dtype=float), hyper)
    return polish.polish(problem, solver, [point], hyper, contraction)


@pytest.mark.parametrize("name", TRUST_MODELS)
def test_newton_steps_with_the_old_factor_alone(name, monkeypatch):
    monkeypatch.setattr(polish, "_MAX_CHORD", 0)
    model = TRUST_MODELS[name]
    line = model.lines[1]
    exact = model.exact_along(line)[-1]
    result = _run_polish(model.expansion, model.input_val0, model.hyper_val0 + line)
    assert result.converged and result.n_factorizations == 0 and result.n_polish >= 2
    np.testing.assert_allclose(result.value, exact, rtol=0, atol=1e-10)
    assert result.positive_definite is (True if model.is_objective else None)


@pytest.mark.parametrize("name", ["economy", "two equations"])
def test_a_new_factor_where_the_iteration_fails_is_told(name, monkeypatch):
    monkeypatch.setattr(polish, "_MAX_CHORD", 0)
    monkeypatch.setattr(newton, "_MAX_KRYLOV", 1)
    model = TRUST_MODELS[name]
    new = model.hyper_val0 + model.lines[1]
    found = model.expansion.refit(new, polish=True)
    assert found.trusted and found.n_factorizations >= 1
    assert f"{found.n_factorizations} new factorizations were needed" in found.message
    np.testing.assert_allclose(found.value, model.exact_along(model.lines[1])[-1], rtol=0, atol=1e-10)
    monkeypatch.setattr(newton, "_MAX_FACTORED", 1)
    failed = model.expansion.refit(new, polish=True)
    assert not failed.trusted and failed.n_factorizations == 0 and "too many to factor" in failed.message


def test_line_search_where_newton_overshoots(monkeypatch):
    monkeypatch.setattr(polish, "_MAX_CHORD", 0)
    expansion = equation(lambda x, h: anp.arctan(x - h), [0.0], [0.0])
    result = _run_polish(expansion, [0.0], [5.0])  # a full Newton step goes from 0 to 35
    assert result.converged and result.n_polish > 5
    np.testing.assert_allclose(result.value, 5.0, rtol=1e-12)


def test_slow_mixing_goes_over_to_newton_steps(rng):
    # a separable objective whose curvatures change by factors of 1 to 10^4: more of them than the mixing's depth
    scale = np.geomspace(1.0, 1e4, 60)
    expansion = minimum(lambda x, h: anp.sum(0.5 * scale ** h[0] * (x - 1.0) ** 2 + x * h[0]), np.ones(60), [0.0])
    found = expansion.refit([1.0], polish=True)
    assert found.trusted and found.n_factorizations == 0 and found.n_polish < 40
    np.testing.assert_allclose(found.value, 1.0 - 1.0 / scale, atol=1e-11)


def test_mixing_solves_a_linear_problem_in_as_many_steps_as_inputs():
    expansion, exact, _ = ridge(4)
    problem, solver, hyper = expansion._problem, expansion.solver, np.array([4.4])

    def steps(n_last):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(polish, "_DEPTH", n_last)
            start = chord.evaluate(problem, solver, exact(2.0), hyper)
            best, n = polish._mix(lambda x: chord.evaluate(problem, solver, x, hyper), [start], 1.0, 100)
        return n, best

    n, best = steps(polish._DEPTH)
    np.testing.assert_allclose(best.input, exact(4.4), rtol=1e-11)
    assert n <= 6 and steps(0)[1].size > 1e3 * best.size  # plain chord steps, contraction 0.8, give up as slow


def test_definiteness_is_looked_at_where_the_solution_is():
    # the curvature 3 x^2 - 1 is positive at x = 2, where a tape was recorded, and negative at the solution 0
    expansion = minimum(lambda x, h: anp.sum(0.25 * x**4 - 0.5 * h[0] * x**2), [0.0], [-1.0])
    problem, solver, hyper = expansion._problem, expansion.solver, np.array([1.0])
    steps = newton.Newton(problem, solver, hyper)
    steps._record(np.array([2.0]))
    is_minimum, told = steps.is_minimum(chord.evaluate(problem, solver, np.zeros(1), hyper))
    assert is_minimum is False and "smallest eigenvalue -1.0e+00" in told


def test_no_solution_is_a_status():
    expansion = equation(lambda x, h: x**2 - h, [1.0], [1.0], order=2)
    single = expansion.refit([-1.0], polish=True)
    assert not single.trusted and "polishing stopped" in single.message
    assert single.value[0] == pytest.approx(1.0 - 1.0 - 0.5)  # the series' value stays
    batch = expansion.refit([[-1.0], [1.44]], polish=True)
    assert list(batch.trusted) == [False, True]
    np.testing.assert_allclose(batch.value[1], 1.2, rtol=1e-12)


def test_solution_that_is_no_longer_a_minimum():
    # x = 0 is a minimum for h < 0 and a maximum for h > 0
    expansion = minimum(lambda x, h: anp.sum(0.25 * x**4 - 0.5 * h[0] * x**2), [0.0, 0.0], [-1.0])
    found = expansion.refit([1.0], polish=True)
    assert found.positive_definite is False and not found.trusted
    assert "not positive definite (smallest eigenvalue -1.0e+00)" in found.message
    still = expansion.refit([-0.5], polish=True)
    assert still.positive_definite is True and still.trusted


@pytest.mark.parametrize("h, expected", [(-0.1, True), (0.3, False)])
def test_definiteness_by_lanczos(monkeypatch, rng, h, expected):
    a = rng.standard_normal((40, 40))
    a = a @ a.T / 40 + 0.2 * np.eye(40)
    smallest = np.linalg.eigvalsh(a)[0]
    objective = minimum(lambda x, h: 0.5 * anp.dot(x, anp.dot(a, x)) - 0.5 * h[0] * anp.sum(x**2), np.zeros(40), [-1.0])
    problem = objective._problem.at(np.zeros(40), np.array([h]))
    exact = smallest - h
    is_positive, value = newton.is_positive_definite(problem, objective._problem, objective.solver)
    assert is_positive is expected and value == pytest.approx(exact)
    monkeypatch.setattr(newton, "_MAX_EIGENVALUES", 10)
    is_positive, value = newton.is_positive_definite(problem, objective._problem, objective.solver)
    assert is_positive is expected and value == pytest.approx(exact / (smallest + 1.0), rel=1e-2)


def test_negative_curvature_does_not_stop_the_newton_steps(monkeypatch):
    monkeypatch.setattr(polish, "_MAX_CHORD", 0)
    expansion = minimum(
        lambda x, h: anp.sum(0.25 * x**4 - 0.5 * h[0] * x**2 - 0.1 * x), [0.0978], [-1.0], polish_optimum=True
    )
    result = _run_polish(expansion, expansion.input_val0, [1.0])  # the curvature 3 x^2 - 1 is negative at the start
    assert result.converged and result.positive_definite
    root = max(np.roots([1.0, 0.0, -1.0, -0.1]).real)
    np.testing.assert_allclose(result.value, root, rtol=1e-11)


@pytest.mark.parametrize("options", [{"solver": "cg"}, {"hess0": None}])
def test_other_solvers(options):
    model = TRUST_MODELS["poisson with ridge"]
    expansion = minimum(model.function, model.input_val0, model.hyper_val0, **options)
    new = model.hyper_val0 + 0.5 * model.lines[0]
    expected = model.expansion.refit(new, max_order=4)
    found = expansion.refit(new)
    np.testing.assert_allclose(found.error_estimate, expected.error_estimate, rtol=1e-5)
    np.testing.assert_allclose(
        expansion.refit(new, polish=True).value, model.exact_along(model.lines[0])[2], atol=1e-11
    )


def test_a_solver_that_fails_at_a_step_marks_the_row():
    expansion, _, _ = ridge(2)

    class Fails:
        def solve(self, rhs):
            if np.max(np.abs(rhs)) > 1e-3:
                raise vn.errors.SolveFailed(0.5, 7)
            return expansion.solver.solve(rhs)

    news = np.array([[2.01], [3.5]])
    terms = expansion.evaluate_taylor_series_terms(news)
    batch = trust.refit(expansion._problem, Fails(), terms, news)
    assert list(batch.trusted) == [True, False] and "7 iterations" in batch.message[1]


def test_a_direction_without_a_series_is_marked_and_the_others_kept():
    # the coefficient of order 2 along the second hyper is 1e200^2
    expansion = vn.ParametricSensitivityTaylorExpansion(
        lambda x, h: x - (h[0] + 1e200 * h[1]) ** 2, [0.0], [0.0, 0.0], order=3
    )
    found = expansion.refit([[1.0, 0.0], [0.0, 1.0], [2.0, 0.0]])
    np.testing.assert_array_equal(found.trusted, [True, False, True])
    np.testing.assert_allclose(found.value[[0, 2], 0], [1.0, 4.0], rtol=1e-14)
    with pytest.raises(NonFiniteError):
        expansion.refit([0.0, 1.0])


def test_a_point_where_gradient_and_hessian_vanish_together_is_no_solution():
    # exp(-x) + h x has its minimum at -log(h), and none at h = 0, where everything is flat far out
    expansion = minimum(lambda x, h: anp.sum(anp.exp(-x)) + h[0] * anp.sum(x), [0.0], [1.0])
    problem, solver, hyper = expansion._problem, expansion.solver, np.zeros(1)
    far = chord.evaluate(problem, solver, np.array([40.0]), hyper)
    assert far.size < 1e-17
    found = polish.polish(problem, solver, [far], hyper, contraction=0.1)
    assert not found.converged and "runs away" in found.message
