#!/usr/bin/env python3
"""Writes the seeds in fuzz/corpus/gguf and fuzz/corpus/cache: small well-formed inputs, one per feature of the format."""
import pathlib
import struct

U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64 = range(13)
CODES = dict(zip(range(13), ["B", "b", "H", "h", "I", "i", "f", "B", None, None, "Q", "q", "d"]))


def text(value):
    return struct.pack("<Q", len(value)) + value.encode()


def element(kind, value):
    return text(value) if kind == STRING else struct.pack("<" + CODES[kind], value)


def key(name, kind, value):
    return text(name) + struct.pack("<I", kind) + element(kind, value)


def array(name, kind, values):
    head = text(name) + struct.pack("<IIQ", ARRAY, kind, len(values))
    return head + b"".join(element(kind, value) for value in values)


def gguf(keys, tensors, version=3, alignment=32):
    """tensors: (name, ne, ggml type, bytes)"""
    infos, data = b"", b""
    for name, ne, kind, size in tensors:
        infos += text(name) + struct.pack(f"<I{len(ne)}qIQ", len(ne), *ne, kind, len(data))
        data += b"\x3c" * size
        data += b"\0" * (-len(data) % alignment)
    head = struct.pack("<4sIQQ", b"GGUF", version, len(tensors), len(keys)) + b"".join(keys) + infos
    return head + b"\0" * (-len(head) % alignment if tensors else 0) + data


SEEDS = {
    "empty": gguf([], []),
    "scalars": gguf([key(f"k{kind}", kind, 1) for kind in range(13) if CODES[kind]], []),
    "arrays": gguf([array("n", kind, [1, 0]) for kind in [I32]] +
                   [array("f", F32, [0.5]), array("d", F64, [1e300]), array("s", STRING, ["a", ""])], []),
    "alignment": gguf([key("general.alignment", U32, 8)], [("t", [4], 0, 16)], alignment=8),
    "version2": gguf([key("general.architecture", STRING, "llama")], [("t", [4], 0, 16)], version=2),
    "split": gguf([key("split.no", U16, 0), key("split.count", U16, 2),
                   key("split.tensors.count", I32, 2)], [("t", [4], 0, 16)]),
    "types": gguf([], [("f16", [3, 2], 1, 12), ("q8_0", [32, 2], 8, 68), ("q4_k", [256], 12, 144),
                       ("four", [1, 2, 1, 2], 0, 16)]),
}

# The lists of cache_fuzz.cc: f16 keys of 4 numbers, f16 values of 2. Each seed begins with the choice of a spec.
CONTIGUOUS, EXPLICIT = 0, 1
KEYS, VALUES = b"\0\x3c" * 4, b"\0\x3c" * 2
NORMS_OF_2 = b"\0\x3c" * 2
GROUP_OF_2 = b"\0\x3c" * 8 + b"\x21" * 4  # scales, minima, codes of 4 bits
CACHE_SEEDS = {
    "empty": b"\0" + struct.pack("<QQ", 0, 0),
    "plain": b"\0" + struct.pack("<QII", 1, CONTIGUOUS, 7) + KEYS + b"su" + struct.pack("<Q", 1) + VALUES + b"b",
    "explicit": b"\0" + struct.pack("<QIII", 2, EXPLICIT, 3, 5) + KEYS * 2 + b"sutt" + struct.pack("<Q", 2) +
                VALUES * 2 + b"b",
    "groups": b"\1" + struct.pack("<QQIIII", 5, 2, 1, 2, CONTIGUOUS, 0) + KEYS * 2 + GROUP_OF_2 + KEYS +
              struct.pack("<QQQ", 5, 0, 0) + VALUES * 5,
    "one_by_one": b"\2" + struct.pack("<QQII", 2, 1, CONTIGUOUS, 0) + KEYS * 2 + struct.pack("<Q", 2) + VALUES * 2,
    "merged": b"\3" + struct.pack("<QQIIff6I", 4, 1, 1, 2, 0.25, 0.5, CONTIGUOUS, 0, CONTIGUOUS, 1, CONTIGUOUS, 3) +
              KEYS + GROUP_OF_2 + NORMS_OF_2 + KEYS + NORMS_OF_2 + KEYS * 2 +
              struct.pack("<QQIIff", 4, 1, 1, 2, 0.25, 0.5) + VALUES * 3 + NORMS_OF_2 + VALUES + NORMS_OF_2 + VALUES * 2,
}

if __name__ == "__main__":
    for target, seeds in {"gguf": SEEDS, "cache": CACHE_SEEDS}.items():
        folder = pathlib.Path(__file__).parent / "corpus" / target
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in seeds.items():
            (folder / name).write_bytes(data)
