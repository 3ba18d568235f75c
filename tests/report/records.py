"""Synthetic result records, the same every time: what a run over four tasks would write."""

import hashlib
import json
import math

BUDGETS = ("5%", "10%", "25%")
QUALITY = {"snapkv": 0.95, "headkv + kivi(bits=4)": 0.9, "random": 0.35}
SHARES = {"5%": 0.06, "10%": 0.12, "25%": 0.27}
FULL_BYTES = 1024 * 8 * 2 * 2 * 64 * 2
HOSTILE = "<script>alert(1)</script> & \"quoted\" https://example.org/x.png \u0007|"


def chance(*key):
    return int.from_bytes(hashlib.sha256(repr(key).encode()).digest()[:4], "big") / 2**32


def settings():
    yield "full", None
    for recipe in QUALITY:
        for budget in BUDGETS:
            yield recipe, budget


def success(recipe, budget, hard):
    if recipe == "full":
        return 0.99 - hard
    return QUALITY[recipe] * (1 - hard) * (1 - 0.03 / SHARES[budget])


def item(task, length, number, recipe, budget, **more):
    share = 1 if budget is None else SHARES[budget] * (0.5 if "kivi" in recipe else 1)
    full = FULL_BYTES * max(length, 1024) // 1024
    record = {
        "kind": "item", "run": "2026-01-02T03:04:05Z/1", "config": "c0ffee", "model": "nano <b>.gguf",
        "model_hash": "0123456789abcdef", "task": task, "length": length, "id": str(number), "recipe": recipe,
        "query_aware": False, "haystack": "generated", "prompts": "pith", "seed": 42, "prediction": "", "answers": [],
        "stop": "eos", "score": 0.0, "null_prediction": False, "prompt_tokens": length, "generated_tokens": 8,
        "cache": {"entries": int(16 * length * share), "entries_full": 16 * length, "logical": int(full * share * 0.95),
                  "metadata": 512, "allocated": int(full * share), "peak": full, "full_f16": full},
        "resident_bytes": 90_000_000 + int(full * share),
        "timings": {"prefill_ms": 120.0, "compress_ms": 4.0, "first_token_ms": 125.5 + number, "decode_ms": 70.0,
                    "decode_tokens_per_second": 100 + 20 * (1 - share), "shared_prefill": recipe != "full"},
    }
    if budget is not None:
        record["budget"] = budget
    record.update(more)
    return record


def generation(task, length, number, recipe, budget, hard, **more):
    right = chance(task, length, number) < success(recipe, budget, hard)
    answer = str(1000 + int(9000 * chance(task, number)))
    empty = not right and chance(recipe, number) < 0.2
    said = answer if right else "" if empty else HOSTILE
    return item(task, length, number, recipe, budget, prediction=said, answers=[answer], metric="string_match",
                score=1.0 if right else 0.0, null_prediction=empty, **more)


def likelihood(number, recipe, budget):
    body = {"tokens": 256, "nll_sum": 256 * 2.0, "nll_sum_squares": 256 * 5.0}
    if recipe != "full":
        level = (1 - QUALITY[recipe] * 0.99) / SHARES[budget] * 0.05
        parts = [level * (1 + 0.5 * math.sin(i / 4 + number)) for i in range(32)]
        body["nll_sum"] *= 1 + level / 4
        body["nll_sum_squares"] *= (1 + level / 4) ** 2
        body["divergence"] = {"mean": level, "median": level / 2, "p90": 2 * level, "p99": 4 * level, "p999": 6 * level,
                              "max": 7 * level, "same_top": 1 / (1 + level), "p_true_change": -level / 10,
                              "p_true_rms": level / 5, "by_position": parts}
    return item("ppl/text", 1024, number, recipe, budget, likelihood=body, source="book.txt", stop="length")


def records():
    yield {"kind": "run", "run": "2026-01-02T03:04:05Z/1", "command": "pith eval -m 'nano <b>.gguf' --suite ruler --kv snapkv",
           "version": "0.1.0", "utc": "2026-01-02T03:04:05Z", "cpu": "Some Processor", "cores": 2, "threads": 2,
           "load_average": 0.25, "settings": {"seed": 42, "budgets": list(BUDGETS)}}
    for recipe, budget in settings():
        for number in range(20):
            yield generation("ruler/niah_single_1", 1024, number, recipe, budget, 0.01)
            yield generation("ruler/vt", 1024, number, recipe, budget, 0.3)
        number = 0
        for length in (512, 1024, 2048):
            for depth in (0, 0.25, 0.5, 0.75, 1):
                yield generation("needle/classic", length, number, recipe, budget, length / 8192, meta={"depth": depth})
                number += 1
        for number in range(4):
            yield likelihood(number, recipe, budget)


def write(path):
    path.write_text("".join(json.dumps(record) + "\n" for record in records()))
