"""The tokenizer and the generator against the shipped model: weights are worth nothing with other token ids."""

import random
import unittest
from pathlib import Path

import generator
import tokenizer
from gguf_reader import GgufReader
from words import ADJECTIVES, CITIES, NAMES, NOUNS

MODEL = Path(__file__).parents[2] / "models/nano/nano.gguf"


class TokenizerTest(unittest.TestCase):

    def test_vocabulary_and_merges_are_those_of_the_shipped_model(self):
        pairs = GgufReader(MODEL.read_bytes()).pairs
        self.assertEqual(pairs["tokenizer.ggml.tokens"], tokenizer.TOKENS + tokenizer.SPECIAL_TOKENS)
        self.assertEqual(pairs["tokenizer.ggml.merges"], [" ".join(pair) for pair in tokenizer.MERGES])
        self.assertEqual(pairs["tokenizer.ggml.pre"], "llama-bpe")
        self.assertEqual(pairs["tokenizer.ggml.bos_token_id"], tokenizer.BOS)
        self.assertEqual(pairs["tokenizer.ggml.eos_token_id"], tokenizer.EOS)

    def test_words_of_the_tasks_are_one_token_each(self):
        texts = [f" {word}" for word in ADJECTIVES + NOUNS + NAMES + CITIES] + [f"-{noun}" for noun in NOUNS]
        for text in texts + [" Question", "?\n", "7", "48", "656"]:
            self.assertEqual(len(tokenizer.encode(text)), 1, text)

    def test_number_is_taken_in_groups_of_three_from_its_left_end(self):
        self.assertEqual([tokenizer.TOKENS[i] for i in tokenizer.encode(" 6561234")], ["Ġ", "656", "123", "4"])

    def test_unknown_word_falls_apart_into_bytes_behind_its_first_letter(self):
        self.assertEqual([tokenizer.TOKENS[i] for i in tokenizer.encode(" QXW")], ["ĠQ", "X", "W"])

    def test_text_comes_back(self):
        for text in (" The owl found 1234567 stones.", "size: 3\n\n\tx ", "it's", '{"amber-anchor": "1"}'):
            self.assertEqual(tokenizer.decode(tokenizer.encode(text)), text)

    def test_text_outside_ascii_is_refused(self):
        for text in ("Größe", " 日本", "→"):
            self.assertRaises(ValueError, tokenizer.encode, text)


class GeneratorTest(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        generator.use_prose(0)

    def test_every_task_makes_texts_of_the_length_that_ask_for_recall(self):
        for name in generator.TASKS:
            for length in (128, 512):
                ids, targets, weights = generator.sample(random.Random(1), length, {name: 1})
                self.assertEqual((len(ids), len(targets), len(weights)), (length + 1, length, length), name)
                documents = [generator.TASKS[name](random.Random(seed), length) for seed in range(5)]
                self.assertTrue(any(1.0 in document.weights for document in documents), name)

    def test_needle_answers_stand_in_the_context_and_end(self):
        for seed in range(20):
            document = generator.one_needle(random.Random(seed), 300)
            first = len(document.ids) - 1
            while document.weights[first - 1] > 0 and document.targets[first - 1] == document.ids[first - 1]:
                first -= 1
            self.assertEqual(document.ids[-1], tokenizer.EOS)
            answer = tokenizer.decode(document.ids[first:]).strip()
            self.assertIn(f": {answer}.", tokenizer.decode(document.ids[:first]))

    def test_hint_is_the_first_word_of_the_answer(self):
        document = generator.Document(100)
        document.ask("What is it?", "\n", " It is", " 1234567")
        (hint,) = [i for i, (id, target) in enumerate(zip(document.ids, document.targets)) if id != target]
        self.assertEqual(document.targets[hint], tokenizer.TOKEN_IDS["123"])
        self.assertEqual(tokenizer.decode(document.ids[:hint]).strip(), "What is it?")

    def test_hint_stands_after_the_key_too(self):
        document = generator.Document(100)
        document.ask("What is its number?", "\n", " It is", " 1234567", "its")
        hints = [i for i, (id, target) in enumerate(zip(document.ids, document.targets)) if id != target]
        self.assertEqual([tokenizer.decode(document.ids[:hint]).strip() for hint in hints], ["What is its", "What is its number?"])

    def test_same_seed_same_text(self):
        mix = {name: 1 for name in generator.TASKS}
        texts = [generator.sample(random.Random(7), 256, mix) for _ in range(2)]
        self.assertEqual(texts[0], texts[1])
        self.assertNotEqual(texts[0], generator.sample(random.Random(8), 256, mix))


if __name__ == "__main__":
    unittest.main()
