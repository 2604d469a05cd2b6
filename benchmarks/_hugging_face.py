"""BertForMaskedLM trained by transformers' Trainer, as people do it, on our sentences: what benchmarks compare with."""

import contextlib
import os
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # nothing here is to be asked of a server


def model_of(config, folder=None):
    """Return a BERT of our architecture with random weights, or with those of a folder."""
    import transformers

    if folder is not None:
        return transformers.BertForMaskedLM.from_pretrained(folder)
    theirs = transformers.BertConfig(
        vocab_size=config.vocabulary, hidden_size=config.width, num_hidden_layers=config.layers,
        num_attention_heads=config.heads, intermediate_size=config.hidden, max_position_embeddings=config.context,
        hidden_act=config.activation, hidden_dropout_prob=config.dropout,
        attention_probs_dropout_prob=config.dropout, layer_norm_eps=config.epsilon, pad_token_id=0,
    )  # fmt: skip
    return transformers.BertForMaskedLM(theirs)


def tokenizer_of(vocabulary):
    """Return a tokenizer that knows the filler and the mask, which is all that the collator asks of it."""
    import tokenizers
    import transformers

    words = {"<pad>": 0, "<mask>": 1, **{f"g{i}": i for i in range(2, vocabulary)}}
    plain = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="<pad>"))
    return transformers.PreTrainedTokenizerFast(tokenizer_object=plain, pad_token="<pad>", mask_token="<mask>")


def train(model, sentences, plan, *, seed=0, grouped=False, bf16=False, device="cpu"):
    """Train for ``plan.updates`` steps; return real tokens, seconds, and seconds without collation of each step."""
    import torch
    import transformers
    from transformers.trainer_callback import PrinterCallback

    transformers.logging.set_verbosity_error()
    tokenizer = tokenizer_of(model.config.vocab_size)
    collate = transformers.DataCollatorForLanguageModeling(tokenizer=tokenizer, mlm_probability=0.15)
    tokens, begins, ends = [], [], []

    def counting(rows):
        batch = collate(rows)
        tokens.append(int(batch["attention_mask"].sum()))
        return batch

    class Stamps(transformers.TrainerCallback):
        def on_step_begin(self, *args, **kwargs):
            begins.append(now(device))

        def on_step_end(self, *args, **kwargs):
            ends.append(now(device))

    rows = [{"input_ids": ids.tolist(), "attention_mask": [1] * len(ids)} for ids in sentences]
    scratch = tempfile.mkdtemp()
    try:
        trainer = transformers.Trainer(
            model=model, train_dataset=rows, data_collator=counting, callbacks=[Stamps()],
            args=transformers.TrainingArguments(
                output_dir=scratch, max_steps=plan.updates, per_device_train_batch_size=plan.batch,
                learning_rate=plan.rate, lr_scheduler_type=plan.decay, warmup_steps=plan.warmup,
                weight_decay=plan.weight_decay, max_grad_norm=plan.clip, seed=seed, report_to=[],
                save_strategy="no", logging_strategy="no", disable_tqdm=True, dataloader_num_workers=0,
                remove_unused_columns=False, use_cpu=device == "cpu", bf16=bf16,
                train_sampling_strategy="group_by_length" if grouped else "random",
            ),
        )  # fmt: skip
        trainer.remove_callback(PrinterCallback)
        threads = torch.get_num_threads()
        with quiet():
            trainer.train()
        torch.set_num_threads(threads)
    finally:
        shutil.rmtree(scratch)
    ends, begins = np.array(ends), np.array(begins)
    return np.array(tokens[: len(ends)]), np.diff(ends, prepend=begins[0]), ends - begins


def save(model, ours: Path, folder: Path) -> None:
    """Write the model as its makers do, with the dictionaries of a folder of ours beside it."""
    model.save_pretrained(folder)
    for name in ("token_dictionary.json", "gene_median_dictionary.json"):
        shutil.copy(ours / name, folder / name)


def now(device: str) -> float:
    """Return seconds, once the device has done all that it was asked."""
    import torch

    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


@contextlib.contextmanager
def quiet():
    """Hush progress bars of loading and saving."""
    import transformers

    transformers.utils.logging.disable_progress_bar()
    yield
