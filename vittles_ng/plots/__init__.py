"""Figures: each takes an axes and returns it, and is labelled with the data's own names."""

from .gradients import plot_gradient_errors, plot_step_sizes, plot_unrolling
from .orders import plot_coefficients, plot_error_against_order, plot_refit_errors
from .paths import plot_path, plot_penalty_path
from .report import plot_changes, plot_influence, plot_intervals, plot_reversals, report_figure

__all__ = [
    "plot_changes",
    "plot_coefficients",
    "plot_error_against_order",
    "plot_gradient_errors",
    "plot_influence",
    "plot_intervals",
    "plot_path",
    "plot_penalty_path",
    "plot_refit_errors",
    "plot_reversals",
    "plot_step_sizes",
    "plot_unrolling",
    "report_figure",
]
