#!/usr/bin/env python3
"""Writes test items of kinds that no suite has: needles among a given number of others, lists of words and numbers, chains of
two hops, direct questions.

    tools/train_nano/make_items.py items.jsonl --samples 100
    build/release/pith eval -m models/nano/nano.gguf --suite items --data items.jsonl

The seeds are others than the trainer's.
"""

import argparse
import json
import random

import generator
import tokenizer

QUESTION_TOKENS = 60


def needles(rng, length, num_keys, is_direct=False):
    document = generator.Document(length)
    facts = generator.magic_facts(rng, num_keys, (1, 0, 0))
    document.add("A special magic number is hidden in the text below. Memorize it; you will be asked about the number later.\n")
    sentences = [sentence for _, _, sentence in generator.magic_sentences(facts)]
    generator.plant(rng, document, sentences, length - QUESTION_TOKENS - len(document.ids), "prose")
    document.add("\n")
    key = rng.choice(list(facts))
    question = f"What is the special magic number for {key} mentioned in the text above?"
    prefix = "" if is_direct else f" The special magic number for {key} mentioned in the text is"
    return document, question, prefix, facts[key][1]


def key_values(rng, length):
    document = generator.Document(length)
    document.add("The JSON object below maps keys to values. Find the value of the key that is asked for after it.\n\nJSON data:\n{")
    values = {}
    while len(document.ids) < length - QUESTION_TOKENS + 20:
        key = generator.compound(rng)
        if key not in values:
            document.add(", " if values else "")
            values[key] = generator.number(rng)
            document.add(f"\"{key}\": \"{values[key]}\"")
    document.add("}\n\n")
    key = rng.choice(list(values))
    return document, f"Key: \"{key}\"", "The value associated with the specified key is:", [values[key]]


def two_hops(rng, length):
    document = generator.Document(length)
    names = generator.distinct(lambda: generator.draw_name(rng, 5), 3)
    value = str(rng.randint(10000, 99998))
    document.add("Memorize and track the chain(s) of variable assignment hidden in the text.\n\n")
    lines = [f"VAR {names[0]} = {value}"] + [f"VAR {b} = VAR {a}" for a, b in zip(names, names[1:])]
    generator.plant(rng, document, lines, length - QUESTION_TOKENS - 45, "noise")
    document.add("\n")
    return document, *generator.all_variables(value, names), names


KINDS = {
    "needle_direct": (lambda rng, length: needles(rng, length, 1, True), (512, 1024, 2048)),
    "needles_4": (lambda rng, length: needles(rng, length, 4), (512, 1024, 2048)),
    "needles_8": (lambda rng, length: needles(rng, length, 8), (512, 1024, 2048)),
    "key_values": (key_values, (256, 512, 1024)),
    "two_hops": (two_hops, (512,)),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file")
    parser.add_argument("--samples", type=int, default=100, help="of each kind and length")
    options = parser.parse_args()
    generator.use_prose("test")
    with open(options.file, "w", encoding="utf-8") as file:
        for kind, (make, lengths) in KINDS.items():
            for length in lengths:
                for sample in range(options.samples):
                    document, question, prefix, answers = make(random.Random(f"{kind} {length} {sample}"), length)
                    item = {"task": f"nano/{kind}_{length}", "id": sample, "context": tokenizer.decode(document.ids),
                            "question": question, "answer_prefix": prefix, "answers": answers,
                            "metrics": ["string_match_all"], "length": length, "max_new_tokens": 40}
                    file.write(json.dumps(item) + "\n")


if __name__ == "__main__":
    main()
