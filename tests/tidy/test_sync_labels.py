"""Every memory order is named, in pairs."""

import pytest

from tests.tidy import sync_labels, tree


def test_orders_are_named_in_the_tree():
    found = [
        violation
        for source in tree.sources(tree.CPP_SUFFIXES, "csrc")
        for violation in sync_labels.check_orders(source)
    ]
    assert not found, tree.report(found)


def test_labels_come_in_pairs_in_the_tree():
    found = list(sync_labels.check_pairs(tree.sources(tree.CPP_SUFFIXES, "csrc")))
    assert not found, tree.report(found)


@pytest.mark.parametrize(
    "line",
    [
        "x.store(1, std::memory_order_release);",
        "x.load(std::memory_order::acquire);",
        "x.fetch_add(1, std::memory_order_seq_cst);",
        "x.load();",
        "x->store(f(1, 2));",
        "x.load(/* std::memory_order_relaxed */);",
    ],
)
def test_an_unnamed_order_is_found(line):
    far = "// SYNC(far): too far above to be read with it.\n" + "int a;\n" * 5
    assert list(sync_labels.check_orders(tree.at("csrc/sync/x.h", far + line)))


@pytest.mark.parametrize(
    "text",
    [
        "// SYNC(filled): why.\nx.store(1, std::memory_order_release);",
        "// SYNC(filled): why,\n// at length.\nx.compare_exchange_weak(\n  a, b,\n"
        "  std::memory_order_acq_rel);",
        "x.load(std::memory_order_relaxed);",
        "snapshot.Load();",
    ],
)
def test_a_named_order_passes(text):
    assert not list(sync_labels.check_orders(tree.at("csrc/sync/x.h", text)))


def test_a_lonely_label_is_found():
    one = tree.at("csrc/sync/x.h", "// SYNC(filled): why.\n// SYNC(freed): why.\n")
    other = tree.at("csrc/sync/y.cc", "// SYNC(filled): why.\n// SYNC(fred): why.\n")
    found = [violation.message for violation in sync_labels.check_pairs([one, other])]
    assert found == ["SYNC(fred) has no partner", "SYNC(freed) has no partner"]
