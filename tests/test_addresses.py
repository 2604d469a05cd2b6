"""A corpus at an address: over http from a server of the test's own, and from fsspec's file system in memory."""

import functools
import http.server
import re
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import fsspec
import numpy as np
import pytest

from sclaws import Study, addresses
from sclaws.errors import DataError, PluginError
from sclaws.plugins import Spec
from sclaws.stored import Stored

STUDY = """
dataset = {{ use = "corpus", path = "{path}", in_memory_gb = {gb} }}
engine = {{ use = "processes", workers = 2 }}
models = [{{ use = "pca", dim = 4 }}]
signals = [{{ use = "obs", column = "type" }}]
scores = ["probe"]
levels.umis_per_cell = [50, "all"]
split = {{ test = 0.5, valid = 0.1 }}
"""


class Server(http.server.SimpleHTTPRequestHandler):
    """Files of a folder, whole or the bytes that are asked for, as any server of data does."""

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:  # the name that http.server calls
        file, asked = Path(self.translate_path(self.path)), self.headers.get("Range")
        if asked is None or not file.is_file():
            super().do_GET()
            return
        data = file.read_bytes()
        first, last = re.fullmatch(r"bytes=(\d*)-(\d*)", asked).groups()
        start, stop = (int(first), int(last or len(data) - 1) + 1) if first else (len(data) - int(last), len(data))
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(data[start:stop])))
        self.end_headers()
        self.wfile.write(data[start:stop])


@pytest.fixture(scope="module")
def home(corpus: Path) -> Path:
    return corpus.parent


@pytest.fixture(scope="module")
def address(home: Path) -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Server, directory=str(home))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(("text", "is_one"), [("s3://b/c.zarr", True), ("https://a/c", True), ("a/c.zarr", False)])
def test_what_an_address_is(text: str, is_one: bool) -> None:
    assert addresses.is_address(text) is is_one


@pytest.mark.parametrize("scheme", ["http", "memory"])
def test_the_same_corpus_as_on_this_disk(home: Path, address: str, scheme: str) -> None:
    where = f"{address}/tissue.zarr"
    if scheme == "memory":
        where = "memory://there/tissue.zarr"
        fsspec.filesystem("memory").put(str(home / "tissue.zarr"), "/there/tissue.zarr", recursive=True)
    there, here = Stored(where), Stored(home / "tissue.zarr")
    np.testing.assert_array_equal(there.cell_ids, here.cell_ids)
    assert there.obs.equals(here.obs) and there.var.equals(here.var)
    rows = np.array([3, 599, 17, 3])
    np.testing.assert_array_equal(there.X[rows].toarray(), here.X[rows].toarray())
    np.testing.assert_array_equal(there.names(rows), here.names(rows))


def test_a_study_at_an_address_is_the_study_of_the_folder(home: Path, address: str, tmp_path: Path) -> None:
    tables = []
    for name, path, gb in (("here", home / "tissue.zarr", 2), ("there", f"{address}/tissue.zarr", 0)):
        (tmp_path / f"{name}.toml").write_text(STUDY.format(path=path, gb=gb))
        study = Study.read(tmp_path / f"{name}.toml")
        tables.append(study.run(progress=False).table.frame)
        assert not study.store.failures()
    assert tables[0]["trial"].equals(tables[1]["trial"])  # data are known by their content, wherever they lie
    np.testing.assert_allclose(tables[0]["value"], tables[1]["value"], rtol=1e-6)


# ── what can be wrong ────────────────────────────────────────────────────────────────────────────────────────────────
def spec(path: str, use: str = "corpus") -> Spec:
    return Spec.of("datasets", {"use": use, "path": path})


def test_where_there_is_no_corpus_it_says_so(address: str) -> None:
    with pytest.raises(PluginError, match=r"tissue\.h5ad has no corpus .* nothing else is read from an address"):
        spec(f"{address}/tissue.h5ad", "h5ad").describe()
    with pytest.raises(DataError, match=r"absent\.zarr is no corpus"):
        Stored(f"{address}/absent.zarr")


def test_a_machine_that_does_not_answer_is_named() -> None:
    with pytest.raises(DataError, match=r"http://127\.0\.0\.1:9/c\.zarr.* cannot be reached .*see that the address"):
        spec("http://127.0.0.1:9/c.zarr").describe()


def test_a_scheme_that_nobody_knows_is_refused() -> None:
    with pytest.raises(DataError, match=r"nowhere://c\.zarr.* cannot be read .*install sclaws\[remote\]"):
        spec("nowhere://c.zarr").describe()


def test_a_missing_file_is_no_zeros(home: Path, address: str) -> None:
    broken = home / "broken.zarr"
    shutil.copytree(home / "tissue.zarr", broken)
    (broken / "X" / "data" / "c" / "0").unlink()
    with pytest.raises(DataError, match="1 of the 1 files of X/data are missing"):
        Stored(f"{address}/broken.zarr")
