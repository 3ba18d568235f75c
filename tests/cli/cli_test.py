#!/usr/bin/env python3
"""Runs the program as a user does, on the bundled model: python3 cli_test.py PITH SOURCE_DIR [TestClass]."""

import json
import os
import pathlib
import re
import signal
import struct
import subprocess
import sys
import tempfile
import time
import unittest

import gguf_edit

PITH, SOURCE = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
NANO = SOURCE / "models/nano/nano.gguf"
PROMPT = "In Oslo the river was calm and the boat was"
CHATML = ("{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] "
          "+ '<|im_end|>' + '\\n'}}{% endfor %}")

ENVIRONMENT = {k: v for k, v in os.environ.items() if k not in ("PITH_MODEL", "PITH_VERBOSE")}


def pith(*args, **kwargs):
    kwargs.setdefault("env", ENVIRONMENT)
    kwargs.setdefault("stdin", subprocess.DEVNULL if "input" not in kwargs else None)
    if kwargs["stdin"] is None:
        del kwargs["stdin"]
    return subprocess.run([PITH, *args], capture_output=True, timeout=300, **kwargs)


class Case(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def file(self, name, data):
        path = self.folder / name
        path.write_bytes(data)
        return path

    def succeeds(self, *args, **kwargs):
        done = pith(*args, **kwargs)
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        return done.stdout.decode()

    def json(self, *args, **kwargs):
        return json.loads(self.succeeds(*args, "--json", **kwargs))

    def refused(self, *args, status=2, says="pith", **kwargs):
        """One line on standard error, nothing on standard output, the right exit status."""
        done = pith(*args, **kwargs)
        stderr = done.stderr.decode()
        self.assertEqual(done.returncode, status, stderr)
        self.assertEqual(done.stdout, b"")
        self.assertRegex(stderr, r"\Apith: error: [^\n]+\n\Z")
        self.assertRegex(stderr, says)
        return stderr


class Refusals(Case):
    """'What bad input gets', as far as a command line can bring it about."""

    def model_refused(self, data, says):
        path = self.file("model.gguf", data)
        for command in (["run", "-p", "x"], ["chat", "--raw"], ["bench"]):
            with self.subTest(command=command[0]):
                stderr = self.refused(*command, "-m", path, says=says)
                self.assertIn(str(path), stderr)

    def test_missing_file(self):
        self.refused("run", "-m", "/no/such/model.gguf", "-p", "x", says="/no/such/model.gguf")
        self.refused("inspect", "/no/such/model.gguf", says="/no/such/model.gguf")
        self.refused("run", "-m", NANO, "-f", "/no/such/prompt", says="/no/such/prompt")
        self.refused("run", "-m", NANO, "-p", "x", "--load-session", "/no/such/session", says="/no/such/session")
        self.refused("run", "-m", NANO, "-p", "x", "--save-session", "/no/such/folder/s", says="/no/such/folder")
        self.refused("run", "-m", NANO, "-p", "x", "--kv", "@/no/such/recipe", says="/no/such/recipe")

    def test_directory(self):
        self.refused("run", "-m", self.folder, "-p", "x", says="directory")
        self.refused("run", "-m", NANO, "-f", self.folder, says="directory")
        self.refused("run", "-m", NANO, "-p", "x", "--save-session", self.folder, says="directory")

    def test_empty_file(self):
        self.model_refused(b"", "empty")

    def test_truncated(self):
        model = NANO.read_bytes()
        for size in (3, 20, 1000, len(model) // 2, len(model) - 1):
            self.model_refused(model[:size], "model.gguf")

    def test_wrong_magic(self):
        self.model_refused(b"GGML" + NANO.read_bytes()[4:], "GGUF")

    def test_wrong_version(self):
        self.model_refused(gguf_edit.patched(NANO.read_bytes(), 4, struct.pack("<I", 99)), "version")

    def test_absurd_counts(self):
        for offset in (8, 16):
            self.model_refused(gguf_edit.patched(NANO.read_bytes(), offset, struct.pack("<Q", 1 << 60)), "model.gguf")

    def test_missing_key(self):
        self.model_refused(gguf_edit.replaced(NANO.read_bytes(), b"llama.block_count", b"llama.block_cxxxx"),
                           r"llama\.block_count")

    def test_wrong_type(self):
        key = b"llama.block_count"
        model = NANO.read_bytes()
        u32, f32 = struct.pack("<I", 4), struct.pack("<I", 6)
        self.model_refused(gguf_edit.replaced(model, key + u32, key + f32), r"llama\.block_count")

    def test_unknown_architecture(self):
        key = gguf_edit.string("general.architecture") + struct.pack("<I", gguf_edit.TYPE_STRING)
        data = gguf_edit.replaced(NANO.read_bytes(), key + gguf_edit.string("llama"), key + gguf_edit.string("lemur"))
        self.model_refused(data, "lemur")

    def test_nan_in_norm(self):
        tensors = self.json("inspect", NANO, "--tensors")["tensors"]
        norm = next(t for t in tensors if t["name"] == "output_norm.weight")
        self.assertEqual(norm["type"], "f32")
        self.model_refused(gguf_edit.patched(NANO.read_bytes(), norm["offset"], struct.pack("<f", float("nan"))),
                           r"output_norm\.weight")

    def test_prompt_longer_than_context(self):
        self.refused("run", "-m", NANO, "-p", "The sky is blue. " * 200, "--ctx", "64", says="64")

    def test_empty_prompt(self):
        self.refused("run", "-m", NANO, "-p", "", says="empty")
        self.refused("run", "-m", NANO, "-f", self.file("p", b""), says="empty")
        self.refused("run", "-m", NANO, "-", input=b"\n", says="standard input")
        self.refused("run", "-m", NANO, says="no prompt")

    def test_prompt_given_twice(self):
        self.refused("run", "-m", NANO, "-p", "x", "-f", self.file("p", b"y"), says="more than once")
        self.refused("run", "-m", NANO, "-p", "x", "-", input=b"y", says="more than once")

    def test_invalid_utf8(self):
        self.refused("run", "-m", NANO, "-p", b"ab\xff", says="UTF-8.*2")
        self.refused("run", "-m", NANO, "-f", self.file("p", b"ab\xff"), says="UTF-8.*2")

    def test_unknown_options_and_commands(self):
        self.refused("run", "--tempp", "0", says=r"--tempp.*Did you mean --temp\?")
        self.refused("run", "--top_k=3", says=r"Did you mean --top-k\?")
        self.refused("runn", says=r"Did you mean run\?")
        self.refused("frobnicate", says="frobnicate")
        self.refused("run", "-p", "x", "surplus", says="surplus")
        self.refused("inspect", "a", "b", says="'b'")

    def test_bad_values(self):
        for option, value in (("-n", "many"), ("-n", "-1"), ("--ctx", "99999999999"), ("--threads", "-1"),
                              ("--threads", "9999"), ("--chunk", "0"), ("--temp", "hot"), ("--temp", "-1"),
                              ("--top-p", "2"), ("--min-p", "-0.5"), ("--repeat-penalty", "0"),
                              ("--cache-limit", "much"), ("--cache-limit", "0"), ("--stop", "")):
            with self.subTest(option=option, value=value):
                self.refused("run", "-m", NANO, "-p", "x", option, value, says=option.strip("-").replace("-", "[ _-]"))
        self.refused("run", "-m", NANO, "-p", says="-p")
        self.refused("run", "-m", NANO, "-p", "x", "-n", "1", "-n", "2", says="more than once")
        self.refused("inspect", NANO, "--fit", "8 apples", says="8 apples")

    def test_unknown_recipe(self):
        self.refused("run", "-m", NANO, "-p", "x", "--kv", "fulll", says="fulll.*full")
        self.refused("run", "-m", NANO, "-p", "x", "--kv", "full +", says="column")
        self.refused("run", "-m", NANO, "-p", "x", "--kv-budget", "10%", says="budget")
        self.refused("methods", "fulll", says="fulll")

    def test_recipe_is_refused_before_the_model_is_read(self):
        self.refused("run", "-m", "/no/such/model", "-p", "x", "--kv", "fulll", says="fulll")

    def test_no_memory_for_the_cache(self):
        self.refused("run", "-m", NANO, "-p", "The sky is blue. " * 100, "--cache-limit", "16KiB", status=1,
                     says="no memory for the cache")

    def test_no_template(self):
        self.refused("chat", "-m", NANO, input=b"hello\n", says="--raw")
        strange = self.file("strange.gguf", gguf_edit.with_keys(NANO.read_bytes(),
                                                                {"tokenizer.chat_template": "{{ oddity }}"}))
        self.refused("chat", "-m", strange, input=b"hello\n", says="--raw")
        self.refused("chat", "-m", NANO, "--raw", "--system", "x", input=b"hello\n", says="--system")

    def test_output_that_cannot_be_written(self):
        with open("/dev/full", "wb") as full:
            done = subprocess.run([PITH, "run", "-m", NANO, "-p", "x", "-n", "4"], stdout=full,
                                  stderr=subprocess.PIPE, env=ENVIRONMENT, timeout=300)
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr.decode(), r"\Apith: error: [^\n]+\n\Z")


class Output(Case):
    def test_text_on_stdout_and_the_rest_on_stderr(self):
        done = pith("run", "-m", NANO, "-p", PROMPT, "-n", "12")
        text = self.json("run", "-m", NANO, "-p", PROMPT, "-n", "12")["text"]
        self.assertEqual(done.stdout.decode(), text if text.endswith("\n") else text + "\n")
        for line in done.stderr.decode().splitlines():
            self.assertTrue(line.startswith("pith: "), line)

    def test_json_has_exactly_these_keys(self):
        result = self.json("run", "-m", NANO, "-p", PROMPT, "-n", "12", "--ignore-eos")
        self.assertEqual(list(result), ["text", "prompt_tokens", "generated_tokens", "stop", "kv", "timings"])
        self.assertEqual(list(result["kv"]), ["recipe", "budget", "entries", "entries_full", "bytes",
                                              "bytes_allocated", "bytes_full_f16", "bytes_peak", "tokens_computed"])
        self.assertEqual(list(result["timings"]),
                         ["load_ms", "prefill_ms", "decode_ms", "prefill_tok_s", "decode_tok_s"])
        self.assertEqual((result["generated_tokens"], result["stop"]), (12, "length"))
        kv = result["kv"]
        self.assertEqual((kv["recipe"], kv["budget"]), ("full", None))
        # 8 layers of 2 KV heads of 32 + 32 numbers; the last token drawn is not in the cache.
        tokens = result["prompt_tokens"] + 11
        self.assertEqual((kv["entries"], kv["entries_full"]), (16 * tokens, 16 * tokens))
        self.assertEqual(kv["tokens_computed"], [tokens] * 8)
        self.assertEqual(kv["bytes_full_f16"], 16 * 64 * 2 * tokens)
        self.assertGreaterEqual(kv["bytes"], kv["bytes_full_f16"])
        self.assertLessEqual(kv["bytes"], 1.2 * kv["bytes_full_f16"])
        self.assertGreaterEqual(kv["bytes_allocated"], kv["bytes_full_f16"])
        self.assertGreaterEqual(kv["bytes_peak"], kv["bytes_allocated"])

    def test_f32_cache_takes_twice_the_bytes(self):
        def size(recipe):
            return self.json("run", "-m", NANO, "-p", PROMPT, "-n", "1", "--kv", recipe)["kv"]
        f16, f32 = size("full"), size("full + store=f32")
        self.assertEqual(f32["recipe"], "full + store=f32")
        self.assertEqual(f32["bytes"] - f16["bytes"], f16["bytes_full_f16"])

    def test_prompt_sources_agree(self):
        given = self.succeeds("run", "-m", NANO, "-p", PROMPT, "-n", "12")
        path = self.file("prompt.txt", PROMPT.encode() + b"\n")
        self.assertEqual(self.succeeds("run", "-m", NANO, "-f", path, "-n", "12"), given)
        self.assertEqual(self.succeeds("run", "-m", NANO, "-", "-n", "12", input=PROMPT.encode()), given)

    def test_threads_and_chunks_do_not_change_the_text(self):
        prompt = ("One of the special magic numbers for quiet-fox is: 48213. " + "The sky is blue. " * 30 + PROMPT)
        def text(*options):
            return self.json("run", "-m", NANO, "-p", prompt, "-n", "24", "--temp", "0.9", "--ignore-eos",
                             *options)["text"]
        expected = text()
        for options in (["--threads", "1"], ["--threads", "2"], ["--chunk", "1"], ["--chunk", "7"], ["--chunk", "64"]):
            with self.subTest(options=options):
                self.assertEqual(text(*options), expected)

    def test_seed_decides_the_text(self):
        def text(seed):
            return self.json("run", "-m", NANO, "-p", PROMPT, "-n", "32", "--temp", "1.5", "--ignore-eos",
                             "--seed", seed)["text"]
        self.assertEqual(text("1"), text("1"))
        self.assertNotEqual(text("1"), text("2"))

    def test_stop_string(self):
        whole = self.json("run", "-m", NANO, "-p", PROMPT, "-n", "24", "--ignore-eos")["text"]
        stop = whole[8:13]
        cut = self.json("run", "-m", NANO, "-p", PROMPT, "-n", "24", "--ignore-eos", "--stop", "@@", "--stop", stop)
        self.assertEqual(cut["text"], whole[:whole.index(stop)])
        self.assertEqual(cut["stop"], "string")

    def test_context_that_fills_up_ends_with_length(self):
        result = self.json("run", "-m", NANO, "-p", PROMPT, "-n", "500", "--ctx", "32", "--ignore-eos")
        self.assertEqual(result["stop"], "length")
        self.assertEqual(result["prompt_tokens"] + result["generated_tokens"], 32)

    def test_default_model_is_the_bundled_one_and_is_named(self):
        done = pith("run", "-p", PROMPT, "-n", "12")
        self.assertEqual(done.returncode, 0)
        self.assertIn("nano.gguf", done.stderr.decode())
        self.assertEqual(done.stdout.decode(), self.succeeds("run", "-m", NANO, "-p", PROMPT, "-n", "12"))

    def test_pith_model_names_the_default(self):
        done = pith("run", "-p", "x", env={**ENVIRONMENT, "PITH_MODEL": "/no/such/model"})
        self.assertEqual(done.returncode, 2)
        self.assertIn("/no/such/model", done.stderr.decode())

    def test_options_without_effect_are_said(self):
        done = pith("run", "-m", NANO, "-p", PROMPT, "-n", "1", "--top-k", "3")
        self.assertIn("warning: --top-k has no effect", done.stderr.decode())

    def test_reader_that_goes_away_is_no_error(self):
        with subprocess.Popen([PITH, "run", "-m", NANO, "-p", PROMPT, "-n", "4000", "--ctx", "5000", "--ignore-eos"],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT) as process:
            process.stdout.read(1)
            process.stdout.close()
            stderr = process.stderr.read().decode()
            self.assertEqual(process.wait(timeout=60), 0, stderr)
        self.assertNotIn("error", stderr)

    def test_interrupt_keeps_what_there_is(self):
        for as_json in ([], ["--json"]):
            with self.subTest(json=bool(as_json)):
                session = self.folder / "session"
                process = subprocess.Popen(
                    [PITH, "run", "-m", NANO, "-p", PROMPT, "-n", "100000", "--ctx", "100000", "--ignore-eos",
                     "--save-session", session, *as_json],
                    stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT)
                time.sleep(5.0) if as_json else process.stdout.read(1)  # JSON shows nothing before the end
                process.send_signal(signal.SIGINT)
                out, err = process.communicate(timeout=60)
                self.assertEqual(process.returncode, 0, err.decode())
                self.assertNotIn("error", err.decode())
                self.assertTrue(session.exists())
                if as_json:
                    self.assertEqual(json.loads(out)["stop"], "interrupt")
                else:
                    self.assertTrue(out.endswith(b"\n"))

    def test_interrupt_while_the_prompt_is_read(self):
        prompt = self.file("long.txt", b"The sky is blue. " * 20000)
        process = subprocess.Popen([PITH, "run", "-m", NANO, "-f", prompt, "--ctx", "200000", "--json"],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT)
        time.sleep(5.0)  # loading is over then, and reading takes much longer
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 0, err.decode())
        result = json.loads(out)
        self.assertEqual((result["stop"], result["text"], result["generated_tokens"]), ("interrupt", "", 0))

    def test_interrupt_while_waiting_for_a_line_does_not_end_the_chat(self):
        command = [PITH, "chat", "-m", NANO, "--raw", "-n", "4", "--json", "--ignore-eos"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              env=ENVIRONMENT) as process:
            process.stdin.write(b"In Oslo\n")
            process.stdin.flush()
            first = process.stdout.readline()
            time.sleep(1.0)  # until it waits for the next line
            process.send_signal(signal.SIGINT)
            time.sleep(0.5)
            out, err = process.communicate(b"In Oslo\n", timeout=60)
        self.assertEqual(process.returncode, 0, err.decode())
        self.assertIn("/exit", err.decode())
        for reply in (first, out):
            self.assertEqual(json.loads(reply)["generated_tokens"], 4)


class Sessions(Case):
    OPTIONS = ["-m", NANO, "--temp", "1.5", "--repeat-penalty", "1.2", "--ignore-eos"]

    def saved(self):
        path = self.folder / "session"
        result = self.json("run", *self.OPTIONS, "-p", PROMPT, "-n", "10", "--save-session", path)
        return path, result

    def test_save_load_continue_equals_continue(self):
        whole = self.json("run", *self.OPTIONS, "-p", PROMPT, "-n", "30")["text"]
        path, begun = self.saved()
        rest = self.json("run", *self.OPTIONS, "-n", "20", "--load-session", path)
        self.assertEqual(begun["text"] + rest["text"], whole)
        self.assertEqual(rest["prompt_tokens"], begun["prompt_tokens"] + 10)

    def test_load_with_a_prompt_adds_it(self):
        path, begun = self.saved()
        more = " Then the boat"
        added = self.json("run", *self.OPTIONS, "-p", more, "-n", "8", "--load-session", path)
        self.assertGreater(added["prompt_tokens"], begun["prompt_tokens"] + 10)

    def test_new_seed_gives_another_continuation(self):
        path, _ = self.saved()
        def text(*options):
            return self.json("run", *self.OPTIONS, "-n", "20", "--load-session", path, *options)["text"]
        self.assertEqual(text(), text())
        self.assertNotEqual(text("--seed", "1"), text("--seed", "2"))

    def test_damaged_truncated_and_foreign_files_are_refused(self):
        path, _ = self.saved()
        good = path.read_bytes()
        load = ["run", *self.OPTIONS, "--load-session"]
        for at in (0, 8, 20, 60, len(good) // 2, len(good) - 1):
            bad = self.file("bad", gguf_edit.patched(good, at, bytes([good[at] ^ 1])))
            self.refused(*load, bad, says=re.escape(str(bad)))
        for size in (0, 5, 100, len(good) - 1):
            self.refused(*load, self.file("bad", good[:size]), says="bad")
        self.refused(*load, NANO, says="not a session file")

    def test_recipes_that_drop_entries(self):
        session = self.folder / "session"
        begin = ["run", *self.OPTIONS, "-p", PROMPT * 20]
        for recipe in ("h2o", "snapkv", "lagkv(lag=32)"):
            kept = ["--kv", recipe, "--kv-budget", "64"]
            whole = self.json(*begin, *kept, "-n", "30")
            begun = self.json(*begin, *kept, "-n", "10", "--save-session", session)
            rest = self.json("run", *self.OPTIONS, "-n", "20", "--load-session", session)
            with self.subTest(recipe=recipe):
                self.assertEqual(begun["text"] + rest["text"], whole["text"])
                self.assertEqual(rest["kv"]["entries"], whole["kv"]["entries"])
                self.assertEqual((rest["kv"]["recipe"], rest["kv"]["budget"]), (recipe, "64"))
                self.assertEqual(self.json("run", *self.OPTIONS, *kept, "-n", "20", "--load-session", session)["text"],
                                 rest["text"])
                for other in (["--kv", "tova", "--kv-budget", "64"], ["--kv", recipe, "--kv-budget", "65"],
                              ["--kv", "full"]):
                    self.refused("run", *self.OPTIONS, *other, "--load-session", session, says="kept as")

    def test_budget_in_bytes(self):
        session = self.folder / "session"
        kept = ["-p", PROMPT * 60, "--kv", "snapkv", "--kv-budget", "512KiB"]
        begun = self.json("run", *self.OPTIONS, *kept, "-n", "10", "--save-session", session)
        self.assertLess(begun["kv"]["entries"], begun["kv"]["entries_full"])
        rest = self.json("run", *self.OPTIONS, "-n", "20", "--load-session", session)
        self.assertEqual((rest["kv"]["recipe"], rest["kv"]["budget"]), ("snapkv", "512KiB"))
        again = self.json("run", *self.OPTIONS, "-n", "20", "--load-session", session)
        self.assertEqual(rest["text"], again["text"])
        self.assertLessEqual(rest["kv"]["bytes_peak"], 512 << 10)

    def test_other_model_and_other_forms_are_refused(self):
        path, _ = self.saved()
        tensors = self.json("inspect", NANO, "--tensors")["tensors"]
        norm = next(t for t in tensors if t["name"] == "output_norm.weight")
        other = self.file("other.gguf", gguf_edit.patched(NANO.read_bytes(), norm["offset"], struct.pack("<f", 1.25)))
        self.refused("run", "-m", other, "--load-session", path, says="another model")
        self.refused("run", "-m", NANO, "--kv", "full + store=f32", "--load-session", path, says=r'"full", .*"full \+ store=f32"')

    def test_protected_tokens_stay_in_every_head(self):
        text = self.file("long.txt", b"The sky is blue. " * 60)
        kept = self.json("inspect", "-m", NANO, "-f", text, "--kv", "snapkv", "--kv-budget", "60", "--protect", "9")
        for head in kept["heads"]:
            self.assertEqual(head["positions"][:9], list(range(9)))
        self.refused("run", "-m", NANO, "-p", "The sky", "--protect", "9", says="drops nothing")
        path, _ = self.saved()
        self.refused("run", "-m", NANO, "--load-session", path, "--protect", "9", says="a session knows")

    def test_failed_run_leaves_no_file(self):
        path = self.folder / "session"
        self.refused("run", "-m", NANO, "-p", "The sky is blue. " * 100, "--cache-limit", "16KiB",
                     "--save-session", path, status=1)
        self.assertEqual(list(self.folder.iterdir()), [])


class Chat(Case):
    def setUp(self):
        super().setUp()
        self.model = self.file("chat.gguf", gguf_edit.with_keys(NANO.read_bytes(), {"tokenizer.chat_template": CHATML}))
        self.options = ["-m", self.model, "-n", "8"]

    def replies(self, lines, *options):
        done = pith("chat", *self.options, "--json", *options, input="\n".join(lines).encode() + b"\n")
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        return [json.loads(line) for line in done.stdout.decode().splitlines()]

    def complete(self, prompt):
        return self.json("run", *self.options, "-p", prompt)

    def test_turns_equal_the_rendered_text(self):
        replies = self.replies(["The sky is", "And the grass"], "--system", "Be kind.")
        text = "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nThe sky is<|im_end|>\n<|im_start|>assistant\n"
        self.assertEqual(replies[0]["text"], self.complete(text)["text"])
        text += (replies[0]["text"] + "<|im_end|>\n<|im_start|>user\nAnd the grass<|im_end|>\n<|im_start|>assistant\n")
        whole = self.complete(text)
        self.assertEqual(replies[1]["text"], whole["text"])
        self.assertEqual(replies[1]["prompt_tokens"], whole["prompt_tokens"])

    def test_raw_lines_follow_each_other(self):
        replies = self.replies(["The sky is", "The sun is"], "--raw")
        self.assertEqual(replies[0]["text"], self.complete("The sky is")["text"])
        self.assertEqual(len(replies), 2)

    def test_reset_forgets(self):
        replies = self.replies(["The sky is", "/reset", "The sky is"])
        self.assertEqual(replies[0]["text"], replies[1]["text"])
        self.assertEqual(replies[0]["prompt_tokens"], replies[1]["prompt_tokens"])

    def test_save_and_load_go_on_as_if_nothing_happened(self):
        path = self.folder / "chat.session"
        straight = self.replies(["The sky is", "And the grass"])
        self.replies(["The sky is", f"/save {path}", "/exit"])
        resumed = self.replies([f"/load {path}", "And the grass"])
        self.assertEqual(resumed[0]["text"], straight[1]["text"])
        self.assertEqual(resumed[0]["prompt_tokens"], straight[1]["prompt_tokens"])

    def test_saved_chat_keeps_its_recipe(self):
        path = self.folder / "chat.session"
        kept = ["--raw", "--kv", "h2o", "--kv-budget", "20"]
        straight = self.replies(["The sky is blue and " * 5, f"/save {path}", "The sun is"], *kept)
        resumed = self.replies([f"/load {path}", "The sun is"], "--raw")
        for key in ("recipe", "budget", "entries", "entries_full"):
            self.assertEqual(resumed[0]["kv"][key], straight[1]["kv"][key])
        self.assertEqual(resumed[0]["text"], straight[1]["text"])
        self.refused("chat", *self.options, "--raw", "--kv", "tova", "--kv-budget", "20",
                     input=f"/load {path}\n".encode(), says="kept as")

    def test_text_session_is_no_chat(self):
        path = self.folder / "text.session"
        self.succeeds("run", *self.options, "-p", PROMPT, "--save-session", path)
        self.refused("chat", *self.options, input=f"/load {path}\n".encode(), says="no chat")

    def test_unknown_command_is_refused(self):
        self.refused("chat", *self.options, input=b"/exti\n", says="/exti.*/help")
        self.refused("chat", *self.options, input=b"/save\n", says="FILE")

    def test_conversation_longer_than_the_context_is_refused(self):
        self.refused("chat", *self.options, "--ctx", "32", input=b"The sky is blue. " * 30 + b"\n", says="32")

    def test_replies_go_to_stdout_alone(self):
        done = pith("chat", *self.options, input=b"The sky is\n")
        self.assertEqual(done.returncode, 0)
        self.assertEqual(done.stderr, b"")
        self.assertEqual(done.stdout.decode(), self.replies(["The sky is"])[0]["text"] + "\n")


class Pages(Case):
    """Help, versions and lists."""

    def test_help_lists_the_commands_and_fits_80_columns(self):
        page = self.succeeds("--help")
        commands = re.findall(r"^  (\w+) ", page.split("Commands:")[1].split("Options:")[0], re.M)
        self.assertEqual(commands, ["run", "chat", "inspect", "bench", "eval", "calibrate", "methods"])
        for command in [None, *commands]:
            page = self.succeeds(*([command] if command else []), "--help")
            with self.subTest(command=command):
                self.assertIn("Example", page)
                self.assertIn("pith run" if command is None else "pith " + command, page)
                for line in page.splitlines():
                    self.assertLessEqual(len(line), 80, line)

    def test_no_arguments_show_the_help(self):
        self.assertEqual(self.succeeds(), self.succeeds("--help"))

    def test_version(self):
        self.assertRegex(self.succeeds("--version"), r"\Apith \d+\.\d+\.\d+\n\Z")

    def test_inspect(self):
        result = self.json("inspect", NANO, "--fit", "1GiB")
        self.assertEqual((result["layers"], result["width"], result["kv_heads"]), (8, 128, 2))
        self.assertEqual(result["cache_bytes_per_token"]["f16"], 8 * 2 * 64 * 2)
        self.assertEqual(result["cache_bytes_per_token"]["f32"], 8 * 2 * 64 * 4)
        fit = result["fit"][0]
        self.assertEqual(fit["memory_bytes"], 1 << 30)
        self.assertEqual(fit["tokens"]["f16"], ((1 << 30) - result["weight_bytes"]) // 2048)
        for page in (self.succeeds("inspect", NANO), self.succeeds("inspect", NANO, "--tensors"),
                     self.succeeds("inspect", NANO, "--keys")):
            for line in page.splitlines():
                if str(NANO) not in line:
                    self.assertLessEqual(len(line), 80, line)

    def test_inspect_lists_what_the_file_has(self):
        model = NANO.read_bytes()
        num_tensors, num_keys = struct.unpack_from("<QQ", model, 8)
        self.assertEqual(len(self.succeeds("inspect", NANO, "--tensors").splitlines()), num_tensors)
        self.assertEqual(len(self.succeeds("inspect", NANO, "--keys").splitlines()), num_keys)
        self.assertEqual(self.json("inspect", NANO, "--keys")["keys"]["general.architecture"], "llama")

    def test_inspect_shows_what_a_recipe_keeps(self):
        text = self.file("text", PROMPT.encode() * 30 + b"\n")
        command = ["inspect", "-m", NANO, "-f", text]
        kept = self.json(*command, "--kv", "adakv", "--kv-budget", "64", "--scores")
        self.assertEqual((kept["recipe"], kept["budget"], kept["entries"]), ("adakv", "64", 16 * 64))
        self.assertEqual(kept["entries_full"], 16 * kept["tokens"])
        self.assertEqual("".join(kept["text"][1:]), PROMPT * 30)
        self.assertEqual(len(kept["heads"]), 16)
        self.assertGreater(len({head["entries"] for head in kept["heads"]}), 1)
        for head in kept["heads"]:
            self.assertEqual((len(head["positions"]), head["allocated"]), (head["entries"], head["entries"]))
            self.assertEqual([entry[0] for entry in head["scored"]], list(range(kept["tokens"])))
            protected = [position for position, score in head["scored"] if score is None]
            self.assertEqual(protected, list(range(kept["tokens"] - 32, kept["tokens"])))
            # What stays has the best scores, of equal ones the first.
            best = sorted(head["scored"], key=lambda entry: (-1e9 if entry[1] is None else -entry[1], entry[0]))
            self.assertEqual(head["positions"], sorted(entry[0] for entry in best[:head["entries"]]))
        lines = self.succeeds(*command, "--kv", "adakv", "--kv-budget", "64").splitlines()
        self.assertEqual(len(lines), 5 + 16)
        scores = self.succeeds(*command, "--kv", "adakv", "--kv-budget", "64", "--scores").splitlines()
        self.assertEqual(len(scores), 1 + kept["entries_full"])
        self.assertEqual(sum(line.split("\t")[4] == "yes" for line in scores[1:]), kept["entries"])
        everything = self.json(*command, "--kv", "snapkv", "--kv-budget", "100%")
        self.assertEqual(everything["entries"], everything["entries_full"])
        self.assertIsNone(everything["heads"][0]["allocated"])

    def test_inspect_ignores_no_option(self):
        text = self.file("text", PROMPT.encode())
        self.refused("inspect", "--kv", "snapkv", says="--kv needs a text")
        self.refused("inspect", NANO, "--html", "x", says="--html draws what is kept of a text.*-f FILE")
        self.refused("inspect", "-f", text, "--fit", "1GiB", says="--fit says nothing")
        self.refused("inspect", "-f", text, "--html", self.folder / "x", "--scores", says="--scores says nothing")
        self.refused("inspect", "-f", text, "--html", text, says="overwrite")
        self.refused("inspect", "-f", text, "--html", self.folder, says="directory")
        self.refused("inspect", "-f", self.file("empty", b""), says="empty")
        self.refused("inspect", "-f", "/no/such/text", says="/no/such/text")
        self.refused("inspect", "-m", "/no/such/model", "-f", text, "--kv", "snapkv", says="needs a budget")

    def test_bench_compares_with_the_full_cache(self):
        command = ["bench", "-m", NANO, "--ctx", "512", "-t", "1", "-n", "2", "--repeats", "1", "--kv", "snapkv"]
        done = self.json(*command, "--kv-budget", "64")
        point = done["runs"][0]["points"][0]
        for what in ("prefill", "decode"):
            self.assertEqual([engine["engine"] for engine in point[what]["engines"]], ["pith", "pith full"])
            self.assertGreater(point[what]["ratio_to_full"], 0)
        self.assertGreater(point["compress"]["share_of_prefill"], 0)
        self.assertEqual(point["cache"]["entries"], 16 * 64)
        self.assertGreater(point["cache"]["bytes_peak"], 4 * point["cache"]["bytes"])
        self.assertEqual([engine["engine"] for engine in done["memory"][0]["engines"]], ["pith", "pith full"])
        self.assertRegex(self.succeeds(*command, "--kv-budget", "64"), r"to full\n[^$]*compress  +512  pith ")
        self.refused(*command, says="needs a budget")
        self.refused(*command, "--kv-budget", "64", "--kv", "snapkv", says="given twice")
        self.refused(*command, "--kv-budget", "1GiB", says="bytes")
        self.refused(*command[:-1], "score=streaming + when=chunks", "--kv-budget", "64", says="chunk by chunk")

    def test_methods(self):
        names = [entry["name"] for entry in self.json("methods")["names"]]
        for name in ("full", "f32", "f16", "bf16"):
            self.assertIn(name, names)
        table = self.succeeds("methods")
        for name in names:
            self.assertIn(name, table)
            self.assertIn(name, self.succeeds("methods", name))
            self.assertEqual(self.json("methods", name)["name"], name)
        for part in self.json("methods")["parts"]:
            self.assertIn(f'{part["stage"]}={part["name"]}', table)
            self.assertIn(part["summary"].split()[0], self.succeeds("methods", f'{part["stage"]}={part["name"]}'))

    def test_admit(self):
        def run(*arguments):
            return self.json("run", "-m", NANO, "-p", PROMPT * 60, "-n", "3", "--ignore-eos", "--kv", *arguments)

        full = run("full")
        tokens = full["prompt_tokens"]
        for recipe, same in (("lazyllm(prune=0)", True), ("lazyllm", False), ("pyramidinfer(decay=0.5)", False),
                             ("pyramidinfer(decay=0.5) + store=kivi", False), ("lazyllm + store=f32", False)):
            done = run(recipe)
            computed = done["kv"]["tokens_computed"]
            self.assertEqual((done["kv"]["recipe"], done["prompt_tokens"], computed[0]), (recipe, tokens, tokens + 2))
            self.assertEqual(computed, sorted(computed, reverse=True))
            self.assertEqual(done["kv"]["entries"], 2 * sum(computed))
            if same:
                self.assertEqual((done["text"], computed), (full["text"], [tokens + 2] * 8))
            else:
                self.assertLess(computed[7], 0.8 * tokens)
        refused = [("lazyllm", "--kv-budget", "64", "takes no budget"), ("snapkv + lazyllm", "chooses among all"),
                   ("full + lazyllm", "nothing to decide"), ("lazyllm + q4_0", "behind each other for good"),
                   ("lazyllm + pyramidinfer", "set twice"), ("lazyllm", "--protect", "4", "before they have any"),
                   ("lazyllm", "--save-session", "/tmp/no-session", "session file"), ("lazyllm(prune=1)", "prune")]
        for *arguments, says in refused:
            self.refused("run", "-m", NANO, "-p", PROMPT, "--kv", *arguments, says=says)
        self.refused("bench", "-m", NANO, "--ctx", "64", "--kv", "lazyllm", says="layer by layer")

    def test_eviction(self):
        def kept(*arguments):
            return self.json("run", "-m", NANO, "-p", PROMPT * 60, "-n", "1", "--kv", *arguments)["kv"]

        for recipe in ("snapkv", "adakv + f32", "score=streaming"):
            kv = kept(recipe, "--kv-budget", "100")
            self.assertEqual((kv["recipe"], kv["budget"]), (recipe.replace("+ f32", "+ store=f32"), "100"))
            self.assertEqual(kv["entries"], 16 * 100)
            self.assertLess(kv["bytes_allocated"], kept("full")["bytes_allocated"] / 2)
        for budget in ("1e9", "0", "-5", "7%%"):
            self.refused("run", "-m", NANO, "-p", "x", "--kv", "snapkv", "--kv-budget", budget, says="budget")
        for recipe in ("snapkv", "h2o"):
            self.refused("run", "-m", "/no/such/model", "-p", "x", "--kv", recipe, says="needs a budget")
        self.refused("run", "-m", "/no/such/model", "-p", "x", "--kv", "snapkv", "--kv-budget", "31",
                     says="never drops 32 entries")


class Profiles(Case):
    """What is known about a model's heads: made by pith calibrate, used by recipes."""

    LAYERS, QUERY_HEADS, KV_HEADS = 8, 4, 2

    def setUp(self):
        super().setUp()
        scores = {f"{layer}-{head}": [(layer * 7 + head * 3) % 11 / 11, 0.25]
                  for layer in range(self.LAYERS) for head in range(self.QUERY_HEADS)}
        self.scores = self.file("scores.json", json.dumps(scores).encode())
        self.gates = self.file("full_attention_heads.tsv", b"".join(
            b"%d.0\t%f\n" % (layer % 2, layer / 10) for layer in range(self.LAYERS)))
        self.profile = self.folder / "p.gguf"
        self.prompt = self.file("prompt", b"In Oslo the river was calm and the boat was white. " * 40)

    def kept(self, *args):
        return self.json("run", "-m", NANO, "-f", self.prompt, "-n", "2", "-t", "1", *args)["kv"]

    def test_import_adds_sections_and_inspect_shows_them(self):
        self.succeeds("calibrate", "import", "-m", NANO, "--heads", self.scores, "-o", self.profile)
        page = self.succeeds("calibrate", "import", "-m", NANO, "--gates", self.gates, "-o", self.profile)
        self.assertEqual(page, self.succeeds("inspect", self.profile))
        shown = self.json("inspect", self.profile)["sections"]
        self.assertEqual(list(shown), ["retrieval", "gates"])
        self.assertEqual(shown["gates"]["gates"]["highest"][:4], ["1-0", "3-0", "5-0", "7-0"])
        self.assertIn("scores.json, mean of 2 examples", shown["retrieval"]["origin"])

    def test_layers_are_measured_and_tuned_goes_by_them(self):
        quick = ["-m", NANO, "-o", self.profile, "--length", "128", "-t", "1"]
        self.succeeds("calibrate", "labels", *quick, "--texts", "2")
        page = self.succeeds("calibrate", "similarity", *quick, "--texts", "1", "--bits", "3")
        self.assertEqual(page, self.succeeds("inspect", self.profile))
        shown = self.json("inspect", self.profile)["sections"]
        self.assertEqual(list(shown), ["bits", "channels", "similarity", "sensitivity"])
        for head in shown["channels"]["labels"]:
            self.assertAlmostEqual(sum(head), self.KV_HEADS, places=4)
        bits = shown["bits"]["keys"] + shown["bits"]["values"]
        self.assertLessEqual(sum(bits) / len(bits), 3)
        self.assertEqual(shown["similarity"]["keys"][3][3], 1)
        tuned = self.kept("--kv", "tuned(residual=32)", "--profile", self.profile)
        # 3 bits with a scale and a minimum for 32 numbers are a quarter of 16 bits; the newest entries keep all.
        self.assertLess(tuned["bytes"], 0.35 * self.kept()["bytes"])
        self.refused("calibrate", "similarity", *quick, "--bits", "9", says="--bits must be 2 to 8")
        self.refused("calibrate", "labels", "-m", NANO, "-o", self.profile, "--length", "100000",
                     says="do not fit a context of")
        self.refused("calibrate", "labels", "-m", NANO, "-o", self.profile, "--texts", "1000000",
                     says="more than 268435456 tokens")
        self.refused("calibrate", "similarity", "-m", NANO, "-o", self.profile, "--length", "64",
                     says="--length is 64, outside 65")

    def test_networks_are_taught_and_less_folds_by_them(self):
        quick = ["-m", NANO, "-o", self.profile, "-t", "1", "--texts", "1", "--length", "64", "--epochs", "2"]
        page = self.succeeds("calibrate", "less", *quick, "--hidden", "8", "--features", "4")
        self.assertEqual(page, self.succeeds("inspect", self.profile))
        self.assertIn("4 features of keys of 32 numbers, by 8 hidden ones", page)
        shown = self.json("inspect", self.profile)["sections"]["fold"]
        self.assertEqual((shown["features"], shown["hidden"]), (4, 8))
        self.assertFalse(self.profile.with_name("p.gguf.less-training").exists())
        plain = self.kept("--kv", "h2o", "--kv-budget", "60")
        folded = self.kept("--kv", "less", "--kv-budget", "60", "--profile", self.profile)
        self.assertEqual(folded["entries"], plain["entries"])
        self.refused("calibrate", "less", *quick[:-4], "--length", "31", says="--length is 31, outside 32")
        self.refused("calibrate", "less", *quick, "--features", "65", says="--features is 65")

    def test_recipes_use_the_profile(self):
        # Beside a copy of the model it is found by itself.
        model = self.file("model.gguf", NANO.read_bytes())
        self.succeeds("calibrate", "import", "-m", model, "--gates", self.gates)
        self.assertTrue((self.folder / "model.profile.gguf").exists())
        found = self.json("run", "-m", model, "-f", self.prompt, "-n", "2", "--kv", "duo(sinks=4,recent=20)")["kv"]
        full = self.kept()
        self.assertEqual(full["entries"], full["entries_full"])
        # Half of the heads keep 24 entries.
        self.assertEqual(found["entries"], full["entries"] // 2 + 8 * 24)
        self.assertEqual(found["entries"], self.kept("--kv", "duo(sinks=4,recent=20)", "--profile",
                                                     self.folder / "model.profile.gguf")["entries"])
        self.succeeds("calibrate", "import", "-m", model, "--heads", self.scores, "-o", self.profile)
        tight = self.kept("--kv", "headkv", "--kv-budget", "60", "--profile", self.profile)
        self.assertEqual(tight["entries"], 16 * (60 + 1))  # the second token was fed after the prompt
        bench = self.json("bench", "-m", NANO, "--ctx", "512", "-t", "1", "-n", "1", "--repeats", "1", "--decode", "--memory",
                          "--kv", "headkv", "--kv-budget", "60", "--profile", self.profile)
        self.assertLess(bench["runs"][0]["points"][0]["cache"]["entries"], 16 * 80)

    def test_what_is_missing_is_named_before_the_model_is_loaded(self):
        for recipe, how in (("headkv", "heads"), ("duo", "import"), ("razor", "heads"), ("less", "less")):
            budget = ["--kv-budget", "50"] if recipe in ("headkv", "less") else []
            for command in (["run", "-p", "x"], ["chat", "--raw"], ["eval", "--suite", "niah"]):
                self.refused(*command, "-m", "/no/such/model.gguf", "--kv", recipe, *budget,
                             says=f"no profile .*pith calibrate {how} -m /no/such/model.gguf")
        self.refused("bench", "-m", "/no/such/model.gguf", "--kv", "headkv", "--kv-budget", "50",
                     says="no profile .*pith calibrate heads -m /no/such/model.gguf")
        self.succeeds("calibrate", "import", "-m", NANO, "--heads", self.scores, "-o", self.profile)
        self.refused("run", "-m", NANO, "-p", "x", "--kv", "duo", "--profile", self.profile, says='no section "gates"')
        self.refused("run", "-m", NANO, "-p", "x", "--kv", "razor", "--profile", self.profile, says='no section "echo"')
        self.refused("run", "-m", NANO, "-p", "x", "--profile", "/no/such/profile", says="/no/such/profile")
        self.refused("run", "-m", NANO, "-p", "x", "--profile", NANO, says="not a profile")

    def test_what_cannot_be_imported(self):
        bad = {"no json": b"{", "another model": b'{"0-0": [1], "40-0": [1]}', "too few": b'{"0-0": [1]}'}
        says = {"no json": "no JSON object", "another model": "head 40-0", "too few": "without 0-1"}
        for name, data in bad.items():
            self.refused("calibrate", "import", "-m", NANO, "--heads", self.file("bad", data), "-o", self.profile,
                         says=says[name])
        self.refused("calibrate", "import", "-m", NANO, "--gates", self.file("bad", b"1 0\n"), "-o", self.profile,
                     says="1 lines, and the model has 8 layers")
        self.refused("calibrate", "import", "-m", NANO, says="needs one of --heads, --gates and --bits")
        self.refused("calibrate", "import", "-m", NANO, "--heads", self.scores, "--gates", self.gates)
        self.refused("calibrate", "imprt", says="Did you mean import")
        self.assertFalse(self.profile.exists())
        self.assertIn("pith calibrate import", self.succeeds("calibrate"))
        self.assertIn("--gates", self.succeeds("calibrate", "import", "--help"))
        self.assertIn("--needle", self.succeeds("calibrate", "heads", "--help"))

    def test_heads_are_measured_and_added(self):
        self.succeeds("calibrate", "import", "-m", NANO, "--gates", self.gates, "-o", self.profile)
        heads = ["calibrate", "heads", "-m", NANO, "-t", "1", "-o", self.profile]
        shown = self.json(*heads, "--only", "echo", "--ctx", "400")["sections"]
        self.assertEqual(list(shown), ["gates", "echo"])
        self.assertIn("nano.gguf: 99 random tokens, 4 times, seed 42", shown["echo"]["origin"])
        self.assertEqual(shown["echo"]["induction"]["heads"], self.LAYERS * self.QUERY_HEADS)
        shown = self.json(*heads, "--only", "retrieval", "--needle", "magic", "--ctx", "250")["sections"]
        self.assertEqual(list(shown), ["retrieval", "gates", "echo"])
        self.assertIn("questions about the magic needle answered in 125 to 250 tokens", shown["retrieval"]["origin"])
        for recipe in (["razor(local=30)"], ["headkv", "--kv-budget", "60"]):
            kept = self.kept("--profile", self.profile, "--kv", *recipe)
            self.assertLess(kept["entries"], kept["entries_full"])

    def test_heads_that_cannot_be_measured(self):
        heads = ["calibrate", "heads", "-m", NANO, "-t", "1", "-o", self.profile]
        self.refused(*heads, "--only", "echo", "--needle", "magic", says="--needle says nothing to --only echo")
        self.refused(*heads, "--needle", "rusty", says="--needle")
        self.refused(*heads, "--only", "echo", "--ctx", "30", says="--ctx")
        self.refused(*heads, "--only", "retrieval", "--ctx", "60", says="too short for reason/needle")
        self.refused(*heads[:-1], self.folder, says="directory")
        self.refused(*heads, "--haystack", "/no/such/text", says="/no/such/text")
        self.assertFalse(self.profile.exists())
        # Another model's profile is not added to, and that is known before the work.
        self.succeeds("calibrate", "import", "-m", NANO, "--gates", self.gates, "-o", self.profile)
        other = self.file("other.gguf", NANO.read_bytes().replace(b"llama.rope.freq_base", b"llama.rope.freq_bass"))
        self.refused("calibrate", "heads", "-m", other, "-o", self.profile, says="another model")

    def test_profile_is_drawn(self):
        self.succeeds("calibrate", "import", "-m", NANO, "--heads", self.scores, "-o", self.profile)
        self.succeeds("calibrate", "import", "-m", NANO, "--gates", self.gates, "-o", self.profile)
        page = self.folder / "heads.html"
        self.succeeds("inspect", self.profile, "--html", page)
        text = page.read_text()
        self.assertEqual(text.count("<rect"), 32 + 16)
        self.assertIn("layer 7, query head 3: ", text)
        self.assertIn("layer 7, KV head 1: 0.7", text)
        self.assertIn("scores.json, mean of 2 examples", text)
        self.refused("inspect", self.profile, "--html", self.profile, says="overwrite")
        self.refused("inspect", self.profile, "--html", page, "--json", says="--json says nothing")
        self.refused("inspect", self.profile, "--html", page, "--keys", says="Leave --html out")

    def test_gates_are_learnt_beside_what_is_there(self):
        self.succeeds("calibrate", "import", "-m", NANO, "--heads", self.scores, "-o", self.profile)
        table = self.folder / "gates.tsv"
        learn = ["calibrate", "duo", "-m", NANO, "--ctx", "512", "--steps", "2", "-t", "1", "-o", self.profile]
        page = self.succeeds(*learn, "--tsv", table)
        self.assertEqual(page, self.succeeds("inspect", self.profile))
        shown = self.json("inspect", self.profile)["sections"]
        self.assertEqual(list(shown), ["retrieval", "gates"])
        self.assertIn("learnt in 2 steps", shown["gates"]["origin"])
        self.assertEqual(sorted(path.name for path in self.folder.glob("*p.gguf*")), ["p.gguf"])
        rows = [line.split("\t") for line in table.read_text().splitlines()]
        self.assertEqual([len(row) for row in rows], [self.KV_HEADS] * self.LAYERS)
        again = self.folder / "again.gguf"
        self.succeeds("calibrate", "import", "-m", NANO, "--gates", table, "-o", again)
        self.assertEqual(self.json("inspect", again)["sections"]["gates"]["gates"], shown["gates"]["gates"])

    def test_learning_goes_on_where_it_stopped(self):
        learn = ["calibrate", "duo", "-m", NANO, "--ctx", "512", "--steps", "8", "-t", "1", "-o", self.profile, "--tsv"]
        whole, part = self.folder / "whole.tsv", self.folder / "part.tsv"
        self.succeeds(*learn, whole)
        self.profile.unlink()
        process = subprocess.Popen([PITH, *learn, part], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT)
        self.assertIn(b"step 1 of 8", process.stderr.readline())
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=120)
        self.assertEqual(process.returncode, 1)
        self.assertRegex(stderr.decode(), r"pith: error: interrupted .*p.gguf.training")
        self.assertFalse(self.profile.exists())
        self.refused(*learn, part, "--seed", "2", says="another --seed")
        self.succeeds(*learn, part)
        self.assertEqual(part.read_text(), whole.read_text())
        self.assertFalse((self.folder / "p.gguf.training").exists())

    def test_gates_that_cannot_be_learnt(self):
        learn = ["calibrate", "duo", "-m", NANO, "-o", self.profile]
        self.refused(*learn, "--ctx", "100", says="Take 512 to 4096")
        self.refused(*learn, "--steps", "0", says="--steps")
        self.refused(*learn, "--tsv", "/no/such/folder/x", says="/no/such/folder")
        self.file("p.gguf.training", b"what?")
        self.refused(*learn, says="damaged.*Delete it")
        self.refused("calibrate", "duo", "-m", NANO, "-o", NANO, says="not a profile")
        self.assertFalse(self.profile.exists())

    def test_bits_by_layer(self):
        self.refused("run", "-m", NANO, "-p", "x", "--kv", "tuned", "--profile", "/no/such/profile")
        bits = self.file("KVTuner.yaml", b"".join(
            b"%d:\n  nbits_key: %d\n  nbits_value: 4\n" % (layer, 8 if layer < 2 else 4)
            for layer in range(self.LAYERS)))
        page = self.succeeds("calibrate", "import", "-m", NANO, "--bits", bits, "-o", self.profile)
        self.assertIn("8 in layers 0, 1; 4 in layers 2, 3", page)
        self.assertEqual(page, self.succeeds("inspect", self.profile))
        shown = self.json("inspect", self.profile)["sections"]["bits"]
        self.assertEqual((shown["keys"], shown["values"]), ([8, 8] + 6 * [4], 8 * [4]))
        tuned, four, full = (self.kept("--kv", kv, "--profile", self.profile)["bytes"]
                             for kv in ("tuned(residual=0)", "kivi4(residual=0)", "full"))
        self.assertLess(four, tuned)
        self.assertLess(tuned, full)
        self.refused("run", "-m", NANO, "-p", "x", "--kv", "duo", "--profile", self.profile, says='no section "gates"')
        self.refused("calibrate", "import", "-m", NANO, "--bits", self.scores, "-o", self.profile,
                     says="not a file of bits by layer")

    def test_damaged_profiles_are_refused(self):
        self.succeeds("calibrate", "import", "-m", NANO, "--gates", self.gates, "-o", self.profile)
        good = self.profile.read_bytes()
        for data in (b"", good[:50], good[:-70]):
            bad = self.file("bad.gguf", data)
            self.refused("run", "-m", NANO, "-p", "x", "--kv", "duo", "--profile", bad, says="bad.gguf")
            self.refused("inspect", bad, says="bad.gguf")


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]])
