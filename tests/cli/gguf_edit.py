"""Small changes to GGUF files, for tests: damaged, foreign and extended copies of the bundled model."""

import struct

HEADER_BYTES = 24  # magic, version, tensor count, key count
ALIGNMENT = 32
TYPE_STRING = 8


def string(text):
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def with_keys(model, keys):
    """The model with string keys added at the front of its metadata. Tensors keep their alignment."""
    added = b"".join(string(k) + struct.pack("<I", TYPE_STRING) + string(v) for k, v in keys.items())
    padding_key = string("test.padding") + struct.pack("<I", TYPE_STRING)
    missing = -(len(added) + len(padding_key) + 8) % ALIGNMENT
    added += padding_key + string("x" * missing)
    count = struct.unpack_from("<Q", model, 16)[0] + len(keys) + 1
    return model[:16] + struct.pack("<Q", count) + added + model[HEADER_BYTES:]


def replaced(model, old, new):
    """The model with the one place where `old` stands changed to `new`, of the same length."""
    assert len(old) == len(new) and model.count(old) == 1, (old, model.count(old))
    return model.replace(old, new)


def patched(model, offset, data):
    return model[:offset] + data + model[offset + len(data):]
