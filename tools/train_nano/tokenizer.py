"""Byte-level BPE that splits text as Llama 3 does: digits in groups of up to three, every word of the task language one
token. The merges form a prefix tree, so that merging by rank builds a listed word from its left end; anything else falls
apart into bytes.

In GGUF this is tokenizer.ggml.model "gpt2" with tokenizer.ggml.pre "smaug-bpe". The better known "llama-bpe" splits the same
way but takes a piece that is in the vocabulary whole, without merging; numbers would become other tokens than in training.
"""

import re

import words

_PIECE = re.compile(
    r"'[sdmt]|[^\r\n\w]?[A-Za-z]+|[0-9]{1,3}| ?[^\s\w]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")


def _byte_characters():
    """GPT-2's table: a printable character for every byte."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    table = {byte: chr(byte) for byte in printable}
    others = (byte for byte in range(256) if byte not in table)
    table.update({byte: chr(256 + i) for i, byte in enumerate(others)})
    return table


_BYTE_CHARACTERS = _byte_characters()


def _spell(text):
    return "".join(_BYTE_CHARACTERS[byte] for byte in text.encode())


def _build_vocabulary():
    """Returns (tokens, merges): the bytes, then one token and one merge for every prefix of every word."""
    tokens = [_BYTE_CHARACTERS[byte] for byte in range(256)]
    merges = []
    known = set(tokens)

    def add(word):
        prefix = word[0]
        for character in word[1:]:
            if prefix + character not in known:
                known.add(prefix + character)
                tokens.append(prefix + character)
                merges.append((prefix, character))
            prefix += character

    pieces = {piece for text in words.lexicon() for piece in _PIECE.findall(text) if not piece.isdigit()}
    # Shorter words first, so that a prefix which is a word itself is ranked before its extensions.
    for piece in sorted(pieces, key=lambda p: (len(p), p)):
        if len(piece) > 1:
            add(_spell(piece))
    for number in range(100):
        add(f"{number:02d}")
    for number in range(1000):
        add(f"{number:03d}")
    return tokens, merges


TOKENS, MERGES = _build_vocabulary()
SPECIAL_TOKENS = ["<|bos|>", "<|eos|>"]
BOS = len(TOKENS)
EOS = BOS + 1
VOCABULARY_SIZE = len(TOKENS) + len(SPECIAL_TOKENS)

TOKEN_IDS = {token: i for i, token in enumerate(TOKENS)}
_RANKS = {merge: i for i, merge in enumerate(MERGES)}
_UNRANKED = len(MERGES)
_cache = {}


def _encode_piece(piece):
    symbols = list(_spell(piece))
    while len(symbols) > 1:
        rank, i = min((_RANKS.get(pair, _UNRANKED), i) for i, pair in enumerate(zip(symbols, symbols[1:])))
        if rank == _UNRANKED:
            break
        symbols[i:i + 2] = [symbols[i] + symbols[i + 1]]
    return [TOKEN_IDS[symbol] for symbol in symbols]


def encode(text):
    """Token ids of `text`, without BOS. Letters and digits outside ASCII, which no task uses, are refused: Python's regular
    expressions would split them otherwise than Llama 3 does."""
    pieces = _PIECE.findall(text)
    if "".join(pieces) != text:
        raise ValueError(f"letters outside ASCII are not supported: {text!r}")
    ids = []
    for piece in pieces:
        if piece not in _cache:
            _cache[piece] = _encode_piece(piece)
        ids += _cache[piece]
    return ids


def decode(ids):
    """The text of token ids; special tokens give nothing."""
    bytes_of = {character: byte for byte, character in _BYTE_CHARACTERS.items()}
    spelled = "".join(TOKENS[i] for i in ids if i < len(TOKENS))
    return bytes(bytes_of[character] for character in spelled).decode(errors="replace")
