from fastserve.server.openapi.operations import OPERATIONS
from fastserve.server.routes import table


# The router serves what the table says, and the document describes it: neither more than the other.
def test_every_operation_of_the_routes_is_described():
    assert {name for route in table.ROUTES for name in route.operations.values()} == set(OPERATIONS)
