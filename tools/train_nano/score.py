#!/usr/bin/env python3
"""How often the model answers: exact match of the first sentence it writes after a question about a planted fact.

    tools/train_nano/score.py                      the table of models/nano/README.md (a few minutes)
    tools/train_nano/score.py --kind mixed --tokens 450 --samples 60
    tools/train_nano/score.py --show mixed --tokens 700 --seed 0    prints one such prompt

Texts are drawn anew from the trainer's generator; the seeds are fixed, so that the figures can be repeated.
"""

import argparse
import math
import random
import subprocess
import sys
import tempfile

import generator
import tokenizer
from words import CITIES, JOBS, NAMES


def numbers(rng, num_keys):
    """Magic numbers of six digits; asked for one."""
    values = {}
    while len(values) < num_keys:
        values[generator.compound(rng)] = generator.number(rng, 6)
    facts = [f" One of the special magic numbers for {key} is: {value}." for key, value in values.items()]
    key = rng.choice(list(values))
    return facts, generator.magic_question(key, "number"), values[key]


def word(rng):
    """One magic word."""
    key, value = generator.compound(rng), generator.compound(rng)
    facts = [f" One of the special magic words for {key} is: {value}."]
    return facts, generator.magic_question(key, "word"), value


def homes(rng, num_names):
    """Who lives where; asked for one."""
    cities = {name: rng.choice(CITIES) for name in rng.sample(NAMES, num_names)}
    name = rng.choice(list(cities))
    facts = [f" {name} lives in {city}." for name, city in cities.items()]
    return facts, f" Question: Where does {name} live? Answer: {name} lives in", cities[name]


def mixed(rng):
    """One magic number among three facts of other kinds: the demo's kind of prompt."""
    facts, question, answer = numbers(rng, 1)
    names = rng.sample(NAMES, 3)
    facts += [f" {name} lives in {rng.choice(CITIES)}." for name in names[:2]]
    facts += [f" {names[2]} works as a {rng.choice(JOBS)}."]
    rng.shuffle(facts)
    return facts, question, answer


KINDS = {
    "mixed": mixed,
    "number": lambda rng: numbers(rng, 1),
    "number-of-4": lambda rng: numbers(rng, 4),
    "word": word,
    "home": lambda rng: homes(rng, 1),
    "home-of-4": lambda rng: homes(rng, 4),
}
TABLE_TOKENS = (256, 450, 700, 950)


def make_prompt(kind, num_tokens, seed):
    """(prompt, expected answer): `num_tokens` of context, then the question."""
    rng = random.Random(f"{kind} {num_tokens} {seed}")
    facts, question, answer = KINDS[kind](rng)
    document = generator.Document(tokenizer.encode, math.inf)
    generator.plant(rng, document, facts, num_tokens, only_noise=False)
    return tokenizer.decode(document.ids) + question, answer


def ask(command, prompt):
    """What the program writes for a prompt, up to the first full stop."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write(prompt)
        file.flush()
        done = subprocess.run([*command, "-f", file.name], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"score: {' '.join(command)} failed: {done.stderr.strip()}")
    return done.stdout.strip()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pith", default="build/release/pith", help="the program to ask")
    parser.add_argument("--model", default="models/nano/nano.gguf")
    parser.add_argument("--kind", choices=KINDS, action="append")
    parser.add_argument("--tokens", type=int, action="append", help="tokens of context")
    parser.add_argument("--samples", type=int, default=60)
    parser.add_argument("--show", choices=KINDS, metavar="KIND", help="print a prompt instead")
    parser.add_argument("--seed", type=int, default=0, help="of the prompt to print")
    options = parser.parse_args()
    if options.show:
        print(make_prompt(options.show, (options.tokens or [700])[0], options.seed)[0])
        return
    command = [options.pith, "run", "-m", options.model, "-n", "10", "--stop", "."]
    for kind in options.kind or KINDS:
        for num_tokens in options.tokens or TABLE_TOKENS:
            prompts = [make_prompt(kind, num_tokens, seed) for seed in range(options.samples)]
            right = sum(ask(command, prompt) == answer for prompt, answer in prompts)
            print(f"{kind:12} {num_tokens:5} tokens  {right:3} of {options.samples}", flush=True)


if __name__ == "__main__":
    main()
