"""Shows that tools/check_includes.py can fail, and passes what the design allows."""

import tempfile
import unittest
from pathlib import Path

import check_includes


class CheckIncludesTest(unittest.TestCase):
    def check(self, path, text):
        """Errors and warnings for a source tree that holds one file."""
        with tempfile.TemporaryDirectory() as root:
            file = Path(root, "src", path)
            file.parent.mkdir(parents=True)
            file.write_text(text)
            errors, warnings, num_files = check_includes.check_tree(Path(root))
            self.assertEqual(num_files, 0 if "unheard_of" in path else 1)
            return errors, warnings

    def assert_allowed(self, path, include):
        self.assertEqual(self.check(path, f"#include {include}\n"), ([], []))

    def assert_refused(self, path, include):
        errors, _ = self.check(path, f"// first line\n#include {include}\n")
        self.assertEqual(len(errors), 1)
        self.assertIn(f"{path}:2: ", errors[0])

    def test_room_lower_in_the_table_is_allowed(self):
        self.assert_allowed("engine/engine.cc", '"cache/cache.h"')
        self.assert_allowed("base/file.cc", '"base/file.h"')
        self.assert_allowed("base/file.cc", "<vector>")

    def test_room_higher_in_the_table_is_refused(self):
        self.assert_refused("cache/cache.cc", '"engine/engine.h"')
        self.assert_refused("base/file.cc", '"simd/convert-inl.h"')
        self.assert_refused("serve/http.cc", '"cli/options.h"')

    def test_kernel_sees_views_of_the_cache_only(self):
        self.assert_allowed("kernel/attend.h", '"cache/view.h"')
        self.assert_refused("kernel/attend.h", '"cache/cache.h"')
        self.assert_allowed("kernel/attend_test.cc", '"cache/cache.h"')

    def test_calibration_takes_its_questions_from_the_evaluation_and_no_more(self):
        self.assert_allowed("calibrate/needle.cc", '"eval/task/task.h"')
        self.assert_allowed("calibrate/retrieval.cc", '"eval/metric/scores.h"')
        self.assert_refused("calibrate/needle.cc", '"eval/run/runner.h"')
        self.assert_refused("calibrate/needle.cc", '"eval/speed.h"')
        self.assert_refused("engine/engine.cc", '"eval/task/duo.h"')

    def test_ggml_stays_in_its_rooms(self):
        self.assert_allowed("model/llama.cc", "<ggml.h>")
        self.assert_refused("cache/cache.cc", "<ggml.h>")
        self.assert_refused("kernel/attend.cc", "<ggml-cpu.h>")
        self.assert_allowed("kernel/attend_bench.cc", "<ggml-cpu.h>")

    def test_llama_and_highway_stay_in_their_rooms(self):
        self.assert_allowed("text/tokenizer.cc", "<llama.h>")
        self.assert_refused("engine/engine.cc", "<llama.h>")
        self.assert_allowed("simd/convert-inl.h", "<hwy/highway.h>")
        self.assert_refused("cache/pool.cc", "<hwy/highway.h>")

    def test_tools_are_for_tests(self):
        self.assert_allowed("eval/speed_test.cc", '"make_model/make_model.h"')
        self.assert_refused("eval/speed.cc", '"make_model/make_model.h"')

    def test_unknown_folder_and_unplaced_header_are_refused(self):
        self.assertEqual(len(self.check("unheard_of/a.cc", "")[0]), 1)
        self.assert_refused("base/file.cc", '"file.h"')

    def test_commented_and_spaced_includes(self):
        self.assertEqual(self.check("base/a.cc", '// #include "engine/engine.h"\n'), ([], []))
        self.assert_refused("base/a.cc", '"engine/engine.h"  // why')
        self.assertEqual(len(self.check("base/a.cc", '  #  include "engine/engine.h"\n')[0]), 1)

    def test_long_file_warns_and_very_long_file_fails(self):
        self.assertEqual([len(x) for x in self.check("base/a.cc", "\n" * 500)], [0, 0])
        self.assertEqual([len(x) for x in self.check("base/a.cc", "\n" * 501)], [0, 1])
        self.assertEqual([len(x) for x in self.check("base/a.cc", "\n" * 701)], [1, 0])


if __name__ == "__main__":
    unittest.main()
