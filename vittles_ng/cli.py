"""The command ``vittles-ng``: bad input gives one line on stderr and exit status 2, never a traceback."""

import argparse
import sys

from . import __version__
from .errors import VittlesError

__all__ = ["main"]


class _Parser(argparse.ArgumentParser):
    """Reports a wrong option in one line, as every other error of the command."""

    def error(self, message):
        self.exit(2, f"vittles-ng: {message} (vittles-ng --help)\n")


def main(argv=None):
    """Run the command line.

    Parameters
    ----------
    argv : list of str, optional
        Arguments without the program's name; default: those of the process.

    Returns
    -------
    int
        Exit status: 0, or 2 after one line on stderr.

    Raises
    ------
    SystemExit
        After ``--help`` and ``--version`` (status 0), and for a wrong option (status 2).

    Examples
    --------
    >>> main(["report", "--data", "nowhere.csv", "--formula", "y ~ x"])
    2
    """
    options = _parser().parse_args(argv)
    # Imported here, so that --help and --version need no optional dependency.
    from .report import run_report

    try:
        run_report(
            path=options.data,
            formula=options.formula,
            family=options.family,
            output=options.output,
            order=options.order,
            n_bootstrap=options.bootstrap,
            leave_out=options.leave_out,
            seed=options.seed,
        )
    except (VittlesError, OSError) as error:
        print("vittles-ng:", " ".join(str(error).split()), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("vittles-ng: interrupted", file=sys.stderr)
        return 130
    return 0


def _at_least(lowest):
    def read(text):
        value = int(text)
        if value < lowest:
            raise argparse.ArgumentTypeError(f"{value} is below {lowest}")
        return value

    read.__name__ = "int"
    return read


def _parser():
    parser = _Parser(
        prog="vittles-ng",
        description="Refits of a fitted model at new data weights or penalties, without solving again.",
    )
    parser.add_argument("--version", action="version", version=f"vittles-ng {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND", parser_class=_Parser)
    report = commands.add_parser(
        "report",
        help="leave-one-out, bootstrap and a ridge path by expansion, checked against exact refits",
        description="Fits a generalised linear model, approximates its leave-one-out, bootstrap and ridge-path refits "
        "by Taylor expansion, checks some of them against exact refits, and writes report.csv, coefficients.csv and "
        "report.png. Without "
        "--data: a logistic regression on Fair's survey of extramarital affairs (6366 people, from statsmodels).",
    )
    add = report.add_argument
    add("--data", metavar="FILE.csv", help="comma-separated file with a header line; default: the survey")
    add("--formula", metavar='"y ~ x1 + x2"', help="model formula in patsy's language; needed with --data")
    families = ("binomial", "poisson", "gaussian")
    add("--family", choices=families, default="binomial", help="the response's distribution (%(default)s)")
    add("--output", metavar="FOLDER", default="report", help="where the tables and the figure go (%(default)s)")
    add("--order", metavar="K", type=_at_least(1), default=4, help="highest order of the expansions (%(default)s)")
    add("--bootstrap", metavar="N", type=_at_least(1), default=200, help="number of resamples (%(default)s)")
    add(
        "--leave-out",
        metavar="N",
        type=_at_least(1),
        help="leave out only N observations, evenly spread; default: each",
    )
    add("--seed", metavar="S", type=_at_least(0), default=0, help="seed of the resamples (%(default)s)")
    return parser
