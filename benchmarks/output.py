"""What a run leaves behind: the figures as JSON, compact reStructuredText tables, and a plot on logarithmic axes."""

import json
from math import ceil

from benchmarks.claims import all_claims

# The run itself keeps one process busy, and now and then a second BLAS thread.
QUIET_LOAD = 1.8
SHOWN_ORDERS = (2, 4, 6, 8)
COLUMNS = 3
MARKERS = {
    "engine": "o-",
    "vittles": "s-",
    "nested JVPs": "^-",
    "naive": "v-",
    "chord": "x--",
    "Newton": "+--",
    "products": ":",
}
LABELS = {
    "chord": "chord steps to the error of that order",
    "Newton": "Newton steps to the error of that order",
    "products": "products with X alone, 2 an order",
}


def rst_table(title, header, rows):
    """A simple table of reStructuredText under a bold title; cells are strings."""
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]
    rule = "  ".join("=" * width for width in widths)

    def line(cells):
        return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()

    return "\n".join([f"**{title}**", "", rule, line(header), rule, *map(line, rows), rule, ""])


def _number(value):
    """Three significant digits, without an exponent where it is short; a dash for what was not measured."""
    if value is None:
        return "\\-"
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _times(value, base):
    return "\\-" if value is None or base is None else _number(value / base)


def series_table(models):
    """Series methods at equal order: the engine's milliseconds, the others' multiples of them."""
    others = [name for name in MARKERS if any(name in record["seconds"] for record in models.values())][1:]
    rows = []
    for record in models.values():
        seconds = record["seconds"]
        for order in SHOWN_ORDERS:
            base = seconds["engine"].get(order)
            if base is not None:
                ratios = [_times(seconds.get(name, {}).get(order), base) for name in others]
                products = _times(base, record["products"].get(order))
                rows.append([record["title"], str(order), _number(1e3 * base), *ratios, products])
    header = ["model", "order", "engine, ms", *(f"{name} / engine" for name in others), "engine / products"]
    return rst_table("One new direction, at equal order", header, rows)


def equal_error_table(models):
    """Solvers of the exact problem, stopped at the error of the series: their time over the engine's."""
    rows = []
    for record in models.values():
        for order in SHOWN_ORDERS:
            base = record["seconds"]["engine"].get(order)
            if base is None:
                continue
            cells = [record["title"], str(order), f"{record['error'][order]:.1e}"]
            for solver in ("chord", "Newton"):
                reached = record["equal_error"][solver][order]
                cells.append(f"{_number(reached['seconds'] / base)} ({reached['steps']})" if reached else "not reached")
            rows.append(cells)
    header = ["model", "order", "error", "chord / engine (steps)", "Newton / engine (steps)"]
    return rst_table("One refit, at equal achieved error (in standard errors, root mean square)", header, rows)


def first_call_table(models):
    """From the bare objective to the first value, beside a later value."""
    rows = []
    for record in models.values():
        for method, first in record["first_call"].items():
            later = record["seconds"][method][first["order"]]
            cells = [record["title"], method, str(first["order"]), _number(1e3 * first["seconds"])]
            rows.append([*cells, _number(1e3 * later)])
    header = ["model", "method", "order", "first call, ms", "later calls, ms"]
    return rst_table(
        "First call (Hessian, factor, tape, value) and later ones (value in a new direction)", header, rows
    )


def bootstrap_table(study):
    """Many refits on one core."""
    speed, error = study["refits_per_second"], study["error"]
    rows = [
        [name, _number(speed[name]), f"{error[name]:.1e}", _number(speed["engine batch"] / speed[name])]
        for name in speed
    ]
    header = ["method", "refits / s", "error", "engine batch / it"]
    title = f"{study['n_resamples']} bootstrap refits of {study['model']}, order {study['order']}, on one core"
    return rst_table(title, header, rows)


def claims_table(results):
    """Every figure that is asked for, and whether it was reached."""
    rows = []
    for claim in all_claims(results):
        asked = "\\-" if claim.target is None else f"{claim.relation} {claim.target:g}"
        verdict = "\\-" if claim.verdict == "-" else claim.verdict
        rows.append([claim.text, asked, _number(claim.measured), verdict])
    return rst_table("What is asked", ["ratio", "asked", "measured", "verdict"], rows)


def readme_table(results):
    """The few figures that the README shows: one new direction at order 4, and many refits on one core."""
    rows = []
    for record in results["models"].values():
        seconds, order = record["seconds"], 4
        base = seconds["engine"][order]
        others = [_times(seconds.get(name, {}).get(order), base) for name in ("vittles", "nested JVPs", "naive")]
        exact = [record["equal_error"][solver][order] for solver in ("chord", "Newton")]
        exact = [_number(reached["seconds"] / base) if reached else "not reached" for reached in exact]
        rows.append([record["title"], _number(1e3 * base), *others, *exact, f"{record['error'][order]:.1e}"])
    header = ["model", "engine, ms", "vittles", "nested JVPs", "naive", "chord", "Newton", "error"]
    title = "One new direction at order 4: the others' time over the engine's (chord, Newton: at the engine's error)"
    return "\n".join([rst_table(title, header, rows), bootstrap_table(results["bootstrap"])])


def tables(results):
    """All tables with a line on the machine, one reStructuredText document."""
    machine = results["machine"]
    origin = (
        f"Made by ``python -m benchmarks`` on {machine['date']}: {machine['cpu']}, {machine['cores']} cores, Python "
        f"{machine['python']}, NumPy {machine['numpy']}, {machine['blas']}, load "
        f"{machine['load_before']} before and {machine['load_after']} after. Ratios within one run; a dash: over "
        f"{results['budget']:g} s, failed, or not applicable."
    )
    if machine["load_after"] is not None and machine["load_after"] > QUIET_LOAD:
        origin += " Other work ran beside it: it slows long calls more than short ones, so do not quote these figures."
    models = results["models"]
    failures = [
        f"{record['title']}: {method} fails at {how}\n"
        for record in models.values()
        for method, how in record["failures"].items()
    ]
    parts = [series_table(models), equal_error_table(models), first_call_table(models)]
    return "\n".join([origin, "", *failures, *parts, bootstrap_table(results["bootstrap"]), claims_table(results)])


def plot_orders(models, path):
    """Time against order, one panel a model, logarithmic in time; saved to `path`."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    n_rows = ceil((len(models) + 1) / COLUMNS)
    figure, axes = plt.subplots(n_rows, COLUMNS, figsize=(12.0, 3.8 * n_rows), sharex=True, squeeze=False)
    panels = list(axes.flat)
    handles = {}
    for ax, record in zip(panels, models.values(), strict=False):
        curves = {**record["seconds"], "products": record["products"]}
        for solver, by_order in record["equal_error"].items():
            curves[solver] = {order: reached["seconds"] for order, reached in by_order.items() if reached}
        for name, style in MARKERS.items():
            if curves.get(name):
                orders = sorted(curves[name])
                times = [1e3 * curves[name][order] for order in orders]
                handles[name] = ax.semilogy(orders, times, style, color=f"C{list(MARKERS).index(name)}", ms=5)[0]
        ax.set(title=record["title"], xlabel="order", ylabel="time of one refit (ms)")
        ax.tick_params(labelbottom=True)
        ax.grid(alpha=0.3)
    for ax in panels[len(models) :]:
        ax.axis("off")
    ordered = [name for name in MARKERS if name in handles]
    panels[-1].legend([handles[name] for name in ordered], [LABELS.get(name, name) for name in ordered], loc="center")
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)


def write(results, folder):
    """Write ``benchmark.json``, ``table.rst``, ``readme.rst`` and ``orders.png`` into `folder`; return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / name for name in ("benchmark.json", "table.rst", "readme.rst", "orders.png")]
    claims = [{**claim._asdict(), "verdict": claim.verdict} for claim in all_claims(results)]
    paths[0].write_text(json.dumps({**results, "claims": claims}, indent=1) + "\n")
    paths[1].write_text(tables(results))
    paths[2].write_text(readme_table(results))
    plot_orders(results["models"], paths[3])
    return paths
