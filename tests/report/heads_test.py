#!/usr/bin/env python3
"""Opens the maps of a profile in headless Chromium: python3 heads_test.py PITH SOURCE_DIR."""

import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

import browser

PITH, SOURCE = sys.argv[1], pathlib.Path(sys.argv[2])
LAYERS, HEADS = 8, 4


class Heads(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        scores, profile, page = (pathlib.Path(folder.name, name) for name in ("<b>.json", "p.gguf", "heads.html"))
        cls.scores = {f"{layer}-{head}": [layer * HEADS + head + 1] for layer in range(LAYERS) for head in range(HEADS)}
        scores.write_text(json.dumps(cls.scores))
        subprocess.run([PITH, "calibrate", "import", "-m", SOURCE / "models/nano/nano.gguf", "--heads", scores,
                        "-o", profile], check=True, capture_output=True)
        subprocess.run([PITH, "inspect", profile, "--html", page], check=True, capture_output=True)
        cls.page = page
        cls.browser = browser.Browser()
        cls.addClassCleanup(cls.browser.close)

    def setUp(self):
        self.browser.send("Emulation.setDeviceMetricsOverride", width=1280, height=900, deviceScaleFactor=1, mobile=False)
        self.browser.open(self.page.as_uri())

    def test_page_loads_nothing_and_complains_of_nothing(self):
        asked = [event["request"]["url"] for event in self.browser.of("Network.requestWillBeSent")]
        self.assertEqual([url for url in asked if not url.startswith("data:")], [self.page.as_uri()])
        self.assertEqual(self.browser.of("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"), [])
        self.assertIn("<b>.json", self.browser.evaluate("document.querySelector('section p').textContent"))

    def test_every_head_has_a_cell_and_higher_ones_are_stronger(self):
        titles = self.browser.evaluate("[...document.querySelectorAll('.map rect title')].map(t => t.textContent)")
        total = sum(score for [score] in self.scores.values())
        self.assertEqual(titles, [f"layer {name.split('-')[0]}, query head {name.split('-')[1]}: {score / total:.4g}"
                                  for name, [score] in self.scores.items()])
        shades = self.browser.evaluate("[...document.querySelectorAll('.map g')].map(g => Number(g.classList[0].slice(1)))")
        self.assertEqual(shades, sorted(shades))
        self.assertEqual((shades[0], shades[-1]), (0, 10))

    def test_nothing_is_wider_than_a_telephone(self):
        self.browser.send("Emulation.setDeviceMetricsOverride", width=390, height=900, deviceScaleFactor=1, mobile=False)
        self.assertLessEqual(self.browser.evaluate("document.documentElement.scrollWidth"), 390)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
