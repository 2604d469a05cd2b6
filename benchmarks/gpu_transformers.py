"""On CUDA, in bfloat16: tokens a second and MFU of paper A's sizes, of paper C's Geneformer, and of stacked models.

    python benchmarks/gpu_transformers.py [--steps 30] [--losses] [--batch 32]

MFU is the operations that the task needs (last layer and head at hidden positions alone, no padding; forward and twice
that backward) over the GPU's peak, for ours and for transformers alike. Masked reconstruction: sizes S and M at 1,024
genes, a second training of as many steps as the first, which warms up. Geneformer: paper C's
10.3 million parameters at vocabulary 25,426 and context 2,048, against BertForMaskedLM and Trainer with bf16, as in
bert_speed.py. Then stacked_models.py --device cuda. ``--losses`` adds the comparison of held-out losses of
bert_speed.py, in float32 on the CPU.
"""

import argparse
import subprocess
import sys
from pathlib import Path

import _hugging_face as theirs
import bert_speed
import numpy as np

from sclaws.models import _flops, _sentences
from sclaws.models.geneformer import Geneformer
from sclaws.models.masked_reconstruction import MaskedReconstruction
from sclaws.protocols import Context


def main() -> None:
    import torch

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--warm-up", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--detected", type=int, default=1000)
    parser.add_argument("--losses", action="store_true")
    args = parser.parse_args()
    if not torch.cuda.is_available():
        print("no CUDA device: this waits")
        return
    print(torch.cuda.get_device_name())
    reconstruction(args)
    geneformer(args)
    here = Path(__file__).parent
    updates = ["--updates", str(max(args.steps, 2))]
    subprocess.run([sys.executable, str(here / "stacked_models.py"), "--device", "cuda", *updates], check=True)
    if args.losses:
        subprocess.run([sys.executable, str(here / "bert_speed.py"), "--no-speed"], check=True)


def reconstruction(args: argparse.Namespace) -> None:
    view = bert_speed.simulated(2_000, 1_024, 400)
    valid = view.take(np.arange(0))
    for size in ("S", "M"):
        for precision in ("float32", "bfloat16"):
            model = MaskedReconstruction(
                size, n_genes=1_024, max_updates=args.steps, batch_size=args.batch, precision=precision
            )
            model.fit(view, valid, seed=0, context=Context(Path(), "cuda"))  # warms up
            speed = model.fit(view, valid, seed=1, context=Context(Path(), "cuda")).speed
            print(
                f"  masked-reconstruction {size}, 1,024 genes, {precision:9} {speed['tokens_per_second']:12,.0f} "
                f"tokens/s  MFU {speed.get('mfu', float('nan')):.1%}",
                flush=True,
            )


def geneformer(args: argparse.Namespace) -> None:
    total = args.steps + args.warm_up
    view = bert_speed.simulated(args.batch * total, 25_424, args.detected)
    model = Geneformer("paper-C", context=2_048, batch_size=args.batch)
    data = bert_speed.prepared(model, view, view.take(np.arange(0)), seed=0)
    sentences, plan = bert_speed.split(data), bert_speed.schedule(total, args.batch)
    lengths = data.train.tokens.lengths
    flop = _flops.TRAINING * _sentences.flops(data.config, lengths) / lengths.sum()

    def other(grouped: bool):
        made = theirs.model_of(data.config)
        return theirs.train(made, sentences, plan, grouped=grouped, bf16=True, device="cuda")

    methods = {
        "sclaws": lambda: bert_speed.ours(data, plan, 2, "bfloat16", "cuda")[0],
        "transformers": lambda: other(False),
        "transformers, grouped": lambda: other(True),
    }
    title = f"paper C, vocabulary 25,426, {lengths.mean():,.0f} a cell, batch {args.batch}"
    bert_speed.report(methods, args, title, flop, 1.0 / (_flops.utilisation(1.0, "cuda") or np.nan))


if __name__ == "__main__":
    main()
