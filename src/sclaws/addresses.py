"""Data that lie elsewhere: an address such as ``s3://bucket/corpus.zarr``, read through fsspec.

``https`` needs fsspec and aiohttp (``pip install sclaws[remote]``); any other scheme the package that fsspec names:
s3fs for ``s3``, gcsfs for ``gs``, adlfs for ``az``. Credentials and endpoints are what these packages find: their
environment variables, or fsspec's own settings (https://filesystem-spec.readthedocs.io/en/latest/features.html).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sclaws.errors import DataError


def is_address(path: object) -> bool:
    """Return whether a path is an address: a scheme, ``://`` and the rest."""
    return "://" in str(path) and not isinstance(path, Path)


def read(address: str) -> bytes | None:
    """Return the bytes of a file, ``None`` where there is none; raise ``DataError`` where nothing can be reached."""
    files, path = _opened(address)
    try:
        return bytes(files.cat_file(path))
    except FileNotFoundError:
        return None
    except Exception as error:  # each file system has its own
        raise _unreachable(address, error) from error


def count(address: str) -> int:
    """Return how many files are in a folder and its folders."""
    files, path = _opened(address)
    try:
        return sum(name.startswith(f"{path}/") for name in files.find(path))  # http finds an empty folder itself
    except FileNotFoundError:
        return 0
    except Exception as error:
        raise _unreachable(address, error) from error


def store(address: str) -> Any:
    """Return the folder as zarr reads it."""
    from zarr.storage import FsspecStore

    _opened(address)
    return FsspecStore.from_url(address, read_only=True)


def _opened(address: str) -> tuple[Any, str]:
    try:
        from fsspec.core import url_to_fs

        files, path = url_to_fs(address)
        return files, path
    except (ImportError, ValueError) as error:  # ValueError: a scheme that nobody knows
        raise DataError(
            f"{address} cannot be read ({error}): install sclaws[remote] and what its scheme needs, such as s3fs for "
            "s3, or copy it here"
        ) from error


def _unreachable(address: str, error: Exception) -> DataError:
    return DataError(
        f"{address} cannot be reached ({type(error).__name__}: {error}): see that the address is right, that there is "
        "a network, and that the credentials of its scheme are set on this machine"
    )
