"""The main job: refit a model approximately many times, verify against exact refits, and report."""

from .run import run_report

__all__ = ["run_report"]
