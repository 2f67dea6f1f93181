"""The figures that the engine must reach, each beside what was measured in this run."""

import operator
from typing import NamedTuple

SMALL, LARGE = "logistic_2000x20", "logistic_50000x50"
RELATIONS = {">=": operator.ge, "<=": operator.le}


class Claim(NamedTuple):
    """A ratio, what it must be (no relation: shown for honesty, nothing is asked of it), and what it is."""

    text: str
    relation: str
    target: float | None
    measured: float | None

    @property
    def verdict(self):
        """PASS, SHORT OF it, NOT MEASURED, or - where nothing is asked."""
        if self.measured is None:
            return "NOT MEASURED"
        if self.target is None:
            return "-"
        return "PASS" if RELATIONS[self.relation](self.measured, self.target) else "SHORT OF"


def _ratio(numerator, denominator):
    return None if numerator is None or denominator is None else numerator / denominator


def _seconds(record, method, order):
    return record["seconds"].get(method, {}).get(order)


def order_claims(models):
    """The claims on one new direction: against the predecessor, the matrix products, and order 4."""
    claims = []
    for name, order, target in ((SMALL, 6, 250.0), (LARGE, 4, 35.0)):
        if name in models:
            record = models[name]
            ratio = _ratio(_seconds(record, "vittles", order), _seconds(record, "engine", order))
            claims.append(Claim(f"{record['title']}, order {order}: vittles / engine", ">=", target, ratio))
    if LARGE in models:
        record = models[LARGE]
        ratio = _ratio(_seconds(record, "engine", 4), record["products"].get(4))
        claims.append(Claim(f"{record['title']}, order 4: engine / 8 products with X", "<=", 2.0, ratio))
    for name, record in models.items():
        ratio = _ratio(_seconds(record, "engine", 8), _seconds(record, "engine", 4))
        claims.append(Claim(f"{record['title']}: order 8 / order 4", "<=", 3.0 if name == LARGE else 4.0, ratio))
    return claims


def bootstrap_claims(study):
    """The claims on many refits on one core, and the same at equal achieved error, where nothing is asked."""
    speed, error = study["refits_per_second"], study["error"]
    engine = speed["engine batch"]
    start = f"{study['n_resamples']} bootstrap refits, order {study['order']}, one core, refits/s: engine batch / "

    def against(name, relation="", target=None, note=""):
        return Claim(start + name + note, relation, target, engine / speed[name])

    claims = [against(name, ">=", 8.0) for name in ("NumPy Newton to 1e-10", "tuned Newton to 1e-10")]
    claims.append(against("engine loop", ">=", 2.5))
    for name in study["equal_error"].values():
        note = f" (error {error[name]:.1e}, engine {error['engine batch']:.1e})"
        claims.append(against(name, note=note))
    return claims


def all_claims(results):
    """Every claim, in the order in which the tables show them."""
    return order_claims(results["models"]) + bootstrap_claims(results["bootstrap"])
