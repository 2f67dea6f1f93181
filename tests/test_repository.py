"""The repository itself: what lies at its top, what an import loads, one version, and documents that run as printed."""

import fnmatch
import inspect
import os
import re
import stat
import subprocess
import sys
import textwrap
import types
from importlib import metadata
from pathlib import Path

import pytest

import vittles_ng

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "vittles_ng"
MODULES = sorted(PACKAGE.rglob("*.py"))
METHODS = (types.FunctionType, property, classmethod, staticmethod)
DOCUMENTS_WITH_CODE = [
    "README.rst",
    *(f"docs/{name}.rst" for name in ("extending", "gradients", "hierarchical", "jackknife", "migration", "sparse")),
]

TOP_LEVEL = {
    ".ci",
    ".gitignore",
    ".pre-commit-config.yaml",
    "CHANGELOG.rst",
    "CITATION.cff",
    "LICENSE",
    "Makefile",
    "README.rst",
    "benchmarks",
    "docs",
    "notebooks",
    "pyproject.toml",
    "setup.py",
    "tests",
    "vittles_ng",
}


def read(name):
    return (ROOT / name).read_text(encoding="utf-8")


def find(pattern, name):
    found = re.search(pattern, read(name), re.MULTILINE)
    assert found, f"{name} has no line matching {pattern}"
    return found.group(1)


def run_python(code, folder):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "MPLBACKEND": "Agg"}
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )


def blocks_of(text, language):
    """Return the ``.. code-block::`` bodies in a language of a reStructuredText document, in order and dedented."""
    lines = text.expandtabs().splitlines()
    blocks = []
    for start, line in enumerate(lines):
        directive = re.fullmatch(rf"( *)\.\. code(?:-block)?:: *{language}", line)
        if directive is None:
            continue
        indent = len(directive.group(1))
        body = []
        for following in lines[start + 1 :]:
            if following.strip() and len(following) - len(following.lstrip()) <= indent:
                break
            body.append(following)
        blocks.append(textwrap.dedent("\n".join(body)).strip("\n") + "\n")
    return blocks


def test_top_level_is_what_was_agreed():
    ignored = [line.strip("/") for line in read(".gitignore").split()]
    present = {
        path.name
        for path in ROOT.iterdir()
        if path.name != ".git" and not any(fnmatch.fnmatch(path.name, pattern) for pattern in ignored)
    }
    assert present == TOP_LEVEL


@pytest.mark.parametrize("name", [".ci/run", ".ci/setup"])
def test_scripts_are_executable_and_stop_at_the_first_error(name):
    assert (ROOT / name).stat().st_mode & stat.S_IXUSR
    assert "set -euo pipefail" in read(name)


def test_license_is_apache():
    text = read("LICENSE")
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text


def test_one_version():
    assert "version=read_version()," in read("setup.py")
    stated = {
        "CHANGELOG.rst": find(r"^(\d+\.\d+\.\d+)$", "CHANGELOG.rst"),
        "CITATION.cff": find(r"^version: (\S+)$", "CITATION.cff"),
        "vittles_ng/__init__.py": find(r'^__version__ = "([^"]+)"$', "vittles_ng/__init__.py"),
    }
    assert stated == dict.fromkeys(stated, vittles_ng.__version__)


def test_one_ruff():
    assert find(r"rev: v(\S+)", ".pre-commit-config.yaml") == find(r'"ruff==([^"]+)"', "setup.py")


def test_import_loads_no_optional_dependency(tmp_path):
    optional = ("statsmodels", "matplotlib", "pandas", "patsy", "tqdm", "sksparse", "sklearn")
    code = f"import sys, vittles_ng; print([name for name in {optional} if name in sys.modules])"
    done = run_python(code, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "[]\n"


def test_command_line_is_installed():
    scripts = metadata.entry_points(group="console_scripts", name="vittles-ng")
    assert [script.load().__module__ for script in scripts] == ["vittles_ng.cli"]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_modules_are_finished_and_documented(path):
    source = path.read_text(encoding="utf-8")
    assert not re.search(r"\b(TODO|FIXME|XXX|HACK)\b", source)
    assert source.startswith('"""'), "a module opens with its docstring"


@pytest.mark.parametrize("name", vittles_ng.__all__)
def test_public_names_have_docstrings(name):
    value = getattr(vittles_ng, name)
    if inspect.ismodule(value) or callable(value):
        assert inspect.getdoc(value)
    if inspect.isclass(value):
        methods = [
            key for key, member in vars(value).items() if not key.startswith("_") and isinstance(member, METHODS)
        ]
        assert [key for key in methods if not inspect.getdoc(getattr(value, key))] == []


def test_blocks_are_found():
    text = "Text\n\n.. code-block:: python\n\n    if a:\n        b = 2\n\n    c = 3\n\nMore::\n\n    not python\n"
    assert blocks_of(text, "python") == ["if a:\n    b = 2\n\nc = 3\n"]


@pytest.mark.parametrize("name", DOCUMENTS_WITH_CODE)
def test_documented_code_runs_as_printed(name, tmp_path):
    """A reader copies the blocks from top to bottom into one session, so they run as one script."""
    blocks = blocks_of(read(name), "python")
    assert blocks, f"{name} has no '.. code-block:: python'"
    done = run_python("\n".join(blocks), tmp_path)
    assert done.returncode == 0, done.stderr
    if name == "README.rst":
        assert done.stdout == "".join(blocks_of(read(name), "text"))


def test_readme_shows_the_benchmark():
    assert read("benchmarks/results/readme.rst").strip() in read("README.rst")
