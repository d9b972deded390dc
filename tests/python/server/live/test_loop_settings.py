import json

from fastserve.server.live.loop_settings import LoopSettings, TraceRates
from fastserve.server.logs import LogSettings


def test_they_survive_the_way_to_another_process():
    settings = LoopSettings(
        LogSettings(info=False, verbose_level=7),
        TraceRates(10, {"ä b": 1}),
        [("ü", "/object", 2**63, 1)],
    )
    assert LoopSettings.from_json(json.loads(json.dumps(settings.to_json()))) == settings
