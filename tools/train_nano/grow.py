#!/usr/bin/env python3
"""Begins a checkpoint from an earlier model: other words, and more layers that change nothing yet.

    tools/train_nano/grow.py models/nano/nano.gguf start.pt            the words of tokenizer.py, the layers there are
    tools/train_nano/grow.py half.pt start.pt --layers 8               twice the layers

Rows of the embedding are copied by the token's text, and new tokens get small random ones. A new layer stands behind each old
one; its attention output and its FFN output are zero, so that the model computes what it did.
"""

import argparse
from pathlib import Path

import torch

import tokenizer
from gguf_reader import GgufReader
from model import Nano, Shape

NEW_ROW_SCALE = 0.5  # of the deviation of the rows there are


def load(path):
    """(weights by GGUF's names, tokens)."""
    if path.endswith(".gguf"):
        reader = GgufReader(Path(path).read_bytes())
        weights = {name: torch.from_numpy(array) for name, array in reader.tensors().items()}
        return weights, reader.pairs["tokenizer.ggml.tokens"]
    return torch.load(path), tokenizer.TOKENS + tokenizer.SPECIAL_TOKENS


def with_words(weights, tokens):
    """Weights with the embedding rows of tokenizer.py."""
    old = weights["token_embd.weight"]
    rows = torch.randn(tokenizer.VOCABULARY_SIZE, old.shape[1]) * old.std() * NEW_ROW_SCALE
    place = {token: i for i, token in enumerate(tokens)}
    num_known = 0
    for i, token in enumerate(tokenizer.TOKENS + tokenizer.SPECIAL_TOKENS):
        if token in place:
            rows[i] = old[place[token]]
            num_known += 1
    print(f"{num_known} of {len(rows)} rows copied")
    return weights | {"token_embd.weight": rows}


def num_layers(weights):
    return 1 + max(int(name.split(".")[1]) for name in weights if name.startswith("blk."))


def with_layers(weights, count):
    """Weights of `count` layers: each old one followed by as many new ones."""
    old = num_layers(weights)
    every, rest = divmod(count, old)
    assert rest == 0, f"{count} layers are no multiple of {old}"
    grown = Nano(Shape(vocabulary=len(weights["token_embd.weight"]), layers=count)).state_dict()
    for name in grown:
        if not name.startswith("blk."):
            grown[name] = weights[name]
            continue
        _, layer, part = name.split(".", 2)
        if int(layer) % every == 0:
            grown[name] = weights[f"blk.{int(layer) // every}.{part}"]
        elif part in ("attn_output.weight", "ffn_down.weight"):
            grown[name] = torch.zeros_like(grown[name])
    return grown


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", help="GGUF file or checkpoint")
    parser.add_argument("checkpoint")
    parser.add_argument("--layers", type=int)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    weights, tokens = load(options.source)
    weights = with_words(weights, tokens)
    if options.layers:
        weights = with_layers(weights, options.layers)
    torch.save(weights, options.checkpoint)


if __name__ == "__main__":
    main()
