#!/usr/bin/env python3
"""Fails on an include that the table of rooms (docs/architecture.md) does not allow, and on files that grew too long.

    tools/check_includes.py [ROOT]    ROOT: a source tree with src/ in it; default: the one this file lies in

Every arrow between rooms is stated here as data. Whoever needs a new one changes the table, and thereby the design.
"""

import re
import sys
from pathlib import Path

# Which rooms a room may include; itself and the standard library always. "cache.view" is the header cache/view.h alone,
# "eval.task" the folder eval/task.
ROOMS = {
    "base": [],
    "simd": ["base"],
    "codec": ["base", "simd"],
    "cache": ["base", "codec"],
    "kernel": ["base", "simd", "codec", "cache.view"],
    "method": ["base", "cache.view", "kernel"],
    "recipe": ["base", "method", "codec"],
    "gguf": ["base"],
    "text": ["base", "gguf"],
    "model": ["base", "gguf", "cache", "kernel"],
    "engine": ["base", "simd", "codec", "cache", "kernel", "method", "recipe", "gguf", "text", "model"],
    # eval.task, eval.metric: calibration asks the questions that evaluation asks, and judges the answers alike
    "calibrate": ["base", "codec", "cache", "recipe", "gguf", "text", "model", "engine", "eval.task", "eval.metric"],
    "eval": ["base", "codec", "cache", "kernel", "recipe", "gguf", "text", "model", "engine"],
    "serve": ["base", "codec", "cache", "recipe", "gguf", "text", "engine"],
    "cli": ["base", "codec", "cache", "method", "recipe", "gguf", "text", "model", "engine", "calibrate", "eval", "serve"],
}

# Which rooms may include whose headers. Checked by the part of the name before the first '/', '.' or '-'.
LIBRARIES = {
    "ggml": ["gguf", "model", "engine", "calibrate", "eval"],
    "gguf": ["gguf", "text", "calibrate"],  # text: it hands libllama a checked copy of the vocabulary's keys
    "llama": ["text", "eval"],  # eval: libllama as the peer of `pith bench --vs llama`
    "hwy": ["simd", "codec", "kernel"],
    "Eigen": ["method"],
    "nlohmann": ["calibrate", "eval", "serve", "cli"],
    "CLI": ["cli"],
}

# Tests and benchmarks (foo_test.cc, foo_bench.cc, foo_fuzz.cc) may also use what they compare with and what makes their
# models. They are no part of a library, so no arrow between rooms comes from them.
TEST_SUFFIXES = ("_test.cc", "_bench.cc", "_fuzz.cc")
TEST_ROOMS = {"kernel": ["cache"]}
TEST_LIBRARIES = {"ggml": ["codec", "kernel", "text"], "gguf": ["kernel", "text"]}
TEST_ONLY_FOLDERS = ["make_model"]  # of tools/, as in "make_model/make_model.h"

LONG_LINES, TOO_LONG_LINES = 500, 700  # a warning above the first, a failure above the second
SOURCE_SUFFIXES = (".h", ".cc")
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')


def check_include(room, is_test, bracket, name):
    """Returns why the file of `room` must not include `name`, or None."""
    first = re.split(r"[/.\-]", name, maxsplit=1)[0]
    if bracket == '"':
        target = name.split("/", 1)[0]
        if "/" not in name:
            return "headers are named from src/, as in \"room/file.h\""
        if target in TEST_ONLY_FOLDERS:
            return None if is_test else f"tools/{target} is for tests only"
        if target not in ROOMS:
            return f"'{target}' is not a room"
        allowed = ROOMS[room] + (TEST_ROOMS.get(room, []) if is_test else [])
        part = name.removesuffix(".h") if name == "cache/view.h" else name.rsplit("/", 1)[0]
        if target == room or target in allowed or part.replace("/", ".") in allowed:
            return None
        return f"src/{room} may include {', '.join(allowed) or 'no other room'}"
    if first in LIBRARIES:
        allowed = LIBRARIES[first] + (TEST_LIBRARIES.get(first, []) if is_test else [])
        return None if room in allowed else f"<{first}> belongs to {', '.join('src/' + r for r in allowed)}"
    return None


def check_file(path, room):
    """Returns (errors, warnings) as lines of text for one source file of `room`."""
    errors, warnings = [], []
    lines = path.read_text(encoding="utf-8").splitlines()
    is_test = path.name.endswith(TEST_SUFFIXES)
    for number, line in enumerate(lines, start=1):
        match = INCLUDE.match(line)
        reason = check_include(room, is_test, match[1], match[2]) if match else None
        if reason:
            errors.append(f"{path}:{number}: {match[2]} is not allowed here: {reason}")
    if len(lines) > TOO_LONG_LINES:
        errors.append(f"{path}: {len(lines)} lines, more than {TOO_LONG_LINES}: divide it")
    elif len(lines) > LONG_LINES:
        warnings.append(f"{path}: {len(lines)} lines, more than {LONG_LINES}: consider dividing it")
    return errors, warnings


def check_tree(root):
    """Checks src/ under `root`. Returns (errors, warnings, number of files)."""
    errors, warnings, num_files = [], [], 0
    for folder in sorted((root / "src").iterdir()):
        if not folder.is_dir():
            continue
        if folder.name not in ROOMS:
            errors.append(f"{folder}: not a room; add it to the table in {Path(__file__).name}")
            continue
        for path in sorted(folder.rglob("*")):
            if path.suffix in SOURCE_SUFFIXES:
                file_errors, file_warnings = check_file(path, folder.name)
                errors += file_errors
                warnings += file_warnings
                num_files += 1
    return errors, warnings, num_files


def main():
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent.parent
    errors, warnings, num_files = check_tree(root)
    for line in warnings:
        print(f"warning: {line}")
    for line in errors:
        print(f"error: {line}")
    print(f"includes: {num_files} files, {len(errors)} errors, {len(warnings)} warnings")
    if num_files == 0:
        print("error: no source files found")
    return 1 if errors or num_files == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
