"""A report as JUnit XML: a suite for each scenario, a test case for each threshold."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

from .report import Report, RunReport

__all__ = ["junit_xml"]

# What XML 1.0 cannot hold at all, escaped or not; a broker's message may contain it.
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit_xml(report: Report) -> str:
    """The XML text, ending in a line break."""
    suites = ET.Element("testsuites", name=f"headroom stress {_clean(report.scenario)}")
    for run in report.runs:
        suites.append(_suite(run, report.started_at))
    tests = sum(int(suite.get("tests", "0")) for suite in suites)
    suites.set("tests", str(tests))
    suites.set("failures", str(sum(int(suite.get("failures", "0")) for suite in suites)))
    ET.indent(suites)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(suites, encoding="unicode") + "\n"


def _suite(run: RunReport, started_at: str) -> ET.Element:
    failures = [line for line in run.thresholds if line.passed is False]
    cut_short = run.state in {"stopped", "broken"}
    suite = ET.Element(
        "testsuite",
        name=_clean(run.name),
        tests=str(len(run.thresholds) + cut_short),
        failures=str(len(failures)),
        errors=str(int(cut_short)),
        time=f"{run.elapsed_s:.3f}",
        timestamp=started_at,
    )
    for line in run.thresholds:
        case = ET.SubElement(suite, "testcase", classname=f"stress.{_clean(run.name)}", name=_clean(line.name))
        if line.passed is False:
            ET.SubElement(case, "failure", message=_clean(f"{line.value}, must be {line.limit}"))
    if cut_short:
        case = ET.SubElement(suite, "testcase", classname=f"stress.{_clean(run.name)}", name="played to the end")
        ET.SubElement(case, "error", message=_clean(run.message or "interrupted; the figures are those until then"))
    if run.message:
        ET.SubElement(suite, "system-out").text = _clean(run.message)
    return suite


def _clean(text: str) -> str:
    return _FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", text)
