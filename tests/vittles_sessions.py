"""What users of vittles 0.173 did: its documented example and the uses of its test suite, written for any of the two.

Each session is a function of the package, ``vittles`` or ``vittles_ng``, and returns its numbers. Those of vittles are
kept in ``tests/data/vittles_linear_numbers.json``.
"""

import autograd
import autograd.numpy as anp
import numpy as np
import scipy.sparse
from problems import normal, uniform

__all__ = ["MODULES", "NAMES", "SESSIONS"]

MODULES = ("bivariate_sensitivity_lib", "lr_cov_lib", "sensitivity_lib", "solver_lib", "sparse_hessian_lib")

NAMES = (
    "CrossSensitivity",
    "EstimatingEquationLinearApproximation",
    "HyperparameterSensitivityLinearApproximation",
    "LinearResponseCovariances",
    "OptimumChecker",
    "get_cg_solver",
    "get_cholesky_solver",
    "get_dense_cholesky_solver",
    "get_sparse_cholesky_solver",
)


def gaussian_data():
    """The data of the documented example, from the generator that it used."""
    random = np.random.RandomState(42)
    sigma = np.diag([1.0, 2.0, 3.0]) + 0.1 * random.random_sample((3, 3))
    sigma = 0.5 * (sigma + sigma.T)
    return random.multivariate_normal(np.array([0.0, 1.0, 2.0]), sigma, size=1000)


def folded_gaussian(flat):
    """Covariance matrix and mean from the row-wise lower Cholesky factor, its diagonal in logarithms, and the mean."""
    a, b, c, d, e, f = flat[:6]
    zero = 0.0 * a
    factor = anp.stack(
        [
            anp.stack([anp.exp(a), zero, zero]),
            anp.stack([b, anp.exp(c), zero]),
            anp.stack([d, e, anp.exp(f)]),
        ]
    )
    return anp.dot(factor, factor.T), flat[6:]


def flat_gaussian(sigma, mean):
    factor = np.linalg.cholesky(sigma)
    np.fill_diagonal(factor, np.log(np.diag(factor)))
    return np.append(factor[np.tril_indices(3)], mean)


def maximum_likelihood(vittles):
    """The documented example: the weights of a Gaussian maximum likelihood estimate, and leaving out observation 10."""
    x = gaussian_data()

    def loss(flat, weights):
        sigma, mean = folded_gaussian(flat)
        centred = x - mean
        quadratic = anp.einsum("ni,ij,nj->n", centred, anp.linalg.inv(sigma), centred)
        return 0.5 * anp.sum(weights * (quadratic + anp.linalg.slogdet(sigma)[1]))

    centred = x - x.mean(axis=0)
    optimum = flat_gaussian(centred.T @ centred / len(x), x.mean(axis=0))
    approximation = vittles.HyperparameterSensitivityLinearApproximation(
        objective_fun=loss, opt_par_value=optimum, hyper_par_value=np.ones(len(x))
    )
    weights = np.ones(len(x))
    weights[10] = 0.0
    predicted = approximation.predict_opt_par_from_hyper_par(weights)
    sigma, mean = folded_gaussian(predicted)
    return {
        "predicted": predicted,
        "sigma": sigma,
        "mean": mean,
        "derivative of some": approximation.get_dopt_dhyper()[:, :5],
        "hessian": approximation.get_hessian_at_opt(),
    }


class Quadratic:
    """A quadratic objective with a linear hyper, each perhaps in logarithms of what it exceeds -10 by."""

    def __init__(self, log_theta, log_hyper):
        vector = np.linspace(0.1, 0.3, 3)
        self.matrix = np.outer(vector, vector) + np.eye(3)
        self.log_theta, self.log_hyper = log_theta, log_hyper
        hyper = np.linspace(0.5, 10.0, 3)
        theta = -np.linalg.solve(self.matrix, hyper)
        self.hyper0 = np.log(hyper + 10.0) if log_hyper else hyper
        self.theta0 = np.log(theta + 10.0) if log_theta else theta

    def folded(self, theta, hyper):
        return (
            anp.exp(theta) - 10.0 if self.log_theta else theta,
            anp.exp(hyper) - 10.0 if self.log_hyper else hyper,
        )

    def objective(self, theta, hyper):
        folded, _ = self.folded(theta, hyper)
        return 0.5 * anp.dot(folded, anp.dot(self.matrix, folded)) + self.part(theta, hyper)

    def part(self, theta, hyper):
        theta, hyper = self.folded(theta, hyper)
        return anp.dot(hyper, theta)


def quadratic(vittles):
    """Optima under bounds: all ways of giving the derivatives, and differentiable functions of the optimum."""
    numbers = {}
    for case in range(16):
        log_theta, log_hyper, gives_derivatives, gives_part = ((case >> i) & 1 for i in range(4))
        model = Quadratic(log_theta, log_hyper)
        given = {}
        if gives_derivatives:
            given["hessian_at_opt"] = autograd.hessian(model.objective)(model.theta0, model.hyper0)
            cross = autograd.jacobian(autograd.grad(model.objective), 1)(model.theta0, model.hyper0)
            given["cross_hess_at_opt"] = cross
        approximation = vittles.HyperparameterSensitivityLinearApproximation(
            model.objective,
            model.theta0,
            model.hyper0,
            validate_optimum=True,
            hyper_par_objective_fun=model.part if gives_part else None,
            **given,
        )
        optimum = approximation.get_opt_par_function()

        def of_optimum(hyper, optimum=optimum):
            return anp.exp(0.1 * anp.sum(optimum(hyper)))

        numbers[f"derivative {case}"] = approximation.get_dopt_dhyper()
        numbers[f"predicted {case}"] = approximation.predict_opt_par_from_hyper_par(model.hyper0 + 0.001)
        numbers[f"optimum {case}"] = optimum(model.hyper0)
        numbers[f"reverse {case}"] = autograd.grad(of_optimum)(model.hyper0)
        direction = np.array([0.3, -1.0, 0.5])
        numbers[f"forward {case}"] = autograd.make_jvp(of_optimum)(model.hyper0)(direction)[1]

        predict, away = approximation.predict_opt_par_from_hyper_par, model.hyper0 + 0.1

        def of_prediction(hyper, predict=predict):
            return anp.exp(0.1 * anp.sum(predict(anp.sin(hyper))))

        numbers[f"jacobian of prediction {case}"] = autograd.jacobian(predict)(away)
        numbers[f"gradient through prediction {case}"] = autograd.grad(of_prediction)(away)
        numbers[f"hessian through prediction {case}"] = autograd.hessian(of_prediction)(away)
        numbers[f"forward through prediction {case}"] = autograd.make_jvp(of_prediction)(away)(direction)[1]
    return numbers


def estimating_equation(vittles):
    """A solution that is no optimum, with everything that can be given."""

    def equation(x, h):
        return anp.array([x[0] + x[1] - h[0], x[0] * x[1] - h[1]]) + 0.0 * anp.sum(h)

    def part(x, h):
        return -h + 0.0 * x

    x0, h0 = np.array([1.0, 2.0]), np.array([3.0, 2.0])
    matrix = autograd.jacobian(equation)(x0, h0)
    numbers = {}
    for name, given in {
        "plain": {},
        "part": {"hyper_par_estimating_equation": part},
        "cross": {"estimating_equation_jac0": -np.eye(2)},
    }.items():
        approximation = vittles.EstimatingEquationLinearApproximation(
            equation, x0, h0, lambda v: np.linalg.solve(matrix, v), validate_solution=True, **given
        )
        numbers[f"derivative {name}"] = approximation.get_dinput_dhyper()
        numbers[f"predicted {name}"] = approximation.predict_input_par_from_hyper_par(np.array([3.2, 2.1]))
        numbers[f"solved {name}"] = approximation.hess_solver()(np.array([1.0, -2.0]))
        solution = approximation.get_input_par_function()
        numbers[f"jacobian {name}"] = autograd.jacobian(lambda h, f=solution: anp.sin(f(h)))(h0)
        predict = approximation.predict_input_par_from_hyper_par
        numbers[f"jacobian through prediction {name}"] = autograd.jacobian(lambda h, f=predict: anp.sin(f(h)))(2.0 * h0)
    return numbers


def linear_response(vittles):
    """A factorising normal approximation of a normal distribution, in variances and in their logarithms."""
    mean = np.arange(4.0)
    precision = np.linalg.inv(4.0 * np.eye(4) + np.outer(mean, mean))
    numbers = {}
    for name, of_free, to_free in [("variances", lambda v: v, lambda v: v), ("logarithms", anp.exp, np.log)]:

        def divergence(flat, of_free=of_free):
            centred, variances = flat[:4] - mean, of_free(flat[4:])
            expected = anp.dot(np.diag(precision), variances) + anp.dot(centred, anp.dot(precision, centred))
            return 0.5 * expected - 0.5 * anp.sum(anp.log(variances))

        optimum = np.append(mean, to_free(1.0 / np.diag(precision)))
        covariances = vittles.LinearResponseCovariances(divergence, optimum, validate_optimum=True, grad_tol=1e-13)
        given = vittles.LinearResponseCovariances(
            divergence, optimum, hessian_at_opt=autograd.hessian(divergence)(optimum)
        )

        def second_moments(flat, of_free=of_free):
            return flat[:4] ** 2 + of_free(flat[4:])

        first = covariances.get_moment_jacobian(lambda flat: flat[:2])
        numbers[f"covariance {name}"] = covariances.get_lr_covariance(lambda flat: flat[:4])
        numbers[f"of squares {name}"] = covariances.get_lr_covariance(second_moments)
        numbers[f"of squares, given {name}"] = given.get_lr_covariance(second_moments)
        numbers[f"jacobian {name}"] = covariances.get_moment_jacobian(second_moments)
        numbers[f"between {name}"] = covariances.get_lr_covariance_from_jacobians(
            first, covariances.get_moment_jacobian(second_moments)
        )
        numbers[f"hessian {name}"] = covariances.get_hessian_at_opt()
    return numbers


X = normal(40, 3, start=0.21)
Y = np.exp(X @ np.array([0.3, -0.2, 0.1])) + 0.3 * normal(40, start=0.83)


def least_squares(theta, weights):
    return 0.5 * anp.sum(weights * (Y - anp.exp(anp.dot(X, theta))) ** 2)


def unfinished(n_steps=2):
    """The nonlinear least squares estimate after a few Newton steps, and the Hessian there."""
    theta, weights = np.array([0.2, -0.1, 0.1]), np.ones(len(Y))
    for _ in range(n_steps):
        hessian = autograd.hessian(least_squares)(theta, weights)
        theta = theta - np.linalg.solve(hessian, autograd.grad(least_squares)(theta, weights))
    return theta, autograd.hessian(least_squares)(theta, weights)


def cross_sensitivity(vittles):
    """The mixed derivative in data weights and in a linear tilt that makes an unfinished optimum one."""
    theta, hessian = unfinished()
    weights = np.ones(len(Y))

    def tilted(theta, tilt, weights):
        return least_squares(theta, weights) - anp.dot(tilt, theta)

    gradient = autograd.grad(tilted)
    tilt = autograd.grad(least_squares)(theta, weights)
    d_weights = uniform(len(Y), start=0.5) - 0.5

    def multiplied(theta, factor, weights):
        return autograd.grad(least_squares)(theta, weights) + anp.sin(factor[0]) * (theta + weights[:3]) - tilt

    numbers, base = {}, (theta, np.zeros(1), weights)
    solver = lambda v: np.linalg.solve(hessian, v)  # noqa: E731
    cross = vittles.CrossSensitivity(gradient, solver, theta, tilt, weights)
    numbers["tilt"] = cross.evaluate(-tilt, d_weights)
    numbers["di1"], numbers["di2"] = cross.get_di1(-tilt), cross.get_di2(d_weights)
    for term in ["all", "ii", "i1", "i2", "12"]:
        # without term_ii vittles raises AttributeError
        options = {f"term_{name}": term in ("all", name) for name in ["i1", "i2", "12"]}
        cross = vittles.CrossSensitivity(multiplied, solver, *base, **options)
        numbers[f"factor {term}"] = cross.evaluate(np.array([0.7]), d_weights)
    numbers["given"] = cross.evaluate(np.array([0.7]), d_weights, di1=theta, di2=2.0 * theta)
    return numbers


def optimum_checker(vittles):
    """What an unfinished optimisation does to the effect of leaving out an observation."""
    theta, hessian = unfinished()
    weights = np.ones(len(Y))
    checker = vittles.OptimumChecker(
        autograd.grad(least_squares), lambda v: np.linalg.solve(hessian, v), theta, weights
    )
    left_out = weights.copy()
    left_out[1] = 0.0
    derivative = checker.get_dinput_dhyper(left_out - weights)
    return {
        "step": checker.get_newton_step(),
        "derivative": derivative,
        "correction": checker.correction(left_out),
        "given": checker.correction(left_out, dinput_dhyper=2.0 * derivative, newton_step=theta),
        "evaluated": checker.evaluate(left_out),
    }


def solvers(vittles):
    """Solvers of a dense and a sparse matrix."""
    root = uniform(10, 10)
    h, v = root + root.T + 10.0 * np.eye(10), uniform(10, start=0.3)
    sparse = scipy.sparse.csc_matrix(h)
    return {
        "dense": vittles.get_dense_cholesky_solver(h)(v),
        "factor": vittles.get_dense_cholesky_solver(h, h_chol=scipy.linalg.cho_factor(h))(v),
        "sparse": vittles.get_sparse_cholesky_solver(sparse)(v),
        "either, dense": vittles.get_cholesky_solver(h)(v),
        "either, sparse": vittles.get_cholesky_solver(sparse)(v),
    }


SESSIONS = {
    session.__name__: session
    for session in (
        maximum_likelihood,
        quadratic,
        estimating_equation,
        linear_response,
        cross_sensitivity,
        optimum_checker,
        solvers,
    )
}
