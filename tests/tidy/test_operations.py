"""The coverage page says what is so, and every served operation goes by the table's name."""

from pathlib import Path

from landline.app import coverage
from landline.edge.unserved import place, unserved
from landline.wire.operations import SERVICES

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "operations.md"


def test_the_coverage_page_is_current() -> None:
    assert PAGE.read_text("utf-8") == coverage.document(coverage.served()), "run `make docs`"


def test_no_operation_is_listed_twice() -> None:
    places = [place(each.method, each.template) for operations in SERVICES.values() for each in operations]
    names = [each.name for operations in SERVICES.values() for each in operations]
    assert len(set(places)) == len(places)
    assert len(set(names)) == len(names)


def test_served_operations_go_by_the_sdks_names() -> None:
    names = {place(each.method, each.template): each.name for operations in SERVICES.values() for each in operations}
    for route in coverage.served():
        where = place(route.method, route.template)
        if where in names:
            assert route.name == names[where]


def test_every_operation_is_either_served_or_refused() -> None:
    served = coverage.served()
    refused = unserved(served)
    everything = {place(route.method, route.template) for route in [*served, *refused]}
    assert len(everything) == len(served) + len(refused)
    assert {place(each.method, each.template) for operations in SERVICES.values() for each in operations} <= everything
