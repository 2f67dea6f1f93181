"""A file's data for the report, and the fits that it is held against: statsmodels', with the design written by hand."""

import warnings

import numpy as np
import pandas as pd
import statsmodels.api as sm

N_OBS = 120
FORMULAS = {
    "binomial": "y ~ income + age + C(region)",
    "poisson": "visits ~ income + age + C(region)",
    "gaussian": "price ~ income + age + C(region)",
}
SM_FAMILIES = {"binomial": sm.families.Binomial, "poisson": sm.families.Poisson, "gaussian": sm.families.Gaussian}


def make_frame():
    """Covariates in unlike units, so that a slip in the standardisation shows."""
    rng = np.random.default_rng(7)
    income, age = rng.normal(3e4, 9e3, N_OBS), rng.uniform(20, 70, N_OBS)
    region = rng.choice(["east", "north", "west"], N_OBS)
    eta = (income - 3e4) / 2e4 + (age - 45) / 40 + 0.4 * (region == "west")
    return pd.DataFrame(
        {
            "income": income,
            "age": age,
            "region": region,
            "village": np.arange(N_OBS) % 24,
            "y": (rng.random(N_OBS) < 1 / (1 + np.exp(-eta))).astype(int),
            "visits": rng.poisson(np.exp(1.0 + 0.3 * eta)),
            "price": 1e6 + 1e3 * (eta + rng.normal(size=N_OBS)),
        }
    )


def statsmodels_fit(frame, family, weights=None, **options):
    """The oracle: statsmodels' IRLS in the units of the file."""
    design = np.column_stack(
        [
            np.ones(len(frame)),
            frame["region"] == "north",
            frame["region"] == "west",
            frame["income"],
            frame["age"],
        ]
    ).astype(float)
    response = frame[FORMULAS[family].split()[0]].to_numpy(dtype=float)
    model = sm.GLM(response, design, SM_FAMILIES[family](), freq_weights=weights)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.fit(tol=1e-14, tol_criterion="params", maxiter=200, **options)
