"""The command ``vittles-ng``: bad input gives one line on stderr and exit status 2, never a traceback."""

import argparse
import os
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
        Exit status: 0; 2 after one line on stderr; 130 after Ctrl-C; 141 where the reader of a pipe has gone.

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
    try:
        # Imported here, so that --help and --version need no optional dependency.
        from .report import run_report

        run_report(
            path=options.data,
            formula=options.formula,
            family=options.family,
            output=options.output,
            order=options.order,
            n_resamples=options.resamples,
            seed=options.seed,
            groups=options.groups,
            labels=options.labels,
            max_refits=options.max_refits,
            json_file=options.json,
        )
        sys.stdout.flush()
    except BrokenPipeError:
        return _reader_gone()
    except (VittlesError, OSError) as error:
        print("vittles-ng:", " ".join(str(error).split()), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("vittles-ng: interrupted", file=sys.stderr)
        return 130
    return 0


def _reader_gone():
    """The status of a process that SIGPIPE ended; what is left in the buffer goes nowhere, silently."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 141


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
        help="standard errors, leave-one-out, influence and robustness of a fit, by expansion and verified",
        description="Fits a generalised linear model and reports on it: coefficients with classical, sandwich and "
        "clustered standard errors and bootstrap intervals, the leave-one-out loss, the most influential observations, "
        "how few of them reverse a conclusion. Refits are approximated by Taylor expansion and checked against exact "
        "ones. Prints tables; writes report.html, report.csv, coefficients.csv and figures. Without --data: a logistic "
        "regression on Fair's survey of extramarital affairs (6366 people, from statsmodels).",
    )
    add = report.add_argument
    add("--data", metavar="FILE.csv", help="comma-separated file with a header line; default: the survey")
    add("--formula", metavar='"y ~ x1 + x2"', help="model formula in patsy's language; needed with --data")
    families = ("binomial", "poisson", "gaussian")
    add("--family", choices=families, default="binomial", help="the response's distribution (%(default)s)")
    add("--groups", metavar="COLUMN", help="clusters: left out, resampled and summed in the sandwich together")
    add("--labels", metavar="COLUMN", help="names of the rows; default: their numbers, from 1")
    add("--output", metavar="FOLDER", default="report", help="where the page, tables and figures go (%(default)s)")
    add(
        "--json",
        metavar="FILE",
        nargs="?",
        const="-",
        help="everything as JSON into a file, or without a name to standard output, instead of the tables",
    )
    add("--order", metavar="K", type=_at_least(1), default=4, help="highest order of the expansions (%(default)s)")
    add("--resamples", metavar="N", type=_at_least(1), default=1000, help="of the bootstrap (%(default)s)")
    add(
        "--max-refits",
        metavar="N",
        type=_at_least(0),
        default=30,
        help="exact refits of each greedy search for few observations that reverse a conclusion (%(default)s)",
    )
    add("--seed", metavar="S", type=_at_least(0), default=0, help="seed of the resamples (%(default)s)")
    return parser
