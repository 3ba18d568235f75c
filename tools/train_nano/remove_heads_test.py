"""What is removed, and that nothing else is."""

import unittest
from pathlib import Path

from gguf_reader import GgufReader
from remove_heads import without_heads

MODEL = Path(__file__).parents[2] / "models/nano/nano.gguf"


class RemoveHeadsTest(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        cls.model = MODEL.read_bytes()

    def test_columns_of_the_heads_are_0_and_every_other_byte_is_as_it_was(self):
        copy = without_heads(self.model, ["6-1", "2-3"])
        self.assertEqual(len(copy), len(self.model))
        row, head = 128 * 2, 32 * 2  # bytes: 4 heads of 32 values in f16
        expected = bytearray(self.model)
        for name, sizes, kind, start in GgufReader(self.model).places():
            removed = {"blk.6.attn_output.weight": 1, "blk.2.attn_output.weight": 3}.get(name)
            if removed is None:
                continue
            self.assertEqual((tuple(sizes), kind), ((128, 128), 1))
            for i in range(128):
                for at in range(start + i * row + removed * head, start + i * row + (removed + 1) * head):
                    expected[at] = 0
        self.assertEqual(copy, expected)
        self.assertNotEqual(copy, self.model)

    def test_heads_that_the_model_does_not_have_are_refused(self):
        for head in ["8-0", "0-4", "6", "a-b", "-1-0"]:
            with self.assertRaises(ValueError):
                without_heads(self.model, [head])


if __name__ == "__main__":
    unittest.main()
