"""The scripts of docs/cluster.md do what the page says: they are cut out of it and run, on a small simulated study."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
PAGE = Path(__file__).parents[2] / "docs" / "cluster.md"
SRC = Path(__file__).parents[2] / "src"
STUDY = """
replicates = 2
engine = "serial"
dataset = { use = "simulated-tissue", n_cells = 400, n_genes = 80 }
split = { test = 0.4 }
models = ["random-projection", { use = "pca", dim = 4 }]
signals = { use = "obsm", key = "protein" }
scores = "gaussian"
levels.umis_per_cell = [50, 500, "all"]
"""


def block(*says: str) -> str:
    """Return the one block of code of the page that says all this."""
    blocks = re.findall(r"^```\w+\n(.*?)^```", PAGE.read_text(), flags=re.MULTILINE | re.DOTALL)
    (found,) = [body for body in blocks if all(each in body for each in says)]
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the study, and beside it ``sclaws`` as it would be on the PATH."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "sclaws").write_text(f'#!/bin/sh\nexec "{sys.executable}" -P -m sclaws "$@"\n')
    (tmp_path / "bin" / "sclaws").chmod(0o755)
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "study.toml").write_text(STUDY)
    return tmp_path / "here"


def start(folder: Path, script: str, **more: str) -> subprocess.Popen[str]:
    path = f"{folder.parent / 'bin'}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "PYTHONPATH": str(SRC), "OMP_NUM_THREADS": "1"} | more
    return subprocess.Popen(
        ["sh", "-c", script], cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def run(folder: Path, script: str, status: int = 0, **more: str) -> str:
    """Return what a script says that ends with this status."""
    process = start(folder, script, **more)
    out, said = process.communicate()
    assert process.returncode == status, f"{script}\n{out}{said}"
    return out


def trained(*said: str) -> int:
    return sum(int(count) for count in re.findall(r"(\d+) trained", "\n".join(said)))


def assert_all_is_there(folder: Path) -> None:
    """The table is that of one sweep in one process."""
    assert run(folder, "sclaws keys study.toml") == ""
    run(folder, "sclaws run study.toml --out alone")
    assert (folder / "study.sclaws" / "table.csv").read_bytes() == (folder / "alone" / "table.csv").read_bytes()


def test_a_slurm_array(folder):
    """Each job with its number, one more than there are lines; one is begun twice at once, and one again."""
    submit, script = block("sbatch --array", "keys.txt"), block("#SBATCH")
    (folder / "array.sh").write_text(script)
    run(folder, submit.partition("mkdir")[0])
    lines = (folder / "keys.txt").read_text().splitlines()
    assert len(lines) >= 2
    assert sum(len(line.split()) for line in lines) == 12
    twice = [start(folder, "sh array.sh", SLURM_ARRAY_TASK_ID="1") for _ in range(2)]
    said = [process.communicate()[0] for process in twice]
    assert {process.returncode for process in twice} <= {0, 1}
    run(folder, "sclaws report study.toml", status=1)
    said += [run(folder, "sh array.sh", SLURM_ARRAY_TASK_ID=str(n)) for n in range(1, len(lines) + 2)]
    assert "0 trials: 0 trained" in said[-1]
    assert trained(*said) == 12
    run(folder, "sclaws report study.toml")
    assert_all_is_there(folder)


def test_several_lines_for_a_job_of_the_array(folder):
    """With two lines a job, all lines are done and none by two jobs."""
    (folder / "array.sh").write_text(block("#SBATCH").replace("exec sclaws", "echo"))
    (folder / "keys.txt").write_text("".join(f"a{n} b{n}\n" for n in range(5)))
    said = [run(folder, "sh array.sh", SLURM_ARRAY_TASK_ID=str(n), lines="2") for n in (1, 2, 3, 4)]
    assert [text.split()[2:] for text in said] == [
        ["a0", "b0", "a1", "b1"], ["a2", "b2", "a3", "b3"], ["a4", "b4"], []
    ]  # fmt: skip


def test_xargs(folder):
    both = block("xargs -r -L 1")
    assert trained(run(folder, both.replace("-P 4", "-P 2"))) == 12
    assert trained(run(folder, both)) == 0, "nothing is done twice"
    assert_all_is_there(folder)


def test_snakemake(folder):
    if not shutil.which("snakemake"):
        pytest.skip("snakemake is not on the PATH")
    (folder / "Snakefile").write_text(block("rule trials"))
    script = block("snakemake --cores").replace("--cores 4", "--cores 2")
    run(folder, script)
    assert (folder / "study.sclaws" / "table.csv").exists()
    assert_all_is_there(folder)
    (folder / "study.toml").write_text(STUDY.replace("[50, 500", "[50, 150, 500"))
    assert len(run(folder, "sclaws keys study.toml").split()) == 4
    run(folder, script)
    (folder / "alone" / "table.csv").unlink()
    assert_all_is_there(folder)
