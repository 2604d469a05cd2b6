"""A name -> a class: an installed entry point (ours come in by the same door) or ``file.py:Class``."""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

import pydantic

from sclaws import keys
from sclaws.addresses import is_address
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
    return _in_file(path, name, "class", inspect.isclass)  # type: ignore[no-any-return]


def function(path: Path, name: str) -> Callable[..., Any]:
    """Return the function of this name in a Python file, which is run once for each content that it has."""
    if not path.is_file() or path.suffix != ".py":
        what = "is no Python file (.py)" if path.is_file() else "does not exist"
        raise PluginError(f"{path} {what}: give the path of one, relative to the study file")
    return _in_file(path.resolve(), name, "function", inspect.isfunction)  # type: ignore[no-any-return]


def _in_file(path: Path, name: str, kind: str, is_one: Callable[[Any], bool]) -> Any:
    module = _module(path, keys.file_digest(path))
    if not is_one(found := getattr(module, name, None)):
        others = [n for n, v in vars(module).items() if is_one(v)]
        raise PluginError(f"{path} has no {kind} {name!r}: {did_you_mean(name, others)}")
    return found


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

    ``folder`` is where relative paths and plugin files are looked for, ``name`` what tables call the component; neither
    is part of the description.
    """

    family: str
    use: str
    fields: tuple[tuple[str, Any], ...] = ()
    folder: str = ""
    name: str = ""

    @classmethod
    def of(cls, family: str, value: str | Mapping[str, Any], folder: Path | str = "") -> Spec:
        """Return the spec for ``"pca"`` or ``{"use": "pca", "dim": 16}``, with its class and fields checked.

        ``name = "…"`` is what tables call it, and ``preset = "…"`` stands for the fields that the class lists under it
        in ``presets`` (those given beside it come first), unless the class has a field of that name.
        """
        if not isinstance(value, (str, Mapping)):
            raise PluginError(f"{family}: {value!r} is no component; write a name, or a table with 'use' = a name")
        table = {"use": value} if isinstance(value, str) else dict(value)
        use = table.pop("use", None)
        if not isinstance(use, str):
            raise PluginError(f"{family}: {value!r} has no 'use' = a name; valid: {', '.join(names(family))}")
        valid, anything = cls(family, use, (), str(folder))._parameters()
        called = table.pop("name", "") if "name" not in valid else ""
        if not isinstance(called, str):
            raise PluginError(f"{SINGULAR[family]} {use!r}: name = {called!r} must be text")
        preset = table.pop("preset", None) if "preset" not in valid else None
        for name in table:
            if name not in valid and not anything:
                raise PluginError(f"{SINGULAR[family]} {use!r} has no field {name!r}: {did_you_mean(name, valid)}")
        given = cls(family, use, tuple(sorted((k, _frozen(v)) for k, v in table.items())), str(folder), called)
        return given if preset is None else given._with(preset)

    def _with(self, preset: Any) -> Spec:
        """Return the spec with the fields of a preset below its own; tables call it by the preset."""
        presets: Mapping[str, Mapping[str, Any]] = getattr(self.type, "presets", {})
        if preset not in presets:
            raise PluginError(f"{SINGULAR[self.family]} {self.use!r}, preset: {did_you_mean(str(preset), presets)}")
        told = ",".join([preset, *(f"{name}={_plain(value)}" for name, value in self.fields)])
        called = self.name or f"{self.use.partition('.py:')[2] or self.use}({told})"
        of_preset = {name: _frozen(value) for name, value in presets[preset].items()}
        return dataclasses.replace(self, fields=tuple(sorted((of_preset | dict(self.fields)).items())), name=called)

    def __getstate__(self) -> dict[str, Any]:
        """Leave the class behind: another process loads it anew, from a file of the same content or not at all."""
        return {name: value for name, value in self.__dict__.items() if name != "type"}

    @functools.cached_property
    def type(self) -> type:
        """The class; raises ``PluginError`` when its file is no longer the one that was described."""
        described = self.__dict__.get("_described", {})
        if "code" in described and described["code"] != keys.file_digest(self._file()):
            raise PluginError(f"{self._file()} was changed while the study was running: run it again")
        return load(self.family, self.use, Path(self.folder) if self.folder else None)

    def _file(self) -> Path:
        return (Path(self.folder) / f"{self.use.partition('.py:')[0]}.py").resolve()

    def _parameters(self) -> tuple[dict[str, Any], bool]:
        """Return {field: default, or ``inspect.Parameter.empty``}, and whether any other field is taken, too."""
        found = inspect.signature(self.type).parameters.values()
        made = {f.name: f.default_factory for f in dataclasses.fields(self.type)} if self._is_dataclass() else {}
        defaults = {p.name: p.default for p in found if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)}
        for name, factory in made.items():
            if name in defaults and factory is not dataclasses.MISSING:
                defaults[name] = factory()
        return defaults, any(p.kind is p.VAR_KEYWORD for p in found)

    def _is_dataclass(self) -> bool:
        return dataclasses.is_dataclass(self.type)

    def build(self) -> Any:
        """Return the object; a field of the wrong type is an error that names it.

        Fields called ``path`` (or ending in ``_path``) are resolved against the study's folder.
        """
        fields = {k: self._resolved(k, v) for k, v in self.fields}
        try:
            if self._is_dataclass():
                return _adapter(self.type).validate_python(fields)
            return self.type(**fields)
        except pydantic.ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "fields"
            raise PluginError(f"{self.use!r}, field {where!r}: {first['msg']}, got {first.get('input')!r}") from error
        except TypeError as error:
            raise PluginError(f"{SINGULAR[self.family]} {self.use!r} cannot be built: {error}") from error

    def _resolved(self, name: str, value: Any) -> Any:
        if not _is_path(name, value) or is_address(value):
            return value
        return str(Path(self.folder) / Path(value).expanduser())

    def describe(self) -> dict[str, Any]:
        """Return ``{"use", "version", **fields}`` with defaults spelt out and files by their content (read once).

        Fields that the class lists as ``incidental`` (how much memory may be used) are no part of it.
        """
        return dict(self._described)

    @functools.cached_property
    def _described(self) -> dict[str, Any]:
        defaults = {n: value for n, value in self._parameters()[0].items() if value is not inspect.Parameter.empty}
        given = {name: self._content(name, value) for name, value in self.fields}
        out: dict[str, Any] = {"use": self.use, "version": getattr(self.type, "version", 1), **defaults, **given}
        for name in getattr(self.type, "incidental", ()):
            out.pop(name, None)
        if ".py:" in self.use:
            out["use"] = f"{self._file().name}:{self.use.partition('.py:')[2]}"
            out["code"] = keys.file_digest(self._file())
        return keys.canonical(out)  # type: ignore[no-any-return]

    def _content(self, name: str, value: Any) -> Any:
        """Return a field's value, or the checksum of what a path leads to: a study knows its data wherever they lie."""
        if not _is_path(name, value):
            return value
        if is_address(value):
            return self._at_address(name, value)
        path = Path(self._resolved(name, value))
        if not path.exists():
            raise PluginError(f"{path} does not exist; {self.use!r}, field {name!r}: paths start at the study file")
        return keys.path_digest(path)

    def _at_address(self, name: str, address: str) -> str:
        if (digest := keys.address_digest(address)) is None:
            raise PluginError(
                f"{address} has no corpus that sclaws ingest wrote; {self.use!r}, field {name!r}: nothing else is read "
                "from an address, copy it here"
            )
        return digest

    def refuse_change(self) -> None:
        """Raise ``PluginError`` when a file that this was described by is no longer the same."""
        if dataclasses.replace(self).describe() != self.describe():
            raise PluginError(f"{self.label}: its file was changed since the study was read; read it anew")

    @functools.cached_property
    def label(self) -> str:
        """What tables call it: its ``name``; else a data set's file, or the class with the fields that were given."""
        if self.name:
            return self.name
        fields = {k: Path(v).stem if _is_path(k, v) else _plain(v) for k, v in self.fields}
        name = self.use.partition(".py:")[2] or self.use
        if self.family == "datasets" and "path" in fields:
            name = fields.pop("path")
        return f"{name}({','.join(f'{k}={v}' for k, v in fields.items())})" if fields else name


@functools.cache
def _adapter(component: type) -> pydantic.TypeAdapter[Any]:
    """Return what checks and builds a component; making it takes longer than using it a hundred times."""
    return pydantic.TypeAdapter(component)


def _is_path(name: str, value: Any) -> bool:
    return isinstance(value, str) and (name == "path" or name.endswith("_path"))


def _frozen(value: Any) -> Any:
    """Return lists as tuples, so that a spec can be hashed."""
    if isinstance(value, Mapping):
        raise PluginError(f"{dict(value)!r}: a field cannot be a table; give numbers, text or lists")
    return tuple(map(_frozen, value)) if isinstance(value, (list, tuple)) else value


def _plain(value: Any) -> str:
    return "+".join(map(_plain, value)) if isinstance(value, tuple) else str(value)
