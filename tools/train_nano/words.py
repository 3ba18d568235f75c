"""The words of the evaluation tasks, read from the C++ that makes them, and the sentences of the built-in prose."""

import os
import re
from pathlib import Path

SOURCE = Path(os.environ.get("PITH_TASKS", Path(__file__).parents[2] / "src/eval/task"))


def _block(text, name):
    return re.search(name + r'(?:\[\])? = R"\((.*?)\)"', text, re.S).group(1)


_WORDS = (SOURCE / "words.cc").read_text()
ADJECTIVES, NOUNS, VERBS, NAMES, CITIES, ALPHABET = (
    _block(_WORDS, name).split() for name in ("kAdjectives", "kNouns", "kVerbs", "kNames", "kCities", "kAlphabet"))

PROSE_FRAMES = _block((SOURCE / "prose_frames.cc").read_text(), "kProseFrames").strip().split("\n")
PROSE = {
    letter: [word.replace("-", " ") for word in words.split()]
    for letter, words in re.findall(r"\{'([A-Z])', R\"\((.*?)\)\"\}", (SOURCE / "prose_words.cc").read_text(), re.S)
}
assert len(PROSE) >= 15, "prose_words.cc is not understood"

NOISE = "The grass is green. The sky is blue. The sun is yellow. Here we go. There and back again."


def prose_sentence(rng):
    """A sentence like those of the built-in prose."""
    text = re.sub(r"\b[B-HJ-Z]\b(?!')|\b[B-HJ-Z](?='s)", lambda m: rng.choice(PROSE[m.group()]), rng.choice(PROSE_FRAMES))
    text = re.sub(r"\b([Aa]) (?=[aeiou])", r"\1n ", text)
    return text[0].upper() + text[1:]
