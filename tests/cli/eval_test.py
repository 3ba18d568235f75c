#!/usr/bin/env python3
"""pith eval as a user runs it, on the bundled model: python3 eval_test.py PITH SOURCE_DIR [TestClass]."""

import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
import unittest

import gguf_edit
from cli_test import CHATML, ENVIRONMENT, NANO, PITH, Case

ITEMS = ["eval", "-m", NANO, "--suite", "niah", "--tasks", "magic", "--ctx", "512", "--samples", "10"]
NEEDLES = [*ITEMS, "--threads", "1"]  # steps this small only wait for each other


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def items(path):
    return [line for line in lines(path) if line["kind"] == "item"]


def outcomes(path):
    """What must not depend on when, where and in how many goes it was measured."""
    return sorted((r["task"], r["id"], r["recipe"], r["config"], r["prediction"], r["score"]) for r in items(path))


class Items(Case):
    def test_list_names_every_suite_that_works(self):
        text = self.succeeds("eval", "--list")
        for name in ("ruler", "niah", "reason", "duo", "infinite", "ppl", "quick", "longbench", "gsm8k", "items"):
            self.assertRegex(text, rf"(?m)^{name}\b")

    def test_dump_is_repeatable_and_follows_the_seed(self):
        def dump(name, seed):
            path = self.folder / name
            self.assertEqual(self.succeeds("eval", "-m", NANO, "--suite", "ruler", "--tasks",
                                           "niah_single_1,niah_multikey_2,fwe,qa_syn", "--ctx", "1024", "--samples", "2",
                                           "--seed", seed, "--dump", path), "")
            return path
        first = dump("a", "1")
        self.assertEqual(first.read_bytes(), dump("b", "1").read_bytes())
        self.assertNotEqual(first.read_bytes(), dump("c", "2").read_bytes())
        found = lines(first)
        self.assertEqual(len(found), 4 * 2)
        for item in found:
            for field in ("task", "id", "context", "question", "answers", "max_new_tokens"):
                self.assertIn(field, item)

    def test_ruler_suite_fits_a_thousand_tokens(self):
        path = self.folder / "ruler.jsonl"
        self.succeeds("eval", "-m", NANO, "--suite", "ruler", "--ctx", "1024", "--samples", "1", "--dump", path)
        self.assertEqual(len({item["task"] for item in lines(path)}), 13)

    def test_dump_to_standard_output(self):
        text = self.succeeds("eval", "-m", NANO, "--suite", "ruler", "--tasks", "vt", "--ctx", "1024", "--samples", "1",
                             "--dump", "-")
        self.assertEqual(json.loads(text)["task"], "ruler/vt")

    def test_dumped_items_run_again(self):
        path = self.folder / "items.jsonl"
        self.succeeds(*ITEMS, "--dump", path)
        made = self.json(*NEEDLES)["tasks"][0]
        loaded = self.json("eval", "-m", NANO, "--suite", "items", "--data", path)["tasks"][0]
        self.assertEqual((made["task"], made["items"], made["score"]),
                         (loaded["task"], loaded["items"], loaded["score"]))

    def test_without_needles_the_suite_fails(self):
        """A score that does not fall when the answer is taken out of the text measures nothing."""
        path = self.folder / "items.jsonl"
        self.succeeds(*ITEMS, "--dump", path)
        bare = self.folder / "bare.jsonl"
        with bare.open("w") as out:
            for item in lines(path):
                item["context"] = re.sub(r"One of the special magic \w+ for [\w-]+ is: \w+\.", "", item["context"])
                self.assertNotIn(item["answers"][0], item["context"])
                out.write(json.dumps(item) + "\n")
        with_needles = self.json("eval", "-m", NANO, "--suite", "items", "--data", path)["tasks"][0]["score"]
        without = self.json("eval", "-m", NANO, "--suite", "items", "--data", bare)["tasks"][0]["score"]
        self.assertGreaterEqual(with_needles, 60)
        self.assertLessEqual(without, 10)


class Runs(Case):
    def test_every_recipe_on_the_same_items(self):
        path = self.folder / "r.jsonl"
        self.succeeds(*NEEDLES, "--kv", "bf16", "--kv", "f32", "--results", path)
        found = items(path)
        self.assertEqual(len(found), 30)
        by_recipe = {}
        for record in found:
            by_recipe.setdefault(record["recipe"], []).append(record["id"])
            self.assertIs(record["query_aware"], False)
            self.assertGreater(record["cache"]["allocated"], 0)
            self.assertGreaterEqual(record["cache"]["peak"], record["cache"]["logical"])
            self.assertGreater(record["resident_bytes"], 0)
        self.assertEqual(len(by_recipe), 3)
        self.assertEqual(len({tuple(ids) for ids in by_recipe.values()}), 1)
        run = lines(path)[0]
        self.assertEqual(run["kind"], "run")
        for field in ("command", "version", "utc", "cpu", "threads", "settings"):
            self.assertIn(field, run)

    def test_identity_budget_gives_the_full_caches_answers_in_both_protocols(self):
        for aware in ("0", "1"):
            path = self.folder / f"{aware}.jsonl"
            self.succeeds(*NEEDLES, "--kv", "snapkv", "--kv-budget", "100%", "--query-aware", aware, "--results", path)
            said = {}
            for record in items(path):
                said.setdefault(record["recipe"], []).append((record["id"], record["prediction"], record["score"]))
            full = said.pop("full")
            (kept,) = said.values()
            self.assertEqual(kept, full)

    def test_random_eviction_loses_needles(self):
        cells = {cell["recipe"]: cell for cell in self.json(*NEEDLES, "--kv", "random", "--kv-budget", "10%")["tasks"]}
        full = cells.pop("full")
        (random,) = cells.values()
        self.assertGreaterEqual(full["score"], 60)
        self.assertLessEqual(random["score"], 10)
        self.assertGreater(random["kv"]["saving"], 0.8)
        self.assertGreater(random["losses"], 0)

    def test_goes_on_where_it_stopped(self):
        path, whole = self.folder / "r.jsonl", self.folder / "whole.jsonl"
        self.succeeds(*NEEDLES, "--results", whole)
        process = subprocess.Popen([PITH, *NEEDLES, "--results", path], stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, env=ENVIRONMENT)
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and (not path.exists() or path.read_bytes().count(b"\n") < 4):
            time.sleep(0.001)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=120)
        part = path.read_bytes()
        self.assertTrue(part.endswith(b"\n"))
        if process.returncode != 0:  # else it was done before the signal came
            self.assertEqual(process.returncode, 1)
            self.assertRegex(stderr.decode(), r"pith: error: interrupted")
        self.succeeds(*NEEDLES, "--results", path)
        self.assertTrue(path.read_bytes().startswith(part))
        self.assertEqual(outcomes(path), outcomes(whole))
        done = path.read_bytes()
        self.succeeds(*NEEDLES, "--results", path)
        self.assertEqual(path.read_bytes(), done)

    def test_threads_do_not_matter(self):
        one, two = self.folder / "1.jsonl", self.folder / "2.jsonl"
        self.succeeds(*NEEDLES, "--results", one)
        self.succeeds(*ITEMS, "--threads", "2", "--results", two)
        self.assertEqual(outcomes(one), outcomes(two))

    def test_full_disk_keeps_what_is_finished(self):
        path = self.folder / "r.jsonl"

        def limit():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (6000, 6000))
        done = subprocess.run([PITH, *NEEDLES, "--results", path], capture_output=True, env=ENVIRONMENT,
                              preexec_fn=limit, timeout=300)
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr.decode(), r"pith: error: the results cannot be written.*r\.jsonl")
        self.assertTrue(path.read_bytes().endswith(b"\n"))
        kept = len(items(path))
        self.assertGreater(kept, 0)
        self.succeeds(*NEEDLES, "--results", path)
        self.assertEqual(len(items(path)), 10)

    def test_query_aware_is_recorded_and_printed(self):
        text = self.succeeds(*NEEDLES, "--query-aware", "1")
        self.assertIn("Query-aware", text)
        self.assertNotIn("Query-agnostic", text)
        self.assertIs(self.json(*NEEDLES, "--query-aware", "1")["tasks"][0]["query_aware"], True)

    def test_chat_template_counts_and_can_be_left_out(self):
        model = self.file("chat.gguf", gguf_edit.with_keys(NANO.read_bytes(), {"tokenizer.chat_template": CHATML}))

        def prompt_tokens(model, *more):
            path = self.folder / f"{len(list(self.folder.iterdir()))}.jsonl"
            self.succeeds("eval", "-m", model, *NEEDLES[3:], "--results", path, *more)
            return max(record["prompt_tokens"] for record in items(path))
        plain = prompt_tokens(NANO)
        self.assertEqual(prompt_tokens(model, "--no-template"), plain)
        self.assertLessEqual(prompt_tokens(model), 512)

    def test_likelihood(self):
        cell = {c["recipe"]: c for c in self.json("eval", "-m", NANO, "--suite", "ppl", "--tasks", "score", "--ctx",
                                                  "512", "--samples", "2", "--score-tokens", "64", "--kv",
                                                  "bf16")["tasks"]}
        full = cell.pop("full")
        self.assertGreater(full["perplexity"], 1)
        self.assertNotIn("kl_mean", full)
        (other,) = cell.values()
        self.assertGreater(other["kl_mean"], 0)
        self.assertLess(other["kl_mean"], 0.1)


class Shown(Case):
    def setUp(self):
        super().setUp()
        self.results = self.folder / "r.jsonl"
        self.succeeds(*NEEDLES, "--kv", "bf16", "--results", self.results)

    def test_report_and_tables_from_a_file(self):
        report = self.folder / "r.html"
        table = self.succeeds("eval", "--from", self.results, "--report", report, "--table")
        self.assertIn("niah/magic", table)
        self.assertIn("| ", table)
        page = report.read_text()
        self.assertIn("niah/magic", page)
        self.assertIn("<svg", page)

    def test_csv(self):
        csv = self.folder / "r.csv"
        self.succeeds("eval", "--from", self.results, "--csv", csv)
        self.assertRegex(csv.read_text(), r"(?m)^niah/magic,")

    def test_compare_with_itself(self):
        text = self.refused("eval", "--compare", self.results, self.results, says="recipe")
        self.assertIn("r.jsonl", text + "r.jsonl")
        full = self.folder / "full.jsonl"
        self.succeeds(*NEEDLES, "--results", full)
        same = self.json("eval", "--compare", full, full)
        self.assertEqual((same["items"], same["wins"], same["losses"], same["difference"]), (10, 0, 0, 0))


class Refused(Case):
    def test_names_that_do_not_exist(self):
        self.refused("eval", "-m", NANO, "--suite", "rular", says="rular.*ruler")
        self.refused("eval", "-m", NANO, "--suite", "ruler", "--tasks", "niah_single_9", says="niah_single_9.*niah_single_1")
        self.refused("eval", "-m", "/no/such.gguf", says="/no/such.gguf")

    def test_length_that_the_model_cannot_hold(self):
        self.refused("eval", "-m", NANO, "--suite", "ruler", "--ctx", "1000000", says="1000000.*--ctx")

    def test_length_too_short_for_one_task_stops_before_the_others(self):
        path = self.folder / "r.jsonl"
        self.refused("eval", "-m", NANO, "--suite", "ruler", "--tasks", "niah_single_1,cwe", "--ctx", "300", "--results",
                     path, says="ruler/cwe.*300")
        self.assertEqual(path.read_bytes(), b"")

    def test_length_too_short_for_the_task(self):
        self.refused("eval", "-m", NANO, "--suite", "ruler", "--tasks", "niah_single_1", "--ctx", "40", says="ctx|length")

    def test_data(self):
        self.refused("eval", "-m", NANO, "--suite", "longbench", says="--data")
        self.refused("eval", "-m", NANO, "--suite", "longbench", "--data", "/no/such", says="/no/such")
        self.refused("eval", "-m", NANO, "--suite", "ruler", "--data", self.folder, says="--data")
        path = self.file("items.jsonl", b'{"task": "a/b", "context": "x"\n')
        self.refused("eval", "-m", NANO, "--suite", "items", "--data", path, says=r"items\.jsonl.*1")
        path = self.file("results.jsonl", b"nonsense\n")
        self.refused(*NEEDLES, "--results", path, says=r"line 1.*results\.jsonl")
        self.assertEqual(path.read_bytes(), b"nonsense\n")

    def test_nothing_is_overwritten(self):
        path = self.folder / "r.jsonl"
        self.refused(*NEEDLES, "--results", path, "--report", path, says="--report.*--results.*r.jsonl")
        self.succeeds(*NEEDLES, "--results", path)
        before = path.read_bytes()
        self.refused("eval", "--from", path, "--csv", self.folder / "." / "r.jsonl", says="--csv.*--from")
        self.assertEqual(path.read_bytes(), before)
        pipe = self.folder / "pipe"
        os.mkfifo(pipe)
        for option in ("--report", "--csv", "--dump"):
            self.refused(*ITEMS, option, pipe, says="pipe")
            self.refused(*ITEMS, option, self.folder, says="not a file")
        self.assertTrue(pipe.is_fifo())

    def test_no_option_is_ignored(self):
        path = self.file("x", b"x")
        for more in (["--list", "--json"], ["--from", path, "--kv", "bf16"], ["--compare", path, path, "--csv", "c"],
                     [*ITEMS[1:], "--dump", "d", "--json"], [*ITEMS[1:], "--dump", "d", "--results", "r"],
                     [*NEEDLES[1:], "--table", "--json"], [*NEEDLES[1:], "--max-context", "100"],
                     [*NEEDLES[1:], "--prompts", path], [*NEEDLES[1:], "--squad", path],
                     [*NEEDLES[1:], "--passkeys", "3"], [*NEEDLES[1:], "--score-tokens", "3"],
                     ["-m", NANO, "--suite", "reason", "--tasks", "qa1", "--depths", "0.5"],
                     ["-m", NANO, "--suite", "items", "--data", path, "--ctx", "512"],
                     ["-m", NANO, "--suite", "items", "--data", path, "--depths", "0.5"]):
            self.refused("eval", *more, says="says nothing to")

    def test_values_given_twice(self):
        self.refused(*NEEDLES, "--kv", "bf16", "--kv", "store=bf16", says="twice")
        self.refused(*NEEDLES, "--tasks", "magic", says="magic.*twice")
        self.refused(*NEEDLES, "--ctx", "512", says="512.*twice")
        self.refused(*NEEDLES, "-m", NANO, says="nano.*twice")

    def test_places_that_cannot_be_written(self):
        self.refused(*NEEDLES, "--report", "/no/such/folder/r.html", says="/no/such/folder")
        self.refused(*NEEDLES, "--results", "/no/such/folder/r.jsonl", says="/no/such/folder")
        self.refused(*ITEMS, "--dump", "/no/such/folder/r.jsonl", says="/no/such/folder")
        self.refused(*NEEDLES, "--results", self.folder, says=str(self.folder))

    def test_numbers(self):
        self.refused(*ITEMS[:-1], "0", says="--samples")
        self.refused("eval", "--depths", "2", says="--depths")
        self.refused(*NEEDLES, "--seed", "-1", says="--seed")
        self.refused(*NEEDLES, "--query-aware", "2", says="--query-aware")
        self.refused("eval", "-m", NANO, "--kv-budget", "10%", says="budget")
        self.refused("eval", "--kv", "nonsense", says="nonsense")


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]])
