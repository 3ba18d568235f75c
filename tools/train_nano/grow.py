#!/usr/bin/env python3
"""Begins a checkpoint from an earlier model: other words, and more layers that change nothing yet.

    tools/train_nano/grow.py models/nano/nano.gguf start.pt            the words of tokenizer.py, the layers there are
    tools/train_nano/grow.py half.pt start.pt --layers 8               twice the layers

Rows of the embedding are copied by the token's text, and new tokens get small random ones. A new layer stands behind each old
one; its attention output and its FFN output are zero, so that the model computes what it did.
"""

import argparse
import struct
from pathlib import Path

import numpy as np
import torch

import tokenizer
from model import Nano, Shape

NEW_ROW_SCALE = 0.5  # of the deviation of the rows there are
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}


class GgufReader:
    """Just enough to read back what export_gguf.py writes."""

    def __init__(self, data):
        self.data, self.at = data, 4
        version, num_tensors, num_pairs = self.unpack("IQQ")
        assert data[:4] == b"GGUF" and version == 3
        self.pairs = {}
        for _ in range(num_pairs):
            key = self.string()
            self.pairs[key] = self.value(self.unpack("I")[0])
        infos = []
        for _ in range(num_tensors):
            name = self.string()
            sizes = self.unpack(f"{self.unpack('I')[0]}Q")
            infos.append((name, sizes[::-1], *self.unpack("IQ")))
        base = -(-self.at // 32) * 32
        self.tensors = {}
        for name, sizes, kind, offset in infos:
            flat = np.frombuffer(data, {0: np.float32, 1: np.float16}[kind], int(np.prod(sizes)), base + offset)
            self.tensors[name] = torch.from_numpy(flat.reshape(sizes).astype(np.float32))

    def unpack(self, form):
        values = struct.unpack_from("<" + form, self.data, self.at)
        self.at += struct.calcsize("<" + form)
        return values

    def string(self):
        (length,) = self.unpack("Q")
        self.at += length
        return self.data[self.at - length:self.at].decode()

    def value(self, kind):
        if kind == 8:
            return self.string()
        if kind == 9:
            item, count = self.unpack("IQ")
            return [self.value(item) for _ in range(count)]
        return self.unpack(_SCALARS[kind])[0]


def load(path):
    """(weights by GGUF's names, tokens)."""
    if path.endswith(".gguf"):
        reader = GgufReader(Path(path).read_bytes())
        return reader.tensors, reader.pairs["tokenizer.ggml.tokens"]
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
