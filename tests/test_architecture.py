"""The house keeps its shape: direction of dependency, size of files and functions, names, doors, laziness.

``python tests/test_architecture.py`` prints the figures.
"""

import ast
import re
import statistics
import subprocess
import sys
import tomllib
from importlib.metadata import EntryPoint, entry_points, packages_distributions
from pathlib import Path

import grimp
import pytest

import sclaws
from sclaws import plugins

ROOT = Path(__file__).parents[1]
SRC = ROOT / "src" / "sclaws"
FILES = sorted(SRC.rglob("*.py"))
FORBIDDEN = {"base", "common", "config", "core", "helpers", "misc", "registry", "shared", "tools", "util", "utils"}
HEAVY = {"anndata", "h5py", "lightning", "scanpy", "scvi", "torch"}
LONGEST_FILE = 330  # "about 300"
ONE_PAGE = {"protocols.py": 440}  # the contracts are read together and stay together
LONGEST_FUNCTION = 60
MEDIAN_FUNCTION = 10

# Modules without a test file of their own, each with the reason.
UNMIRRORED = {
    "__init__": "its names and their laziness are tested below",
    "__main__": "two lines; every test of the documentation's commands goes through it",
    "protocols": "contracts without behaviour: testing.py holds every member of a family against them",
}


def functions(path: Path) -> dict[str, int]:
    """Return {qualified name: lines from ``def`` to the end, docstring and blank lines left out}."""
    source = path.read_text()
    lengths = {}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            body = source.splitlines()[node.lineno - 1 : node.end_lineno]
            text = ast.get_docstring(node, clean=False)
            lengths[f"{path.relative_to(SRC)}:{node.lineno} {node.name}"] = sum(1 for line in body if line.strip()) - (
                sum(1 for line in text.splitlines() if line.strip()) if text else 0
            )
    return lengths


FUNCTIONS = {name: length for path in FILES for name, length in functions(path).items()}
ENTRY_POINTS = [point for family in plugins.FAMILIES for point in entry_points(group=f"sclaws.{family}")]
OURS = [point for point in ENTRY_POINTS if point.value.startswith("sclaws.")]


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    """The graph of imports, those for type checkers alone left out."""
    return grimp.build_graph("sclaws", exclude_type_checking_imports=True, cache_dir=None)


def loaded_by(statement: str) -> set[str]:
    """Return the top-level packages that a fresh Python has loaded after the statement."""
    code = f"{statement}\nimport sys; print(' '.join({{name.partition('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


# ── direction ────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_imports_point_one_way():
    code = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    done = subprocess.run(
        [sys.executable, "-c", code, "--no-logo", "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def cycles(graph: grimp.ImportGraph) -> list[str]:
    """Return the modules that reach themselves."""
    return [module for module in sorted(graph.modules) if _reaches_itself(graph, module)]


def _reaches_itself(graph: grimp.ImportGraph, module: str) -> bool:
    return any(
        graph.find_shortest_chain(importer=imported, imported=module)
        for imported in graph.find_modules_directly_imported_by(module)
    )


def test_no_import_cycles(graph):
    assert not cycles(graph)


@pytest.mark.parametrize("family", [*plugins.FAMILIES, "studies"])
def test_members_of_a_family_do_not_know_each_other(graph, family):
    home = f"sclaws.{family}"
    members = {m for m in graph.modules if m.rpartition(".")[0] == home and not m.rpartition(".")[2].startswith("_")}
    known = {
        f"{importer} -> {imported}"
        for importer in sorted(graph.modules)
        if importer.startswith(f"{home}.")  # private modules of the family may not know its members either
        for imported in graph.find_modules_directly_imported_by(importer)
        if imported in members and imported != importer
    }
    assert not known


def distributions(requirements: list[str]) -> set[str]:
    """Return the normalised names of requirements: ``"scikit-learn>=1.5"`` -> ``scikit_learn``."""
    return {re.split(r"[^\w.-]", text)[0].lower().replace("-", "_") for text in requirements}


def test_every_package_that_is_imported_is_declared():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [text for texts in project["optional-dependencies"].values() for text in texts]
    declared = distributions([*project["dependencies"], *extras])
    imported = {
        name.partition(".")[0]
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text()))
        for name in _imported(node)
    } - {"sclaws", *sys.stdlib_module_names}
    home = packages_distributions()
    missing = {
        name for name in imported if not {d.lower().replace("-", "_") for d in home.get(name, [name])} & declared
    }
    assert not missing, f"imported, but not among the dependencies in pyproject.toml: {missing}"


def _imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module] if isinstance(node, ast.ImportFrom) and node.module and not node.level else []


# ── size and names ───────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SRC)))
def test_files_are_short(path):
    lines = len(path.read_text().splitlines())
    assert lines <= ONE_PAGE.get(path.name, LONGEST_FILE), (
        f"{path.name} has {lines} lines: part it by purpose, not by size"
    )


def test_functions_are_short():
    too_long = {name: length for name, length in FUNCTIONS.items() if length > LONGEST_FUNCTION}
    assert not too_long
    assert statistics.median(FUNCTIONS.values()) < MEDIAN_FUNCTION


@pytest.mark.parametrize("path", [*FILES, *(p for p in SRC.rglob("*") if p.is_dir())], ids=lambda p: p.name)
def test_names_say_what_for(path):
    assert path.stem.strip("_") not in FORBIDDEN, f"{path.name} names no purpose"


@pytest.mark.parametrize("folder", sorted({path.parent for path in FILES}), ids=lambda p: p.name)
def test_folders_are_packages(folder):
    assert (folder / "__init__.py").is_file(), f"{folder.name} has no __init__.py, and no check would see inside"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SRC)))
def test_tests_mirror_the_source(path):
    inside = path.relative_to(SRC).with_suffix("")
    if str(inside) in UNMIRRORED or any(part.startswith("_") for part in inside.parts):
        return  # a private module or a package's face is tested through the public ones that it serves
    if len(inside.parts) > 1 and inside.parts[0] not in plugins.FAMILIES:
        step = inside.parts[0]  # has become a folder, and is tested through its public face
        assert [*ROOT.glob(f"tests/test_{step}.py"), *ROOT.glob(f"tests/{step}/test_*.py")], f"no test of {step}"
        return
    side_by_side = ROOT / "tests" / inside.parent / f"test_{inside.parent.name}.py"  # members of a family, all in one
    module = ".".join(["sclaws", *inside.parts])
    if side_by_side.is_file() and re.search(rf"\b{module}\b", side_by_side.read_text()):
        return
    twin = ROOT / "tests" / inside.parent / f"test_{inside.name}.py"
    assert twin.is_file(), f"src/sclaws/{inside}.py has no {twin.relative_to(ROOT)}"


# ── doors ────────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_every_family_has_members():
    assert {point.group for point in OURS} == {f"sclaws.{family}" for family in plugins.FAMILIES}


@pytest.mark.parametrize("point", OURS, ids=lambda point: f"{point.group.removeprefix('sclaws.')}:{point.name}")
def test_entry_point_loads(point: EntryPoint):
    member = point.load()
    assert isinstance(member.version, int)
    assert member.__module__ == point.module, "a member is the one file that bears its name"
    assert member.__doc__


@pytest.mark.parametrize("family", plugins.FAMILIES)
def test_every_member_has_an_entry_point(family):
    files = {path.stem for path in (SRC / family).glob("*.py") if not path.stem.startswith("_")}
    assert files == {point.module.rpartition(".")[2] for point in OURS if point.group == f"sclaws.{family}"}


# ── laziness ─────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_import_of_the_package_costs_nothing():
    assert not loaded_by("import sclaws") & {*HEAVY, "numpy", "pandas", "scipy"}


@pytest.mark.parametrize("name", ["cli", "table", "fit", "report", "laws.noise", "laws.constant"])
def test_analysis_and_command_line_load_without_heavy_packages(name):
    assert not loaded_by(f"import sclaws.{name}") & HEAVY


@pytest.mark.parametrize("name", sclaws.__all__)
def test_public_names_exist(name):
    assert getattr(sclaws, name).__module__.startswith("sclaws.")


def test_steps_come_with_the_package():
    """``import sclaws`` is enough for ``sclaws.fit.fit``; a fresh Python, because here it may be loaded already."""
    code = "import sclaws; assert callable(sclaws.fit.fit); assert callable(sclaws.report.write)"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_unknown_public_name_is_refused():
    with pytest.raises(AttributeError, match="no attribute 'Sweeep'; it has Estimate"):
        _ = sclaws.Sweeep


def test_version_is_that_of_the_installed_package():
    assert sclaws.__version__.count(".") == 2


if __name__ == "__main__":
    sizes = {str(path.relative_to(SRC)): len(path.read_text().splitlines()) for path in FILES}
    lengths = sorted(FUNCTIONS.values())
    longest_file = max(sizes.items(), key=lambda item: item[1])
    longest_function = max(FUNCTIONS.items(), key=lambda item: item[1])
    found = grimp.build_graph("sclaws", exclude_type_checking_imports=True, cache_dir=None)
    print(f"files               {len(sizes)}, {sum(sizes.values())} lines, longest {longest_file}")
    print(f"functions           {len(lengths)}, median {statistics.median(lengths)}, longest {longest_function}")
    print(f"                    90 % have at most {lengths[len(lengths) * 9 // 10]} lines")
    print(f"import cycles       {len(cycles(found))}")
    print("files to add a law  3: src/sclaws/laws/NAME.py, one line of pyproject.toml, tests/laws/test_NAME.py")
