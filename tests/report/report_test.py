#!/usr/bin/env python3
"""Opens a rendered report in headless Chromium: python3 report_test.py RENDER [FOLDER_FOR_SCREENSHOTS]."""

import base64
import pathlib
import subprocess
import sys
import tempfile
import unittest

import browser
import records

RENDER = pathlib.Path(sys.argv[1])
SCREENSHOTS = pathlib.Path(sys.argv[2]) if len(sys.argv) > 2 else None


class Report(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        results, cls.page = pathlib.Path(folder.name, "results.jsonl"), pathlib.Path(folder.name, "report.html")
        records.write(results)
        cls.markdown = subprocess.run([RENDER, results, cls.page], check=True, capture_output=True, text=True).stdout
        cls.browser = browser.Browser()
        cls.addClassCleanup(cls.browser.close)

    def setUp(self):
        self.browser.open(self.page.as_uri())

    def count(self, selector):
        return self.browser.evaluate(f"document.querySelectorAll({selector!r}).length")

    def test_page_loads_nothing_and_complains_of_nothing(self):
        self.browser.evaluate("new Promise(done => setTimeout(done, 200))")
        asked = [event["request"]["url"] for event in self.browser.of("Network.requestWillBeSent")]
        self.assertEqual([url for url in asked if not url.startswith("data:")], [self.page.as_uri()])
        self.assertEqual(self.browser.of("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"), [])

    def test_charts_are_there_with_and_without_scripts(self):
        # A chart of bytes for ruler at 1,024 and for needles at three lengths; one of divergence; a map for each setting.
        for scripts_off in (False, True):
            self.browser.send("Emulation.setScriptExecutionDisabled", value=scripts_off)
            self.addCleanup(self.browser.send, "Emulation.setScriptExecutionDisabled", value=False)
            self.browser.open(self.page.as_uri())
            self.assertEqual(self.count("#accuracy svg.chart"), 4)
            self.assertEqual(self.count("#likelihood svg.chart"), 1)
            self.assertEqual(self.count("#needles svg.map"), 10)
            self.assertEqual(self.count("#accuracy figure:first-child .ring") > 0, True)
            self.assertEqual(self.count("table.data button"), 0 if scripts_off else self.count("table.data th[scope=col]")
                             + self.count("table.data"))
        # Drawn, and inside the picture.
        self.assertTrue(self.browser.evaluate("""[...document.querySelectorAll('svg.chart path.line, svg.chart circle')]
            .every(mark => { const a = mark.getBoundingClientRect(), b = mark.ownerSVGElement.getBoundingClientRect();
                             return a.width > 0 && a.left >= b.left && a.right <= b.right && a.top >= b.top && a.bottom <= b.bottom; })"""))

    def test_sections_stand_in_order(self):
        sections = self.browser.evaluate("[...document.querySelectorAll('section')].map(section => section.id)")
        self.assertEqual(sections, ["accuracy", "scores", "tasks", "needles", "likelihood", "cost", "examples", "configuration"])

    def test_click_sorts_numbers_up_and_then_down(self):
        column = """(() => { const table = document.querySelectorAll('#scores table')[1];
            const i = [...table.tHead.rows[0].cells].findIndex(cell => cell.textContent === 'Allocated');
            const heading = table.tHead.rows[0].cells[i];
            heading.querySelector('button').click();
            return {state: heading.getAttribute('aria-sort'),
                    values: [...table.tBodies[0].rows].map(row => Number(row.cells[i].dataset.v))}; })()"""
        before = self.count("#scores table:last-child tbody tr")
        up, down = self.browser.evaluate(column), self.browser.evaluate(column)
        self.assertEqual(up["state"], "ascending")
        self.assertEqual(down["state"], "descending")
        self.assertGreater(len(set(up["values"])), 3)
        self.assertEqual(up["values"], sorted(up["values"]))
        self.assertEqual(down["values"], sorted(down["values"], reverse=True))
        self.assertEqual(before, self.count("#scores table:last-child tbody tr"))

    def test_download_is_csv_with_raw_numbers(self):
        csv = self.browser.evaluate("csvOf(document.querySelectorAll('#scores table')[1])").split("\r\n")
        self.assertTrue(csv[0].startswith("Task,Length,Protocol,Recipe,Budget,Score,"), csv[0])
        self.assertTrue(csv[1].startswith("ruler/niah_single_1,1024,query-agnostic,full,,"), csv[1])

    def test_what_models_say_is_text(self):
        self.assertEqual(self.count("script"), 1)
        self.assertEqual(self.count("td b, td script, h1 test"), 0)
        self.assertIn("<script>alert(1)</script>", self.browser.evaluate("document.querySelector('#examples').textContent"))

    def test_nothing_is_wider_than_a_telephone(self):
        self.browser.send("Emulation.setDeviceMetricsOverride", width=390, height=844, deviceScaleFactor=1, mobile=False)
        self.addCleanup(self.browser.send, "Emulation.clearDeviceMetricsOverride")
        self.assertLessEqual(self.browser.evaluate("document.documentElement.scrollWidth"), 390)

    def test_dark_page_is_dark(self):
        ground = "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)[0]"
        for scheme, dark in (("light", False), ("dark", True)):
            self.browser.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
            self.assertEqual(self.browser.evaluate(ground) < 60, dark)

    @unittest.skipUnless(SCREENSHOTS, "no folder for screenshots given")
    def test_screenshots(self):
        for name, width, scheme in (("light", 1280, "light"), ("dark", 1280, "dark"), ("narrow", 390, "light")):
            self.browser.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
            self.browser.send("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
            picture = self.browser.send("Page.captureScreenshot", captureBeyondViewport=True)
            SCREENSHOTS.joinpath(name + ".png").write_bytes(base64.b64decode(picture["data"]))
        self.browser.send("Emulation.setEmulatedMedia", features=[])
        pdf = self.browser.send("Page.printToPDF")
        SCREENSHOTS.joinpath("print.pdf").write_bytes(base64.b64decode(pdf["data"]))


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
