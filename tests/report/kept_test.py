#!/usr/bin/env python3
"""Opens the map of kept entries in headless Chromium: python3 kept_test.py PITH SOURCE_DIR."""

import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

import browser

PITH, SOURCE = sys.argv[1], pathlib.Path(sys.argv[2])
TEXT = "Ada lives in Oslo. </script><b>bold</b> & \"quoted\" <!-- no comment\n" + "The sky is blue. " * 60 + "Ada lives in"


class Kept(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        text, cls.page = pathlib.Path(folder.name, "text"), pathlib.Path(folder.name, "kept.html")
        text.write_text(TEXT)
        command = [PITH, "inspect", "-m", SOURCE / "models/nano/nano.gguf", "-f", text, "--kv", "adakv",
                   "--kv-budget", "64"]
        cls.json = json.loads(subprocess.run([*command, "--json"], check=True, capture_output=True).stdout)
        subprocess.run([*command, "--html", cls.page], check=True, capture_output=True)
        cls.browser = browser.Browser()
        cls.addClassCleanup(cls.browser.close)

    def setUp(self):
        self.width(1280)
        self.browser.open(self.page.as_uri())
        self.wait()

    def width(self, width):
        self.browser.send("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)

    def wait(self):
        self.browser.evaluate("new Promise(done => setTimeout(done, 200))")

    def cells(self, row):
        """The colour of every column of a row, as a browser has painted it."""
        return self.browser.evaluate(f"""(() => {{
          const canvas = document.querySelector('#map canvas'), g = canvas.getContext('2d'), tokens = {self.json["tokens"]};
          const colors = [];
          const box = canvas.getBoundingClientRect();
          canvas.dispatchEvent(new PointerEvent('pointermove', {{clientX: box.left, clientY: box.top + 1}}));
          for (let i = 0; i < {row}; i++) canvas.dispatchEvent(new KeyboardEvent('keydown', {{key: 'ArrowDown'}}));
          const cursor = document.getElementById('cursor'), y = parseFloat(cursor.style.top) + 6;
          for (let token = 0; token < tokens; token++) {{
            const x = parseFloat(cursor.style.left) + 2 + (parseFloat(cursor.style.width) - 4) / 2;
            colors.push([g.getImageData(Math.floor(x), y, 1, 1).data.join(), document.querySelector('#readout b').textContent]);
            canvas.dispatchEvent(new KeyboardEvent('keydown', {{key: 'ArrowRight'}}));
          }}
          return colors;
        }})()""")

    def test_page_loads_nothing_and_complains_of_nothing(self):
        asked = [event["request"]["url"] for event in self.browser.of("Network.requestWillBeSent")]
        self.assertEqual([url for url in asked if not url.startswith("data:")], [self.page.as_uri()])
        self.assertEqual(self.browser.of("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"), [])

    def test_map_and_readout_show_what_the_cache_holds(self):
        for row in (0, 7, 15):
            self.browser.open(self.page.as_uri())
            self.wait()
            cells, kept = self.cells(row), set(self.json["heads"][row]["positions"])
            self.assertEqual(len(cells), self.json["tokens"])
            painted = {token in kept: color for token, (color, _) in enumerate(cells)}
            self.assertEqual(len(set(painted.values())), 2)
            for token, (color, says) in enumerate(cells):
                self.assertEqual(color, painted[token in kept], (row, token))
                self.assertIn(f"Layer {row // 2}, head {row % 2}: position {token}, ", says)
                self.assertIn("kept" if token in kept else "dropped", says.split("(")[0])

    def test_text_is_text(self):
        shown = self.browser.evaluate("document.querySelector('pre.text').textContent")
        self.assertIn(TEXT, shown)
        self.assertEqual(self.browser.evaluate("document.querySelectorAll('pre.text b').length"), 0)

    def test_table_has_every_head(self):
        rows = self.browser.evaluate("[...document.querySelectorAll('tbody tr')].map(r => [...r.cells].map(c => c.dataset.v))")
        self.assertEqual([[int(cell) for cell in row[:4]] for row in rows],
                         [[head["layer"], head["kv_head"], head["entries"], head["allocated"]] for head in self.json["heads"]])

    def test_nothing_is_wider_than_a_telephone(self):
        self.width(390)
        self.wait()
        self.assertLessEqual(self.browser.evaluate("document.documentElement.scrollWidth"), 390)

    def test_dark_page_is_dark_and_so_is_the_map(self):
        ground = "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)[0]"
        corner = ("(() => { const c = document.querySelector('#map canvas');"
                  " return c.getContext('2d').getImageData(c.width / 2, 8, 1, 1).data[0]; })()")
        for scheme, dark in (("light", False), ("dark", True)):
            self.browser.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
            self.addCleanup(self.browser.send, "Emulation.setEmulatedMedia", features=[])
            self.wait()
            self.assertEqual(self.browser.evaluate(ground) < 60, dark)
            self.assertEqual(self.browser.evaluate(corner) < 60, dark)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
