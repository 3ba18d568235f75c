"""Byte-level BPE that splits text as Llama 3 does: digits in groups of up to three, every word of the tasks one token.

In GGUF this is tokenizer.ggml.model "gpt2" with tokenizer.ggml.pre "llama-bpe": a piece of text that is in the vocabulary is
taken whole, without merging. Any other piece falls apart into bytes; the only merges put a space in front of a letter.
"""

import re
import string
from pathlib import Path

_PIECE = re.compile(r"'(?:[sdmt]|ll|re|ve)|[^\r\nA-Za-z0-9]?[A-Za-z]+|[0-9]{1,3}| ?[^\sA-Za-z0-9]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
_VOCABULARY = Path(__file__).with_name("vocabulary.txt")  # the words, one a line as JSON strings without their quotes


def pieces(text):
    """The pieces that are tokenized each on its own."""
    found = _PIECE.findall(text)
    if not text.isascii() or "".join(found) != text:
        raise ValueError(f"only ASCII is supported: {text!r}")
    return found


def _byte_characters():
    """GPT-2's table: a printable character for every byte."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    table = {byte: chr(byte) for byte in printable}
    others = (byte for byte in range(256) if byte not in table)
    table.update({byte: chr(256 + i) for i, byte in enumerate(others)})
    return table


_BYTE_CHARACTERS = _byte_characters()
_BYTES = {character: byte for byte, character in _BYTE_CHARACTERS.items()}


def spell(text):
    return "".join(_BYTE_CHARACTERS[byte] for byte in text.encode())


def read_words():
    return [line.encode().decode("unicode_escape") for line in _VOCABULARY.read_text().splitlines()]


def _build_vocabulary():
    """Returns (tokens, merges)."""
    tokens = [_BYTE_CHARACTERS[byte] for byte in range(256)]
    merges = [(spell(" "), letter) for letter in string.ascii_letters]
    tokens += [a + b for a, b in merges]
    tokens += [f"{number:02d}" for number in range(100)] + [f"{number:03d}" for number in range(1000)]
    tokens += [spell(word) for word in read_words()]
    return list(dict.fromkeys(tokens)), merges


TOKENS, MERGES = _build_vocabulary()
SPECIAL_TOKENS = ["<|bos|>", "<|eos|>"]
BOS = len(TOKENS)
EOS = BOS + 1
VOCABULARY_SIZE = len(TOKENS) + len(SPECIAL_TOKENS)

TOKEN_IDS = {token: i for i, token in enumerate(TOKENS)}
_cache = {}


def _encode_piece(piece):
    spelled = spell(piece)
    if spelled in TOKEN_IDS:
        return [TOKEN_IDS[spelled]]
    if len(spelled) > 1 and spelled[:2] in TOKEN_IDS and spelled[0] == spell(" ") and spelled[1].isascii() and spelled[1].isalpha():
        return [TOKEN_IDS[spelled[:2]]] + [TOKEN_IDS[character] for character in spelled[2:]]
    return [TOKEN_IDS[character] for character in spelled]


def encode(text):
    """Token ids of ASCII `text`, without BOS."""
    ids = []
    for piece in pieces(text):
        if piece not in _cache:
            _cache[piece] = _encode_piece(piece)
        ids += _cache[piece]
    return ids


def decode(ids):
    """The text of token ids; special tokens give nothing."""
    spelled = "".join(TOKENS[i] for i in ids if i < len(TOKENS))
    return bytes(_BYTES[character] for character in spelled).decode(errors="replace")
