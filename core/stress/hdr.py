"""The histograms of a run as an HDR histogram log, which the usual tools read and plot."""

from __future__ import annotations

import io
from collections.abc import Iterable

from hdrh.log import HistogramLogWriter  # type: ignore[import-untyped]

from ..clock import MILLISECOND, SECOND
from .result import Result

__all__ = ["hdr_log"]


def hdr_log(results: Iterable[Result]) -> str:
    """One line for each histogram, in microseconds, tagged `scenario/latency`, `/service`, `/queueing` and `/lag`."""
    text = io.StringIO()
    log = HistogramLogWriter(text)
    log.output_comment("headroom stress; values in microseconds; tag is scenario/figure")
    log.output_log_format_version()
    log.output_legend()
    for result in results:
        run, start_ns = result.run, result.epoch_ns
        for name in ("latency", "service", "queueing", "lag"):
            histogram = getattr(run, name)
            histogram.hdr.set_tag(f"{run.scenario.name}/{name}")
            histogram.hdr.set_start_time_stamp(start_ns // MILLISECOND)
            histogram.hdr.set_end_time_stamp((start_ns + run.elapsed_ns) // MILLISECOND)
            log.output_interval_histogram(histogram.hdr, start_ns / SECOND, (start_ns + run.elapsed_ns) / SECOND, 1000)
    return text.getvalue()
