"""A name -> a class: an installed entry point (ours come in by the same door) or ``file.py:Class``."""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
import inspect
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

import pydantic

from sclaws import keys
from sclaws.errors import PluginError, did_you_mean

SINGULAR = {
    "datasets": "dataset", "axes": "axis", "signals": "signal", "models": "model",
    "scores": "score", "laws": "law", "engines": "engine",
}  # fmt: skip
FAMILIES = tuple(SINGULAR)


@functools.cache
def _installed(family: str) -> dict[str, EntryPoint]:
    """Every package's metadata is read for this, so once a process is enough."""
    return {point.name: point for point in entry_points(group=f"sclaws.{family}")}


def names(family: str) -> list[str]:
    """Return the names that are installed for a family, sorted."""
    return sorted(_installed(family))


def lines(family: str) -> list[str]:
    """Return one line for each member: its name, and the first line of its docstring."""
    width = max(map(len, names(family)), default=0)
    return [f"{name:<{width}}  {(_doc(family, name)).splitlines()[0]}" for name in names(family)]


def _doc(family: str, name: str) -> str:
    try:
        return inspect.getdoc(load(family, name)) or "(no docstring)"
    except PluginError as error:
        return str(error)


def load(family: str, use: str, folder: Path | None = None) -> type:
    """Return the class called ``use``; ``file.py:Class`` is looked for beside the study, in ``folder``."""
    if ".py:" in use:
        file, _, name = use.partition(".py:")
        return _from_file(((folder or Path.cwd()) / f"{file}.py").resolve(), name)
    if use not in _installed(family):
        raise PluginError(f"unknown {SINGULAR[family]} {use!r}: {did_you_mean(use, names(family))}, or 'file.py:Class'")
    try:
        return _installed(family)[use].load()  # type: ignore[no-any-return]
    except ImportError as error:
        raise PluginError(
            f"{SINGULAR[family]} {use!r} needs a package that is not installed ({error}): "
            f"pip install 'sclaws[{use}]' or 'sclaws[all]'"
        ) from error


def _from_file(path: Path, name: str) -> type:
    if not path.is_file():
        raise PluginError(f"{path} does not exist: give 'file.py:Class' relative to the study file")
    module = _module(path, keys.file_digest(path))
    if not inspect.isclass(found := getattr(module, name, None)):
        classes = [n for n, v in vars(module).items() if inspect.isclass(v)]
        raise PluginError(f"{path} has no class {name!r}: {did_you_mean(name, classes)}")
    return found  # type: ignore[no-any-return]


@functools.cache
def _module(path: Path, digest: str) -> Any:
    title = f"sclaws_plugin_{path.stem}_{digest[-8:]}"
    spec = importlib.util.spec_from_file_location(title, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[title] = module  # so that objects of its classes can be pickled within this process tree
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[title]
        raise PluginError(f"{path} cannot be imported: {type(error).__name__}: {error}") from error
    return module


@dataclass(frozen=True)
class Spec:
    """A component by name, not yet built: cheap to hash, to compare, to send to another process.

    ``folder`` is where relative paths and plugin files are looked for; it is not part of the description.
    """

    family: str
    use: str
    fields: tuple[tuple[str, Any], ...] = ()
    folder: str = ""

    @classmethod
    def of(cls, family: str, value: str | Mapping[str, Any], folder: Path | str = "") -> Spec:
        """Return the spec for ``"pca"`` or ``{"use": "pca", "dim": 16}``, with its class and fields checked."""
        table = {"use": value} if isinstance(value, str) else dict(value)
        use = table.pop("use", None)
        if not isinstance(use, str):
            raise PluginError(f"{family}: {value!r} has no 'use' = a name; valid: {', '.join(names(family))}")
        spec = cls(family, use, tuple(sorted((k, _frozen(v)) for k, v in table.items())), str(folder))
        valid = spec._signature().parameters
        for name in table:
            if name not in valid:
                raise PluginError(f"{SINGULAR[family]} {use!r} has no field {name!r}: {did_you_mean(name, valid)}")
        return spec

    @functools.cached_property
    def type(self) -> type:
        """The class."""
        return load(self.family, self.use, Path(self.folder) if self.folder else None)

    def _signature(self) -> inspect.Signature:
        return inspect.signature(self.type)

    def build(self) -> Any:
        """Return the object; a field of the wrong type is an error that names it.

        Fields called ``path`` (or ending in ``_path``) are resolved against the study's folder.
        """
        fields = {k: self._resolved(k, v) for k, v in self.fields}
        try:
            if dataclasses.is_dataclass(self.type):
                return pydantic.TypeAdapter(self.type).validate_python(fields)
            return self.type(**fields)
        except pydantic.ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "fields"
            raise PluginError(f"{self.use!r}, field {where!r}: {first['msg']}, got {first.get('input')!r}") from error
        except TypeError as error:
            raise PluginError(f"{SINGULAR[self.family]} {self.use!r} cannot be built: {error}") from error

    def _resolved(self, name: str, value: Any) -> Any:
        is_path = name == "path" or name.endswith("_path")
        return str(Path(self.folder) / Path(value).expanduser()) if is_path and isinstance(value, str) else value

    def describe(self) -> dict[str, Any]:
        """Return ``{"use", "version", **fields}`` with defaults spelt out and files by their content (read once)."""
        return dict(self._described)

    @functools.cached_property
    def _described(self) -> dict[str, Any]:
        given = dict(self.fields)
        defaults = {n: p.default for n, p in self._signature().parameters.items() if p.default is not p.empty}
        out: dict[str, Any] = {"use": self.use, "version": getattr(self.type, "version", 1), **defaults, **given}
        if ".py:" in self.use:
            file, _, name = self.use.partition(".py:")
            out["use"] = f"{Path(file).name}.py:{name}"
            out["content"] = keys.file_digest((Path(self.folder) / f"{file}.py").resolve())
        if callable(content := getattr(self.type, "content", None)):
            out = {k: v for k, v in out.items() if k != "path"} | {"content": content(self.build())}
        return keys.canonical(out)  # type: ignore[no-any-return]

    @property
    def label(self) -> str:
        """A short name for tables: the class's name, or its file's if it reads one, and the fields that were given."""
        path = dict(self.fields).get("path")
        name = Path(path).stem if path else self.use.partition(".py:")[2] or self.use
        fields = ",".join(f"{k}={_plain(v)}" for k, v in self.fields if k != "path")
        return f"{name}({fields})" if fields else name


def _frozen(value: Any) -> Any:
    """Lists become tuples and tables become sorted tuples of pairs' dict views, so that a spec can be hashed."""
    if isinstance(value, Mapping):
        raise PluginError(f"{dict(value)!r}: a field cannot be a table; give numbers, text or lists")
    return tuple(map(_frozen, value)) if isinstance(value, (list, tuple)) else value


def _plain(value: Any) -> str:
    return "+".join(map(_plain, value)) if isinstance(value, tuple) else str(value)
