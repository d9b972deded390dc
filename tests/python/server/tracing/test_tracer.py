import json

from fastserve.config.options import Options
from fastserve.server.live.loop_settings import TraceRates
from fastserve.server.tracing.tracer import Tracer
from tests.python.server.tracing.test_entries import RECORD

CLOSE_S = 10.0


def test_more_than_were_asked_for_are_not_written(tmp_path):
    path = tmp_path / "trace.json"
    tracer = Tracer(Options(trace_file=str(path), trace_level="timestamps", trace_rate=1))
    assert tracer.rates() == TraceRates(1, {})
    tracer.change("", {"trace_count": "3"})
    assert not tracer.take([RECORD])
    assert tracer.take([RECORD] * 5)  # Now the loops are to stop.
    assert tracer.rates() == TraceRates(0, {})
    assert not tracer.take([RECORD])
    tracer.close(CLOSE_S)
    assert len(json.loads(path.read_text())) == 2 * 3
    assert tracer.lost == 0


def test_without_a_file_nothing_is_kept():
    tracer = Tracer(Options())
    assert not tracer.take([RECORD])
    tracer.close(CLOSE_S)
    assert tracer.shown("")["trace_file"] == ""
