"""Latent information: the published grid, images that share a label, and the published package in the same run.

    python benchmarks/lmi.py grid
    python benchmarks/lmi.py images ../shared/data/mnist.npz
    python benchmarks/lmi.py rival ../shared/data/mnist.npz        # needs: pip install --no-deps latentmi==0.1.3
    python benchmarks/lmi.py stacked                               # 16 estimates one by one, and as one batch

Problems of Gowri, Sadalski & Klein (2024, arXiv 2409.02732): copies of correlated Gaussian pairs, and pairs of images
of two digits whose labels agree but for known noise, so that they share at most one bit, known exactly. ``rival`` times
both on one core; the package is given ``np.NaN``, which NumPy 2 has not, and nothing else is changed. ``stacked`` tells
whether a batch is worth it on this device: three turns of each in one run, seconds of the clock and of the processor.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import time

import numpy as np

from sclaws.scores.auto import Auto
from sclaws.scores.gaussian import Gaussian
from sclaws.scores.infonce import InfoNCE
from sclaws.scores.ksg import KSG
from sclaws.scores.lmi import LMI
from sclaws.scores.probe import LabelProbe

PUBLISHED = {1: 1.79, 2: 1.66, 3: 1.46, 4: 1.27, 5: 1.16, 6: 1.01, 7: 0.89, 8: 0.75, 9: 0.63}  # at 2 bits, 2,000 cells
SHARES = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0)  # of the pairs whose partner is drawn anew


def grid(rng, n, columns, rank, bits):
    """Return copies of ``rank`` correlated Gaussian pairs in so many columns."""
    rho = np.sqrt(1 - 2.0 ** (-2 * bits / rank))
    x, noise = rng.normal(size=(n, rank)), rng.normal(size=(n, rank))
    y = rho * x + np.sqrt(1 - rho**2) * noise
    copies = [np.r_[np.arange(rank), rng.integers(rank, size=columns - rank)] for _ in range(2)]
    return x[:, copies[0]], y[:, copies[1]]


def on_grid() -> None:
    print(f"{'rank':>5} {'columns':>8} {'cells':>6} {'bits':>5} {'lmi':>6} {'95 %':>14} {'published':>10}  verdict")
    cases = [(rank, columns, 2000, 2.0) for rank in PUBLISHED for columns in (20, 100, 500)]
    cases += [(rank, columns, 2000, 0.0) for rank in (1, 4, 9) for columns in (10, 50, 500)]
    cases += [(1, 25, 1000, 1.0), (2, 100, 1000, 1.0)]
    for rank, columns, n, bits in cases:
        found = LMI().estimate(*grid(np.random.default_rng([rank, columns]), n, columns, rank, bits))
        known = f"{PUBLISHED[rank]:.2f}" if bits == 2 else "|.11|" if bits == 0 else ".85"
        figures = f"{found.value:6.3f} {found.low:6.3f} to {found.high:.3f} {known:>10}"
        print(f"{rank:>5} {columns:>8} {n:>6} {bits:>5} {figures}  {found.verdict}", flush=True)


def paired(images, digits, rng, share, n=5000):
    """Return images of a 0 or 1 beside images whose digit is the same but for ``share`` drawn anew; and the bits."""
    pools = [rng.permutation(np.flatnonzero(digits == digit)) for digit in (0, 1)]
    half = n // 2
    left, right = (np.concatenate([pool[part] for pool in pools]) for part in (slice(0, half), slice(half, 2 * half)))
    order = rng.permutation(n)
    left, right = left[order], right[order]
    anew = int(share * n)
    left[:anew] = rng.permutation(left[:anew])
    p = np.array([share / 2, 1 - share / 2])
    return images[left], images[right], 1 + float(np.sum(p * np.log2(np.maximum(p, 1e-300))))


def mnist(path):
    given = np.load(path)
    return given["x_train"].reshape(len(given["x_train"]), -1).astype(float), given["y_train"]


def on_images(path) -> None:
    images, digits = mnist(path)
    scores = {"gaussian": Gaussian(), "ksg": KSG(), "lmi": LMI(), "infonce": InfoNCE(), "auto": Auto()}
    print("pairs of images, 5,000 of 784 columns: bits\n", f"{'truth':>6}", *(f"{name:>9}" for name in scores))
    errors = []
    for share in SHARES:
        x, y, bits = paired(images, digits, np.random.default_rng(0), share)
        found = [score.estimate(x, y).value for score in scores.values()]
        errors.append(np.abs(np.array(found) - bits))
        print(f" {bits:>6.3f}", *(f"{value:>9.3f}" for value in found), flush=True)
    print(" |error|", *(f"{value:>8.3f}" for value in np.mean(errors, axis=0)), flush=True)
    rows = np.random.default_rng(1).permutation(len(images))[:5000]
    print("images and their digit, 5,000 of 784 columns")
    for name, score in {"probe": LabelProbe(), **{k: v for k, v in scores.items() if k != "gaussian"}}.items():
        got = score.estimate(images[rows], digits[rows])
        told = f"{got.value:.3f} ({got.low:.3f} to {got.high:.3f}) of at most {got.details['entropy']:.3f}"
        print(f" {name:<9} {told}  {got.verdict}", flush=True)


def against_the_package(path) -> None:
    import torch

    torch.set_num_threads(1)
    np.NaN = np.nan  # noqa: NPY201 - NumPy 2 has it no more; without it the package fails after its training
    from latentmi import lmi as package

    images, digits = mnist(path)
    problems = {
        "2,000 × 50, rank 4": (*grid(np.random.default_rng(4), 2000, 50, 4, 2.0), 2.0),
        "5,000 × 784, images": paired(images, digits, np.random.default_rng(0), 0.1),
    }
    LMI().estimate(*grid(np.random.default_rng(0), 200, 5, 1, 1.0))  # compiled before the clock starts
    print(f"{'problem':<22} {'truth':>6} {'ours':>14} {'the package':>18} {'ratio':>6}")
    for name, (x, y, bits) in problems.items():
        own, mine = timed(lambda x=x, y=y: LMI().estimate(x, y).value)
        theirs, other = timed(lambda x=x, y=y: float(np.nanmean(package.estimate(x, y)[0])))
        figures = f"{mine:>6.3f} {own:>6.1f} s {other:>8.3f} {theirs:>7.0f} s"
        print(f"{name:<22} {bits:>6.3f} {figures} {theirs / own:>5.0f}x", flush=True)


def stacked() -> None:
    import torch

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    print(f"16 estimates, 16 + 20 columns, on {device}")
    print(f"{'cells':>6} {'one by one':>22} {'one batch':>22} {'ratios':>12} {'difference':>11}")
    LMI().estimate(*grid(np.random.default_rng(0), 200, 5, 1, 1.0))  # compiled before the clock starts
    for cells in (300, 1000, 3000):
        rng = np.random.default_rng(cells)
        y = grid(rng, cells, 20, 4, 2.0)[1]
        pairs = [(y[:, :16] + rng.normal(size=(cells, 16)), y) for _ in range(16)]
        for _ in range(3):
            alone, *one = both_clocks(lambda pairs=pairs: [LMI().estimate(*pair) for pair in pairs])
            batch, *many = both_clocks(lambda pairs=pairs: LMI().estimate_many(pairs))
            apart = max(abs(a.value - b.value) for a, b in zip(alone, batch, strict=True))
            seconds = " ".join(f"{wall:>8.1f} s, cpu {cpu:>5.1f} s" for wall, cpu in (one, many))
            ratios = f"{one[0] / many[0]:>5.2f}, {one[1] / many[1]:>5.2f}"
            print(f"{cells:>6} {seconds} {ratios} {apart:>11.2g}", flush=True)
    if torch.cuda.is_available():
        print(f"at most {torch.cuda.max_memory_allocated() / 1e6:.0f} MB of the GPU's memory")


def both_clocks(run):
    wall, cpu = time.perf_counter(), time.process_time()
    found = run()
    return found, time.perf_counter() - wall, time.process_time() - cpu


def timed(run):
    start = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):  # the package prints every epoch
        found = run()
    return time.perf_counter() - start, found


def main() -> None:
    parse = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parse.add_argument("what", choices=("grid", "images", "rival", "stacked"))
    parse.add_argument("path", nargs="?")
    given = parse.parse_args()
    if given.what in ("grid", "stacked"):
        {"grid": on_grid, "stacked": stacked}[given.what]()
    else:
        {"images": on_images, "rival": against_the_package}[given.what](given.path)


if __name__ == "__main__":
    main()
