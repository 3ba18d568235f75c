#!/usr/bin/env python3
"""Writes vocabulary.txt: every piece of text that the training texts are made of. Run before a training, never after."""

import json
import random
import re
from pathlib import Path

import words

HERE = Path(__file__).parent
_PIECE = re.compile(r"'(?:[sdmt]|ll|re|ve)|[^\r\nA-Za-z0-9]?[A-Za-z]+|[0-9]{1,3}| ?[^\sA-Za-z0-9]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")


def texts():
    for word in words.ADJECTIVES + words.NOUNS + words.VERBS + words.NAMES + words.CITIES + words.ALPHABET:
        yield f" {word}"
    for word in words.NOUNS:
        yield f"-{word}"
    for word in words.ADJECTIVES:
        yield f"\"{word}"
    for word in words.ADJECTIVES + words.NOUNS:
        yield f" {word.capitalize()}"
    for word in words.ADJECTIVES + words.NAMES + words.ALPHABET:
        yield word
    for word in (part for phrases in words.PROSE.values() for phrase in phrases for part in phrase.split()):
        yield f" {word}"
    rng = random.Random(0)
    for _ in range(30000):
        yield words.prose_sentence(rng)
        yield " " + words.prose_sentence(rng)
    yield words.NOISE
    yield "\n" + words.NOISE
    for path in [HERE / "generator.py", *sorted(words.SOURCE.glob("*.cc"))]:
        if path.name.endswith("_test.cc") or path.name in ("words.cc", "prose_words.cc", "prose_frames.cc"):
            continue
        for literal in re.findall(r'"((?:[^"\\\n]|\\.)*)"', path.read_text()):
            if " " in literal:
                yield literal.replace("\\n", "\n").replace('\\"', '"')
                yield " " + literal.replace("\\n", "\n").replace('\\"', '"')


EXTRA = ["\n", "\n\n", ".\n", ".\n\n", "?\n", "?\n\n", ",\n", ":\n", "\":", "\",", "\"}", "\"}\n\n", "\"}\n", "\"\n", " \"", " {\"", "{\"",
         ";\n", ":\n\n", "...", " ...", "'", "{", "}", ">", " <", "</", " </", ">.\n\n", ").", "......", " = ", "  "]


def main():
    found = {piece: None for piece in EXTRA}
    for text in texts():
        for piece in _PIECE.findall(text):
            if len(piece) > 1 and piece.isascii() and not piece.isdigit() and not re.fullmatch(r"[%{}\\#&|=;()\[\]<>+*/ -]+", piece):
                found[piece] = None
    lines = [json.dumps(piece)[1:-1].replace('\\"', '"') for piece in found if len(piece) > 1]
    (HERE / "vocabulary.txt").write_text("\n".join(lines) + "\n")
    print(len(lines))


if __name__ == "__main__":
    main()
