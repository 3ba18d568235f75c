#!/usr/bin/env python3
"""Writes a checkpoint of train.py as a GGUF file of the llama architecture: f16 matrices, f32 norms, tokenizer included.

    tools/train_nano/export_gguf.py nano.pt nano.gguf
"""

import argparse
import struct

import numpy as np
import torch

import tokenizer
from model import NORM_EPSILON, Shape

ALIGNMENT = 32
UINT32, INT32, FLOAT32, BOOL, STRING, ARRAY = 4, 5, 6, 7, 8, 9  # GGUF's value types
TENSOR_F32, TENSOR_F16 = 0, 1  # ggml's tensor types
TOKEN_NORMAL, TOKEN_CONTROL = 1, 3
FILE_TYPE_MOSTLY_F16 = 1

_FORMATS = {UINT32: "<I", INT32: "<i", FLOAT32: "<f", BOOL: "<B"}


def pack(value_type, value):
    if value_type == STRING:
        data = value.encode()
        return struct.pack("<Q", len(data)) + data
    return struct.pack(_FORMATS[value_type], value)


def pack_pair(key, value_type, value):
    return pack(STRING, key) + struct.pack("<I", value_type) + pack(value_type, value)


def pack_array(key, value_type, values):
    head = pack(STRING, key) + struct.pack("<IIQ", ARRAY, value_type, len(values))
    return head + b"".join(pack(value_type, value) for value in values)


def metadata(shape, context):
    special = len(tokenizer.SPECIAL_TOKENS)
    return [
        pack_pair("general.architecture", STRING, "llama"),
        pack_pair("general.name", STRING, "nano"),
        pack_pair("general.file_type", UINT32, FILE_TYPE_MOSTLY_F16),
        pack_pair("llama.context_length", UINT32, context),
        pack_pair("llama.embedding_length", UINT32, shape.width),
        pack_pair("llama.block_count", UINT32, shape.layers),
        pack_pair("llama.feed_forward_length", UINT32, shape.ffn),
        pack_pair("llama.attention.head_count", UINT32, shape.heads),
        pack_pair("llama.attention.head_count_kv", UINT32, shape.kv_heads),
        pack_pair("llama.attention.key_length", UINT32, shape.head_size),
        pack_pair("llama.attention.value_length", UINT32, shape.head_size),
        pack_pair("llama.rope.dimension_count", UINT32, shape.head_size),
        pack_pair("llama.rope.freq_base", FLOAT32, shape.rope_base),
        pack_pair("llama.attention.layer_norm_rms_epsilon", FLOAT32, NORM_EPSILON),
        pack_pair("llama.vocab_size", UINT32, shape.vocabulary),
        pack_pair("tokenizer.ggml.model", STRING, "gpt2"),
        pack_pair("tokenizer.ggml.pre", STRING, "llama-bpe"),  # tokenizer.py says what that means
        pack_array("tokenizer.ggml.tokens", STRING, tokenizer.TOKENS + tokenizer.SPECIAL_TOKENS),
        pack_array("tokenizer.ggml.token_type", INT32,
                   [TOKEN_NORMAL] * len(tokenizer.TOKENS) + [TOKEN_CONTROL] * special),
        pack_array("tokenizer.ggml.merges", STRING, [" ".join(merge) for merge in tokenizer.MERGES]),
        pack_pair("tokenizer.ggml.bos_token_id", UINT32, tokenizer.BOS),
        pack_pair("tokenizer.ggml.eos_token_id", UINT32, tokenizer.EOS),
        pack_pair("tokenizer.ggml.add_bos_token", BOOL, True),
    ]


def padded(data):
    return data + bytes(-len(data) % ALIGNMENT)


def pack_tensors(weights):
    """(infos, data) of all tensors. Names in the checkpoint are those of GGUF."""
    infos, data = [], b""
    for name, tensor in weights.items():
        is_norm = tensor.dim() == 1
        infos.append(
            pack(STRING, name) + struct.pack("<I", tensor.dim()) +
            b"".join(struct.pack("<Q", size) for size in reversed(tensor.shape)) +
            struct.pack("<IQ", TENSOR_F32 if is_norm else TENSOR_F16, len(data)))
        data += padded(tensor.numpy().astype(np.float32 if is_norm else np.float16).tobytes())
    return infos, data


def shape_of(weights, head_size):
    vocabulary, width = weights["token_embd.weight"].shape
    return Shape(vocabulary=vocabulary,
                 layers=1 + max(int(name.split(".")[1]) for name in weights if name.startswith("blk.")),
                 width=width,
                 heads=weights["blk.0.attn_q.weight"].shape[0] // head_size,
                 kv_heads=weights["blk.0.attn_k.weight"].shape[0] // head_size,
                 head_size=head_size,
                 ffn=weights["blk.0.ffn_gate.weight"].shape[0])


def to_gguf(weights, context, head_size=Shape.head_size):
    """The bytes of the GGUF file for a state dict of model.Nano."""
    pairs = metadata(shape_of(weights, head_size), context)
    infos, data = pack_tensors(weights)
    head = b"GGUF" + struct.pack("<IQQ", 3, len(infos), len(pairs)) + b"".join(pairs + infos)
    return padded(head) + data


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint")
    parser.add_argument("gguf")
    parser.add_argument("--context", type=int, default=4096, help="length the file declares")
    options = parser.parse_args()
    contents = to_gguf(torch.load(options.checkpoint, map_location="cpu"), options.context)
    with open(options.gguf, "wb") as file:
        file.write(contents)
    print(f"{options.gguf}: {len(contents)} bytes")


if __name__ == "__main__":
    main()
