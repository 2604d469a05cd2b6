"""What is written down is true: docstrings exist, commands parse, links resolve, code compiles, nothing local leaks."""

import ast
import importlib
import inspect
import re
import shlex
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path

import numpy as np
import pytest

import sclaws

ROOT = Path(__file__).parents[1]
SRC = ROOT / "src" / "sclaws"
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
VERBS = ("check", "demo", "design", "fit", "keys", "list", "report", "run", "saturation", "score", "status", "trial")


def tracked() -> list[Path]:
    """Return the text files of the checkout: those that git knows or would add."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("not a git checkout")
    paths = [ROOT / line for line in done.stdout.splitlines()]
    return [path for path in paths if path.is_file() and b"\0" not in path.read_bytes()[:8192]]


def ids(path: Path) -> str:
    return str(path.relative_to(ROOT))


# ── docstrings ───────────────────────────────────────────────────────────────────────────────────────────────────────
def public(node: ast.AST, prefix: str) -> list[tuple[str, str | None]]:
    """Return (name, docstring) of every public definition in a module or class."""
    found = []
    for child in getattr(node, "body", []):
        if isinstance(child, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and not child.name.startswith("_"):
            if any("overload" in ast.unparse(decorator) for decorator in child.decorator_list):
                continue
            found.append((f"{prefix}.{child.name}", ast.get_docstring(child)))
            if isinstance(child, ast.ClassDef):
                found += public(child, f"{prefix}.{child.name}")
    return found


@pytest.mark.parametrize("path", sorted(SRC.rglob("*.py")), ids=ids)
def test_every_public_name_has_a_docstring(path):
    tree = ast.parse(path.read_text())
    names = [(path.stem, ast.get_docstring(tree)), *public(tree, path.stem)]
    assert not [name for name, text in names if not text]


# ── commands ─────────────────────────────────────────────────────────────────────────────────────────────────────────
def code_blocks(page: Path, *languages: str) -> list[str]:
    """Return the fenced blocks of these languages."""
    blocks = re.findall(r"^```(\w*)[^\n]*\n(.*?)^```", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    return [body for language, body in blocks if language in languages]


def commands(text: str) -> list[list[str]]:
    """Return the words of every ``sclaws …`` and ``./run …`` command: continued lines joined, comments dropped."""
    found = []
    for line in text.replace("\\\n", " ").splitlines():
        line = line.strip().removeprefix("$ ")
        if line.startswith(("sclaws ", "./run ")):
            found.append(shlex.split(line, comments=True)[1:])
    return found


def documented() -> list[tuple[str, list[str]]]:
    return [
        (page.name, words)
        for page in PAGES
        for block in code_blocks(page, "sh", "bash", "console", "shell")
        for words in commands(block)
        if words and words[0] != "test" and not words[0].isupper()  # ./run test and ./run ANYTHING are the script's own
    ]


@cache
def help_of(verb: str) -> str:
    done = subprocess.run(
        [sys.executable, "-P", "-m", "sclaws", verb, "--help"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(verb):
    assert verb in help_of(verb)


@pytest.mark.parametrize(("page", "words"), documented(), ids=lambda value: " ".join(value) if value else "")
def test_documented_command_exists(page, words):
    if words[0].startswith("-"):
        words = ["list", *words]  # the options of sclaws itself are in every help
    text = help_of(words[0])
    for option in (word.partition("=")[0] for word in words[1:] if word.startswith("--")):
        assert option in {"--help", "--version"} or re.search(rf"{option}\b", text), (
            f"{page}: sclaws {words[0]} has no {option}"
        )


def test_readme_names_the_two_commands():
    assert ["demo"] in [words for page, words in documented() if page == "README.md"]
    assert "./run test" in (ROOT / "README.md").read_text()
    assert "./run test" in (ROOT / ".ci" / "run").read_text(), "the continuous integration runs the README's test"


# ── pages ────────────────────────────────────────────────────────────────────────────────────────────────────────────
def anchors(page: Path) -> set[str]:
    """Return the anchors that the headings of a page get."""
    headings = re.findall(r"^#+ +(.+)$", page.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_links_resolve(page):
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        there = (page.parent / file).resolve() if file else page
        assert there.exists(), f"{page.name}: {target} does not exist"
        assert not anchor or anchor in anchors(there), f"{page.name}: {target} has no such heading"


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_code_compiles(page):
    for block in code_blocks(page, "python", "py"):
        compile(block, page.name, "exec")
    for block in code_blocks(page, "toml"):
        tomllib.loads(block)


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_imports_in_pages_exist(page):
    for block in code_blocks(page, "python", "py"):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("sclaws"):
                module = importlib.import_module(str(node.module))
                for alias in node.names:
                    assert hasattr(module, alias.name), f"{page.name}: {node.module} has no {alias.name}"


def test_the_readmes_own_model_and_law_keep_the_contracts():
    """Runs mine.py of the README: about 16 lines, nothing of ours imported, the right members."""
    (source,) = [b for b in code_blocks(ROOT / "README.md", "python") if "class" in b]
    lines = [line for line in source.splitlines() if line.strip() and not line.strip().startswith("#")]
    assert len(lines) <= 18
    assert "sclaws" not in source
    space: dict[str, object] = {}
    exec(compile(source, "mine.py", "exec"), space)
    classes = [value for value in space.values() if inspect.isclass(value) and value.__module__ == "builtins"]
    models = [c for c in classes if hasattr(c, "fit")]
    laws = [c for c in classes if hasattr(c, "predict")]
    assert models
    assert laws
    assert set(inspect.signature(models[0].fit).parameters) >= {"train", "valid", "seed"}
    assert list(inspect.signature(laws[0].predict).parameters) == ["self", "x", "theta"]
    assert laws[0].inputs
    assert all(len(bounds) == 2 for bounds in laws[0].params.values())


def test_the_readmes_study_is_valid(tmp_path):
    """Its words are known, its components exist, and it asks for as many trials as its reader would count."""
    anndata = pytest.importorskip("anndata")
    study, mine = code_blocks(ROOT / "README.md", "toml")
    (python,) = [block for block in code_blocks(ROOT / "README.md", "python") if "class" in block]
    (tmp_path / "mine.py").write_text(python)
    (tmp_path / "study.toml").write_text(study)
    (tmp_path / "mine.toml").write_text(re.sub(r"^models = .*$", mine.strip(), study, flags=re.MULTILINE))
    anndata.AnnData(np.ones((4, 2), dtype="float32")).write_h5ad(tmp_path / "cells.h5ad")
    trials = {run.trial.key for run in sclaws.Study.read(tmp_path / "study.toml").runs}
    assert len(trials) == 3 * 6 * 6 * 3  # models x cells x depths x replicates
    labels = {run.trial.label for run in sclaws.Study.read(tmp_path / "mine.toml").runs}
    assert labels == {"pca", "LogSVD(dim=16)"}


@pytest.mark.slow
def test_the_study_of_transformers_fits_laws_across_sizes(tmp_path):
    """With few genes and steps; each ``[[fit]]`` finds curves, whose points are models of several sizes."""
    pytest.importorskip("torch")
    from sclaws.datasets.simulated_tissue import SimulatedTissue

    text = code_blocks(ROOT / "docs" / "transformers.md", "toml")[0]
    for old, new in {'"all",': '"all", max_updates = 2,', '"XS"]': '"8x1x1x1"]', "[512]": "[8]", "4800": "450"}.items():
        assert old in text
        text = text.replace(old, new)
    (tmp_path / "study.toml").write_text(text)
    SimulatedTissue(n_cells=700, n_genes=20, depth=400, n_types=3).load().write_h5ad(tmp_path / "cells.h5ad")
    result = sclaws.Study.read(tmp_path / "study.toml").run(progress=False)
    rows = result.fits.frame
    assert not result.failed
    assert not rows["verdict"].str.contains("underpowered").any()
    assert sorted(rows["law"]) == ["chinchilla", *["power-with-floor"] * 3]


# ── nothing local ────────────────────────────────────────────────────────────────────────────────────────────────────
def test_no_machine_paths_or_registry_addresses():
    # Spelt in pieces, so that this file does not contain what it looks for.
    places = ("work", "root", "opt", "home", "Users", "mnt")
    path = re.compile(r"(?<![\w.*}\]~/-])/(?:" + "|".join(places) + r")/\w")
    servers = (r"files\.python" + "hosted", r"pypi\." + "org/simple", r"download\.py" + "torch", "index-" + r"url ?=")
    address = re.compile("|".join(servers))
    leaks = [
        f"{file.relative_to(ROOT)}:{number}: {line.strip()[:100]}"
        for file in tracked()
        for number, line in enumerate(file.read_text(errors="replace").splitlines(), 1)
        if path.search(line) or address.search(line)
    ]
    assert not leaks


def test_changelog_and_citation_agree_with_the_package():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f"## {version}" in (ROOT / "CHANGELOG.md").read_text()
    assert f"version: {version}" in (ROOT / "CITATION.cff").read_text()


def test_every_page_of_the_docs_is_on_the_map():
    index = (ROOT / "docs" / "index.md").read_text()
    pages = [page for page in (ROOT / "docs").rglob("*.md") if page.name != "index.md"]
    assert not [page.name for page in pages if page.relative_to(ROOT / "docs").as_posix() not in index]


@pytest.mark.parametrize("path", tracked(), ids=ids)
def test_no_half_of_a_merge_is_left(path):
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    assert not [line for line in lines if line.startswith(("<" * 7 + " ", ">" * 7 + " "))]
