"""The tokenizer and the generator against the shipped model: weights are worth nothing with other token ids."""

import random
import struct
import unittest
from pathlib import Path

import generator
import tokenizer

MODEL = Path(__file__).parents[2] / "models/nano/nano.gguf"


def read_strings(data, key):
    """The array of strings that `key` names in the bytes of a GGUF file."""
    at = data.index(struct.pack("<Q", len(key)) + key.encode()) + 8 + len(key)
    value_type, item_type, count = struct.unpack_from("<IIQ", data, at)
    assert (value_type, item_type) == (9, 8), "not an array of strings"
    at += 16
    strings = []
    for _ in range(count):
        (length,) = struct.unpack_from("<Q", data, at)
        strings.append(data[at + 8:at + 8 + length].decode())
        at += 8 + length
    return strings


class TokenizerTest(unittest.TestCase):

    def test_vocabulary_and_merges_are_those_of_the_shipped_model(self):
        data = MODEL.read_bytes()
        self.assertEqual(read_strings(data, "tokenizer.ggml.tokens"), tokenizer.TOKENS + tokenizer.SPECIAL_TOKENS)
        self.assertEqual(read_strings(data, "tokenizer.ggml.merges"), [" ".join(pair) for pair in tokenizer.MERGES])

    def test_listed_word_is_one_token(self):
        for text in (" amber", "-anchor", " Zoe", " Question", "7", "48"):
            self.assertEqual(len(tokenizer.encode(text)), 1, text)

    def test_number_is_merged_by_rank_not_taken_whole(self):
        self.assertIn("656", tokenizer.TOKEN_IDS)
        self.assertEqual([tokenizer.TOKENS[i] for i in tokenizer.encode("656")], ["6", "56"])

    def test_text_comes_back(self):
        for text in (" The owl found 1234567 stones.", "size: 3\n\n\tx  → y", "it's"):
            self.assertEqual(tokenizer.decode(tokenizer.encode(text)), text)

    def test_letters_outside_ascii_are_refused(self):
        for text in ("Größe", " 日本"):
            self.assertRaises(ValueError, tokenizer.encode, text)


class GeneratorTest(unittest.TestCase):

    def test_every_task_fills_its_length_and_asks_for_recall(self):
        tasks = (generator.needles, generator.entries, generator.variables, generator.copies, generator.frequent_words,
                 generator.pairs)
        for task in tasks:
            for length in (64, 512):
                document = task(random.Random(1), length, tokenizer.encode)
                self.assertGreaterEqual(len(document.ids), length, task.__name__)
                self.assertEqual(len(document.ids), len(document.recalled))
                self.assertIn(1, document.recalled, task.__name__)

    def test_needle_answers_stand_in_the_context(self):
        for seed in range(20):
            document = generator.needles(random.Random(seed), 300, tokenizer.encode)
            first = document.recalled.index(1)
            context, answer = document.ids[:first], document.ids[first:]
            answer = answer[:document.recalled[first:].index(0)] if 0 in document.recalled[first:] else answer
            text = tokenizer.decode(answer).strip(" .").split(", ")[0]
            self.assertIn(text, tokenizer.decode(context))

    def test_same_seed_same_text(self):
        texts = [generator.sample(random.Random(7), 256, tokenizer.encode, 0.9) for _ in range(2)]
        self.assertEqual(texts[0], texts[1])
        self.assertNotEqual(texts[0], generator.sample(random.Random(8), 256, tokenizer.encode, 0.9))


if __name__ == "__main__":
    unittest.main()
