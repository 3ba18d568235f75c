"""Reads back the GGUF files that export_gguf.py writes."""

import struct

_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_ALIGNMENT = 32


class GgufReader:

    def __init__(self, data):
        """`pairs` holds the metadata by key."""
        self.data, self.at = data, 4
        version, num_tensors, num_pairs = self.unpack("IQQ")
        assert data[:4] == b"GGUF" and version == 3, "not a GGUF file of version 3"
        self.pairs = {}
        for _ in range(num_pairs):
            key = self.string()
            self.pairs[key] = self.value(self.unpack("I")[0])
        self._infos = []
        for _ in range(num_tensors):
            name = self.string()
            sizes = self.unpack(f"{self.unpack('I')[0]}Q")
            self._infos.append((name, sizes[::-1], *self.unpack("IQ")))
        self._end = self.at

    def tensors(self):
        """Arrays of float32 by name."""
        import numpy as np  # here, so that the metadata is read without it
        arrays = {}
        for name, sizes, kind, offset in self.places():
            flat = np.frombuffer(self.data, {0: np.float32, 1: np.float16}[kind], int(np.prod(sizes)), offset)
            arrays[name] = flat.reshape(sizes).astype(np.float32)
        return arrays

    def places(self):
        """Name, sizes (slowest first), type and first byte in the file of each tensor."""
        base = -(-self._end // _ALIGNMENT) * _ALIGNMENT
        return [(name, sizes, kind, base + offset) for name, sizes, kind, offset in self._infos]

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
