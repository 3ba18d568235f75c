#!/usr/bin/env python3
"""Writes a copy of a model without some of its query heads, to see what they are for.

    tools/train_nano/remove_heads.py models/nano/nano.gguf without.gguf 6-0 6-1 6-3

A head is LAYER-HEAD, as `pith inspect PROFILE` names it. What a removed head finds does not reach the rest of the model: its
columns of attn_output are 0. Weights in f16 or f32 only. Norms stay as they are, so that a profile of the model serves the copy.
"""

import argparse
import os
import sys
from pathlib import Path

from gguf_reader import GgufReader

_VALUE_BYTES = {0: 4, 1: 2}  # of GGUF's f32 and f16


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("copy", type=Path)
    parser.add_argument("heads", nargs="+", metavar="LAYER-HEAD")
    arguments = parser.parse_args()
    try:
        copy = without_heads(arguments.model.read_bytes(), arguments.heads)
    except (OSError, ValueError) as error:
        sys.exit(f"remove_heads: error: {error}")
    unfinished = arguments.copy.with_name(arguments.copy.name + ".new")
    unfinished.write_bytes(copy)
    os.replace(unfinished, arguments.copy)


def without_heads(model, heads):
    reader = GgufReader(model)
    architecture = reader.pairs["general.architecture"]
    num_heads = reader.pairs[f"{architecture}.attention.head_count"]
    outputs = {name: (sizes, kind, start) for name, sizes, kind, start in reader.places() if ".attn_output." in name}
    copy = bytearray(model)
    for layer, head in (parse(head) for head in heads):
        name = f"blk.{layer}.attn_output.weight"
        if name not in outputs or head >= num_heads:
            raise ValueError(f"the model has no head {layer}-{head}. It has {len(outputs)} layers of {num_heads}, from 0-0 on.")
        (rows, columns), kind, start = outputs[name]
        if kind not in _VALUE_BYTES:
            raise ValueError(f"'{name}' is quantised. Take a model in f16 or f32.")
        bytes_of_head = columns // num_heads * _VALUE_BYTES[kind]
        for row in range(rows):
            at = start + row * columns * _VALUE_BYTES[kind] + head * bytes_of_head
            copy[at:at + bytes_of_head] = bytes(bytes_of_head)
    return copy


def parse(text):
    layer, dash, head = text.partition("-")
    if not (dash and layer.isdecimal() and head.isdecimal()):
        raise ValueError(f"'{text}' is not LAYER-HEAD, such as 6-0.")
    return int(layer), int(head)


if __name__ == "__main__":
    main()
