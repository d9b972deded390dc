import asyncio

import pytest

from fastserve.errors import Error
from fastserve.server.routes.statistics import StatisticsRoutes


def test_who_counts_nothing_says_so():
    with pytest.raises(Error, match="nothing is counted here") as caught:
        asyncio.run(StatisticsRoutes(None).of(None, None))
    assert caught.value.code == "UNIMPLEMENTED"
