"""The sections of a price file: what cells, depth, training and any other axis cost; each checks its own numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sclaws.design._amounts import check_amount, check_limits
from sclaws.design._saturation import Saturation
from sclaws.errors import DesignError
from sclaws.protocols import Floats

_ROUNDING = 1e-12  # a count may miss a whole number by this share and still be that number
_SECONDS = 3600.0


@dataclass(frozen=True)
class Library:
    """A library, lane or plate, bought whole: ``price``, and the ``cells`` that are loaded into it at most."""

    price: float
    cells: float

    def __post_init__(self) -> None:
        check_amount("price", self.price)
        check_amount("cells", self.cells, positive=True)


@dataclass(frozen=True)
class FlowCell:
    """A flow cell or lane of a sequencer, bought whole: ``price``, and its ``reads`` (read pairs count once)."""

    price: float
    reads: float

    def __post_init__(self) -> None:
        check_amount("price", self.price)
        check_amount("reads", self.reads, positive=True)


@dataclass(frozen=True)
class Cells:
    """What cells cost: ``price`` a loaded cell, or a ``library`` for so many, or both.

    ``recovered``: share of loaded cells that are sequenced; ``kept``: share of sequenced cells that count in
    ``column`` (cells that fail quality control or are set aside for the test are sequenced and do not). ``most``: the
    largest level that can be had; ``held``: the level where a law does not vary the column.
    """

    column: str = "n_cells"
    price: float | None = None
    library: Library | None = None
    recovered: float = 1.0
    kept: float = 1.0
    most: float = math.inf
    held: float | None = None

    def __post_init__(self) -> None:
        check_limits(self.column, self.most, self.held)
        if self.price is None and self.library is None:
            raise DesignError("give the price of a cell, or library = {price = ..., cells = ...}; price = 0 if free")
        check_amount("price", 0.0 if self.price is None else self.price)
        check_amount("recovered", self.recovered, positive=True, most=1.0)
        check_amount("kept", self.kept, positive=True, most=1.0)

    def sequenced(self, cells: Floats) -> Floats:
        """Return the cells that are sequenced for so many that count."""
        return cells / self.kept

    def each(self, cells: Floats) -> Floats:
        """Return the money that is paid by the cell."""
        return self.sequenced(cells) / self.recovered * (self.price or 0.0)

    def libraries(self, cells: Floats) -> Floats:
        """Return the money for whole libraries."""
        if self.library is None:
            return np.zeros_like(cells)
        return self.library.price * _whole(self.sequenced(cells) / self.recovered / self.library.cells)


@dataclass(frozen=True)
class Depth:
    """What depth costs, in one of three ways: by the million of reads, by whole flow cells, by the million of UMI.

    The first two need the ``saturation`` curve that turns UMI a cell into reads a cell. ``most`` and ``held`` as in
    :class:`Cells`.
    """

    column: str = "umis_per_cell"
    price_per_million_reads: float | None = None
    flow_cell: FlowCell | None = None
    price_per_million_umis: float | None = None
    saturation: Saturation | None = None
    most: float = math.inf
    held: float | None = None

    def __post_init__(self) -> None:
        check_limits(self.column, self.most, self.held)
        ways = (self.price_per_million_reads, self.flow_cell, self.price_per_million_umis)
        if sum(way is not None for way in ways) != 1:
            raise DesignError("give one of price_per_million_reads, flow_cell and price_per_million_umis")
        for name in ("price_per_million_reads", "price_per_million_umis"):
            if getattr(self, name) is not None:
                check_amount(name, getattr(self, name))
        if self.price_per_million_umis is None and self.saturation is None:
            raise DesignError(
                "how many reads a UMI takes is missing; give molecules and usable, or table = 'saturation.csv', "
                "or a price_per_million_umis instead of the price of reads"
            )
        if self.price_per_million_umis is not None and self.saturation is not None:
            raise DesignError("price_per_million_umis needs no molecules, usable or table; leave them out")

    def money(self, sequenced: Floats, umis: Floats) -> NDArray[np.float64]:
        """Return the money for so many sequenced cells at so many UMI each; infinite from ``molecules`` on."""
        if self.saturation is None:
            return np.asarray(sequenced * umis / 1e6 * (self.price_per_million_umis or 0.0))
        each = self.saturation.reads(umis)
        reads = sequenced * np.where(np.isfinite(each), each, 0.0)
        if self.flow_cell is not None:
            money = self.flow_cell.price * _whole(reads / self.flow_cell.reads)
        else:
            money = reads / 1e6 * (self.price_per_million_reads or 0.0)
        return np.where(np.isfinite(each), money, np.inf)


@dataclass(frozen=True)
class Parameters:
    """What a model's size costs: 6·parameters·cells·``tokens_per_cell``·``epochs`` FLOP (Kaplan et al. 2020, sec. 2.1).

    ``gpu_hour``: price of an hour of one device; ``flop_per_second``: what it was measured to do, not its peak.
    ``most`` and ``held`` as in :class:`Cells`.
    """

    gpu_hour: float
    flop_per_second: float
    tokens_per_cell: float
    epochs: float
    column: str = "n_params"
    most: float = math.inf
    held: float | None = None

    def __post_init__(self) -> None:
        check_limits(self.column, self.most, self.held)
        check_amount("gpu_hour", self.gpu_hour)
        for name in ("flop_per_second", "tokens_per_cell", "epochs"):
            check_amount(name, getattr(self, name), positive=True)

    def money(self, cells: Floats, parameters: Floats) -> Floats:
        """Return the money for training a model of so many parameters once on so many cells."""
        flop = 6 * parameters * cells * self.tokens_per_cell * self.epochs
        return flop / self.flop_per_second / _SECONDS * self.gpu_hour


@dataclass(frozen=True)
class Training:
    """What training a model of one size costs: ``flop_per_cell`` over the whole training, all epochs together.

    ``gpu_hour`` and ``flop_per_second`` as in :class:`Parameters`.
    """

    gpu_hour: float
    flop_per_second: float
    flop_per_cell: float

    def __post_init__(self) -> None:
        check_amount("gpu_hour", self.gpu_hour)
        for name in ("flop_per_second", "flop_per_cell"):
            check_amount(name, getattr(self, name), positive=True)

    def money(self, cells: Floats) -> Floats:
        """Return the money for training once on so many cells."""
        return cells * self.flop_per_cell / self.flop_per_second / _SECONDS * self.gpu_hour


@dataclass(frozen=True)
class Other:
    """Any other column of the table, at ``price`` a unit; ``most`` and ``held`` as in :class:`Cells`."""

    column: str
    price: float
    most: float = math.inf
    held: float | None = None

    def __post_init__(self) -> None:
        check_limits(self.column, self.most, self.held)
        check_amount("price", self.price)


def _whole(count: Floats) -> Floats:
    return np.ceil(count * (1 - _ROUNDING))
