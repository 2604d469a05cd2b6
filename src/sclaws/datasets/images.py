"""Images: a folder with a sub-folder for each class, or arrays in an ``.npz`` file."""

from __future__ import annotations

import contextlib
import warnings
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import anndata
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sclaws.errors import DataError, PluginError, did_you_mean
from sclaws.hashing import name_ids, ranked
from sclaws.image_averaging import area_weights

_KINDS = {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
_GREY = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R BT.601, as Pillow weighs colours
_FULL = {"uint8": 255.0, "uint16": 65535.0, "bool": 1.0}
_SIXTEEN = ("PNG", "PPM")  # formats of at most 16 bits, which Pillow may give in 32


@dataclass(frozen=True)
class Images:
    """Images of one size. ``path`` is a folder whose sub-folders are the classes, or an ``.npz`` file.

    In a folder every file that ends like an image (jpg, png, tif, webp, bmp, gif, ppm, pgm) is read with Pillow;
    ``obs["label"]`` is its sub-folder, its name the path below ``path``; transparency is left out, whatever colour lies
    under it counts. Of an ``.npz`` the array ``images`` is read,
    (n, h, w) or (n, h, w, 1 or 3), of bytes, of 16 bits or of floats in [0, 1], and ``labels`` (n,) becomes
    ``obs["label"]`` (``labels`` = "": there are none); names are i0, i1, ... in its order.

    ``size`` makes all images squares of so many pixels a side: the largest square about the middle, averaged over area
    (repeated, where it has fewer pixels); without it they stay as they are and must be equal. ``colour`` is what they
    become. ``classes`` keeps the images of these labels, ``limit`` so many of those, chosen by a hash of their names.

    ``load`` gives dense float32 ``X`` (n, h·w·channels) in [0, 1] and ``var`` with y, x and channel (from 0; y down).
    """

    path: str
    size: int | None = None
    colour: Literal["rgb", "grey"] = "rgb"
    classes: tuple[str, ...] | None = None
    limit: int | None = None
    images: str = "images"
    labels: str = "labels"
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        for name in ("size", "limit"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise PluginError(f"images: {name} = {value} must be at least 1")
        if self.colour not in ("rgb", "grey"):
            raise PluginError(f"images: colour = {self.colour!r} is none of rgb, grey")

    def load(self) -> anndata.AnnData:
        """Return the images; raise ``DataError`` naming the file, what is wrong with it, and the remedy."""
        path = Path(self.path).expanduser()
        labels: list[str] | None
        if path.is_dir():
            names, labels, read = _of_folder(path)
        elif path.is_file():
            names, labels, read = _of_arrays(path, self.images, self.labels)
        else:
            raise DataError(f"{path} does not exist; give a folder or an npz file, relative to the study file")
        rows = self._kept(names, labels)
        values, shape = self._values(rows, [names[row] for row in rows], read)
        obs = pd.DataFrame(index=[names[row] for row in rows])
        if labels is not None:
            obs["label"] = pd.Categorical([labels[row] for row in rows])
        y, x, channel = (place.ravel() for place in np.indices(shape))
        places = [f"y{j}x{i}c{c}" for j, i, c in zip(y, x, channel, strict=True)]
        return anndata.AnnData(values, obs=obs, var=pd.DataFrame({"y": y, "x": x, "channel": channel}, index=places))

    def _kept(self, names: Sequence[str], labels: Sequence[str] | None) -> list[int]:
        rows = list(range(len(names)))
        if self.classes is not None:
            if labels is None:
                raise DataError(f"{self.path}: classes = {list(self.classes)} needs labels; name their array")
            if unknown := [label for label in self.classes if label not in labels]:
                raise DataError(f"{self.path} has no class {unknown[0]!r}; {did_you_mean(unknown[0], set(labels))}")
            rows = [row for row in rows if labels[row] in self.classes]
        if self.limit is not None:
            order = ranked(name_ids(names[row] for row in rows), 0)[: self.limit]
            rows = [rows[at] for at in np.sort(order)]
        return rows

    def _values(self, rows: list[int], names: list[str], read: Any) -> tuple[NDArray[np.float32], tuple[int, int, int]]:
        """Return (n, h·w·channels) values of these rows, and (h, w, channels); all images are held once."""
        values, shape = np.empty((0, 0), dtype=np.float32), (0, 0, 0)
        for at, image in enumerate(map(self._made, read(rows))):
            if not at:
                shape = (image.shape[0], image.shape[1], image.shape[2])
                values = np.empty((len(rows), image.size), dtype=np.float32)
            elif image.shape != shape:
                raise DataError(
                    f"{self.path}: {names[at]} is {image.shape[1]} x {image.shape[0]} pixels, and {names[0]} is "
                    f"{shape[1]} x {shape[0]}; images must be of one size: write size = 64, say"
                )
            values[at] = image.ravel()
        return values, shape

    def _made(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return an (h, w, 1 or 3) image in the size and the colour that are asked for."""
        if self.colour == "grey" and image.shape[2] == 3:
            image = (image @ _GREY)[..., None]
        if self.size is not None and image.shape[:2] != (self.size, self.size):
            image = _square(image, self.size)
        return np.repeat(image, 3, axis=2) if self.colour == "rgb" and image.shape[2] == 1 else image


def _square(image: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    side = min(image.shape[:2])
    top, left = ((n - side) // 2 for n in image.shape[:2])
    weights = area_weights(side, size).astype(np.float32)
    middle = np.moveaxis(image[top : top + side, left : left + side], 2, 0)
    return np.moveaxis(weights @ middle @ weights.T, 0, 2).clip(0, 1)


# ── a folder ─────────────────────────────────────────────────────────────────────────────────────────────────────────
def _of_folder(folder: Path) -> tuple[list[str], list[str], Any]:
    """Return names, labels, and what reads the images of some rows."""
    names = [
        file.relative_to(folder).as_posix()
        for part in folder.iterdir()  # a class may be a link to a folder elsewhere, which rglob would pass over
        for file in (part, *part.rglob("*"))
        if file.suffix.lower() in _KINDS and not _hidden(file.relative_to(folder)) and file.is_file()
    ]
    if not names:
        raise DataError(f"{folder} has no images; put a sub-folder for each class there, with jpg, png or tif files")
    if loose := [name for name in names if "/" not in name]:
        raise DataError(f"{folder}: {min(loose)} lies in no sub-folder; a sub-folder is a class: move it into one")
    names.sort()

    def read(rows: Iterable[int]) -> Iterator[NDArray[np.float32]]:
        return (_opened(folder / names[row]) for row in rows)

    return names, [name.partition("/")[0] for name in names], read


def _hidden(path: Path) -> bool:
    return any(part.startswith((".", "__MACOSX")) for part in path.parts)


def _opened(file: Path) -> NDArray[np.float32]:
    """Return the (h, w, 1 or 3) pixels of a file, in [0, 1]."""
    try:
        from PIL import Image, ImageOps
    except ImportError as error:
        raise DataError("reading image files needs Pillow: pip install 'sclaws[images]'") from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(file) as image:
                if (frames := getattr(image, "n_frames", 1)) > 1:
                    raise DataError(f"{file} holds {frames} images; write each to a file of its own")
                pixels = _pixels(ImageOps.exif_transpose(image), file, image.format)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError, zlib.error) as error:
        raise DataError(f"{file} cannot be read as an image ({_reason(error)}); copy it again, or remove it") from error
    return pixels if pixels.ndim == 3 else pixels[..., None]


def _pixels(image: Any, file: Path, kind: str | None) -> NDArray[np.float32]:
    sixteen = image.mode.startswith("I;16") or (image.mode == "I" and kind in _SIXTEEN)
    if image.mode in ("I", "F") and not sixteen:
        raise DataError(f"{file} has 32 bits a pixel, and what is white is not known; save it with 8 or 16 bits")
    if sixteen:
        return np.asarray(image, dtype=np.float32) / np.float32(_FULL["uint16"])
    grey = image.mode in ("1", "L", "LA")
    return np.asarray(image.convert("L" if grey else "RGB"), dtype=np.float32) / np.float32(_FULL["uint8"])


def _reason(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return "it is none that Pillow knows" if "cannot identify" in text else text


# ── arrays ───────────────────────────────────────────────────────────────────────────────────────────────────────────
def _of_arrays(file: Path, images: str, labels: str) -> tuple[list[str], list[str] | None, Any]:
    """Return names, labels, and what reads the images of some rows."""
    with _reading(file), open(file, "rb") as opened:
        stored = np.load(opened, allow_pickle=False)
        if isinstance(stored, np.ndarray):
            raise DataError(f"{file} holds one array without a name; write it with numpy.savez(file, images=..., ...)")
        pixels = _array(stored, images, "images", file)
        found = _array(stored, labels, "labels", file) if labels else None
        found = np.char.decode(found, "utf-8") if found is not None and found.dtype.kind == "S" else found
    pixels = _checked(pixels, f"{file}, {images!r}")
    if found is not None and found.shape not in ((len(pixels),), (len(pixels), 1)):
        raise DataError(
            f"{file}, {labels!r} has shape {found.shape}; one label for each of the {len(pixels)} images of "
            f"{images!r} is needed: point `labels` to the array that belongs to them"
        )
    if found is not None and found.dtype.kind == "f" and np.isnan(found).any():
        raise DataError(f"{file}, {labels!r}: {np.isnan(found).sum()} labels are NaN; leave these images out")

    def read(rows: Iterable[int]) -> Iterator[NDArray[np.float32]]:
        full = np.float32(_FULL.get(pixels.dtype.name, 1.0))
        return (pixels[row].astype(np.float32) / full for row in rows)

    return [f"i{i}" for i in range(len(pixels))], None if found is None else [str(v) for v in found.ravel()], read


@contextlib.contextmanager
def _reading(file: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        text = " ".join(str(error).split())
        reason = "it holds Python objects" if "allow_pickle" in text or "pickled" in text else text
        raise DataError(
            f"{file} cannot be read as an npz file ({reason}); write numbers with numpy.savez(file, images=..., "
            "labels=...), copy it again, or give a folder of images"
        ) from error


def _array(stored: Any, name: str, field: str, file: Path) -> NDArray[Any]:
    if name not in stored.files:
        raise DataError(
            f"{file} has no array {name!r}; set {field} = to one of its arrays: {', '.join(stored.files) or '(none)'}"
            + ('; or write labels = "", if there are none' if field == "labels" else "")
        )
    return np.asarray(stored[name])


def _checked(pixels: NDArray[Any], where: str) -> NDArray[Any]:
    """Return images as (n, h, w, 1 or 3)."""
    shape = pixels.shape
    if len(shape) == 3:
        pixels = pixels[..., None]
    if pixels.ndim != 4 or pixels.shape[3] not in (1, 3) or 0 in shape:
        turn = "; move the channels to the end: numpy.moveaxis(images, 1, -1)" if shape[1:2] in ((1,), (3,)) else ""
        turn = turn or ("; leave the transparency out: images[..., :3]" if shape[3:] == (4,) else "")
        raise DataError(f"{where} has shape {shape}; (n, h, w) or (n, h, w, 1 or 3) is needed{turn}")
    if pixels.dtype.name in _FULL:
        return pixels
    if pixels.dtype.kind != "f":
        raise DataError(f"{where} is of {pixels.dtype}; bytes (uint8), uint16 or floats in [0, 1] are needed")
    if not (pixels.min() >= 0 and pixels.max() <= 1):  # false for NaN, too
        raise DataError(
            f"{where} has values from {pixels.min():g} to {pixels.max():g}; floats must lie in [0, 1]: "
            "divide by 255, say"
        )
    return pixels
