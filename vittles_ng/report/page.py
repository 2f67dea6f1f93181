"""The report as one self-contained HTML page: figures are in it, nothing is loaded from elsewhere."""

import base64
from pathlib import Path

from ..errors import optional_import
from .sections import summary

__all__ = ["page"]

TEMPLATE = Path(__file__).with_name("page.html")


def page(contents, sections, images):
    """The page.

    Parameters
    ----------
    contents : Contents
    sections : list of Section
    images : dict of str to bytes
        PNG files by the name of the figure.

    Returns
    -------
    str
    """
    jinja2 = optional_import("jinja2")
    # The names and the formula are the user's: everything is escaped.
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    embedded = {name: base64.b64encode(image).decode("ascii") for name, image in images.items()}
    return template.render(contents=contents, sections=sections, summary=summary(contents), images=embedded)
