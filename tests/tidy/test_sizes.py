"""Header 250 lines, source 400, function 60, room 12 units; exceptions may only shrink."""

from pathlib import Path, PurePosixPath

from tests.tidy import sizes, tree

EXCEPTIONS = Path(__file__).with_name("exceptions.txt")
EXCEPTIONS_MAX = 0


def read_exceptions() -> dict[tuple[str, str], int]:
    """(rule, where) -> the number that is excused."""
    excused = {}
    for line in EXCEPTIONS.read_text().splitlines():
        if line and not line.startswith("#"):
            rule, where, number, reason = (field.strip() for field in line.split("|"))
            assert reason, f"an exception without a reason: {line}"
            excused[rule, where] = int(number)
    return excused


def all_excesses() -> list[sizes.Excess]:
    suffixes = tree.CPP_SUFFIXES | tree.PYTHON_SUFFIXES
    found = [excess for source in tree.sources(suffixes) for excess in sizes.check_file(source)]
    return found + list(sizes.check_rooms(tree.paths()))


def test_nothing_is_longer_than_its_limit():
    excused = read_exceptions()
    found = [e for e in all_excesses() if e.number > excused.get((e.rule, e.where), e.limit)]
    assert not found, "\n" + "\n".join(map(str, found))


def test_exceptions_only_shrink():
    actual = {(excess.rule, excess.where): excess.number for excess in all_excesses()}
    excused = read_exceptions()
    loose = {key: (number, actual.get(key)) for key, number in excused.items()}
    loose = {key: pair for key, pair in loose.items() if pair[0] != pair[1]}
    assert not loose, f"exceptions.txt: excused and actual differ: {loose}"
    assert len(excused) <= EXCEPTIONS_MAX


def test_a_long_file_is_found():
    for suffix, limit in sizes.FILE_LINES_MAX.items():
        source = tree.at(f"csrc/base/long{suffix}", "\n" * (limit + 1))
        assert [excess.rule for excess in sizes.check_file(source)] == ["file-lines"]


def test_a_long_function_is_found():
    body = "  int a = 0;  // }\n" * 60
    cpp = f"namespace n {{\nclass C {{\n template <class T>\n void F(T t) {{\n{body} }}\n}};\n}}\n"
    found = list(sizes.check_file(tree.at("csrc/base/long.cc", cpp)))
    assert [(excess.where, excess.number) for excess in found] == [("csrc/base/long.cc::F", 63)]
    python = "async def long():\n" + "    pass\n" * 60
    (excess,) = sizes.check_file(tree.at("python/fastserve/long.py", python))
    assert excess.number == 61


def test_classes_and_tables_are_not_functions():
    body = "  int a = 0;\n" * 70
    for head in ("struct S", "namespace n", "const std::array<int, 3> kTable =", "enum class E"):
        source = tree.at("csrc/base/long.cc", f"{head} {{\n{body}}};\n")
        assert not list(sizes.check_file(source))


def test_a_long_line_is_found():
    source = tree.at("csrc/base/wide.h", "// " + "x" * 98 + "\n")
    assert [excess.rule for excess in sizes.check_file(source)] == ["line-characters"]


def test_a_crowded_room_is_found():
    units = [PurePosixPath(f"csrc/base/u{i}{end}") for i in range(13) for end in (".h", ".cc")]
    assert [excess.number for excess in sizes.check_rooms(units)] == [13]
    assert not list(sizes.check_rooms(units[:24]))


def test_the_smallest_engine_stays_small():
    # What an engine must implement is too much when this one, which only hands on, needs more.
    lines = [
        len(source.lines)
        for source in tree.sources(tree.CPP_SUFFIXES, "csrc")
        if source.path.parts[:3] == ("csrc", "backends", "identity")
    ]
    assert 0 < sum(lines) <= 120
