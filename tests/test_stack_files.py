"""`pytest_gilprobe.report.stack_files` and `holder_layout`: files for viewers, and the icicle's positions."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from reports_fixture import OUTER, STACKS, rich_report

from pytest_gilprobe import cli
from pytest_gilprobe.model import report_json
from pytest_gilprobe.model.errors import GilprobeError
from pytest_gilprobe.model.holders import CodePlace, HeldStack
from pytest_gilprobe.model.scans import Scan
from pytest_gilprobe.report import firefox, stack_files
from pytest_gilprobe.report.holder_layout import icicle


def test_collapsed_stacks_have_a_line_each() -> None:
    """Frames from the outermost in, joined by semicolons, and a whole number; a name has no semicolon of its own."""
    odd = HeldStack(share=0.25, frames=(OUTER, CodePlace(function="a;b\nc")))
    report = rich_report()
    workload = replace(report.workloads[1], nodeid="test_it.py::test_it[;]")
    workload = replace(workload, gil=replace(workload.gil, stacks=(odd,)))
    text = stack_files.collapsed(replace(report, workloads=(workload,)))
    assert text.count("\n") == 1
    frames, _, count = text.rstrip().rpartition(" ")
    assert count == "2500"
    assert frames.split(";")[:2] == ["test_it.py::test_it[,]", "test_orders (tests/test_orders.py:9)"]
    assert len(frames.split(";")) == 3


def test_a_speedscope_file_is_what_its_format_wants() -> None:
    """Every sample's frames exist, there are as many weights as samples, and they add up to the end."""
    content = json.loads(stack_files.speedscope(rich_report()))
    assert content["$schema"] == stack_files.SCHEMA
    frames = content["shared"]["frames"]
    assert all(frame["name"] for frame in frames)
    assert content["profiles"]
    for profile in content["profiles"]:
        assert profile["type"] == "sampled"
        assert len(profile["samples"]) == len(profile["weights"])
        assert {at for sample in profile["samples"] for at in sample} <= set(range(len(frames)))
        assert profile["endValue"] == pytest.approx(sum(profile["weights"]))


TABLES = ("stackTable", "frameTable", "funcTable", "resourceTable", "nativeSymbols", "markers")
REFERENCES = (
    ("samples", "stack", "stackTable"),
    ("stackTable", "prefix", "stackTable"),
    ("stackTable", "frame", "frameTable"),
    ("frameTable", "func", "funcTable"),
)


def test_a_firefox_profile_is_what_its_format_wants() -> None:
    """All columns of a table are as long as it says, and every reference leads to a row of its table."""
    content = json.loads(firefox.draw(rich_report()))
    texts, sources = content["shared"]["stringArray"], content["shared"]["sources"]
    assert len(texts) == len(set(texts))
    assert content["meta"]["preprocessedProfileVersion"] == firefox.VERSION
    assert "grey" in {one["color"] for one in content["meta"]["categories"]}
    assert content["threads"]
    for thread in content["threads"]:
        for table in (*map(thread.__getitem__, TABLES), thread["samples"], sources):
            columns = [column for column in table.values() if isinstance(column, list)]
            assert {len(column) for column in columns} == {table["length"]}
        for table, column, target in REFERENCES:
            numbers = {at for at in thread[table][column] if at is not None}
            assert numbers <= set(range(thread[target]["length"]))
        assert set(thread["funcTable"]["name"]) <= set(range(len(texts)))
        assert {at for at in thread["funcTable"]["source"] if at is not None} <= set(range(sources["length"]))
        assert all(prefix is None or prefix < at for at, prefix in enumerate(thread["stackTable"]["prefix"]))


def test_the_stacks_of_a_firefox_profile_are_those_of_the_report() -> None:
    """Walked from the innermost function out, each sample is a stack, and its weight that stack's share."""
    report = rich_report()
    content = json.loads(firefox.draw(report))
    texts, sources = content["shared"]["stringArray"], content["shared"]["sources"]["filename"]
    thread = content["threads"][0]
    found = []
    for leaf, weight in zip(thread["samples"]["stack"], thread["samples"]["weight"], strict=True):
        places, node = [], leaf
        while node is not None:
            frame = thread["stackTable"]["frame"][node]
            function = thread["frameTable"]["func"][frame]
            source = thread["funcTable"]["source"][function]
            places.append(
                CodePlace(
                    function=texts[thread["funcTable"]["name"][function]],
                    file=None if source is None else texts[sources[source]],
                    line=thread["frameTable"]["line"][frame],
                )
            )
            node = thread["stackTable"]["prefix"][node]
        found.append(HeldStack(share=weight / stack_files.PARTS, frames=tuple(reversed(places))))
    (_, stacks) = next(stack_files.with_stacks(report))
    assert tuple(found) == stacks


def test_a_report_without_stacks_is_refused_with_the_reason(
    tmp_path: object, capsys: pytest.CaptureFixture[str]
) -> None:
    """There is nothing to draw, which is said, with the exit status of a wrong input."""
    report = rich_report()
    none = tuple(replace(one, gil=replace(one.gil, stacks=None)) for one in report.workloads)
    with pytest.raises(GilprobeError, match="no stacks"):
        stack_files.collapsed(replace(report, workloads=none))
    scan = Scan(tests=1, tests_alone=0, wall_s=1.0, cpu_s=1.0)
    slow = tuple(replace(one, gil=replace(one.gil, holders_reason="too short")) for one in none)
    with pytest.raises(GilprobeError, match=r"no stacks that held the GIL: too short$"):
        stack_files.collapsed(replace(report, workloads=slow))
    with pytest.raises(GilprobeError, match="no stacks that held the GIL: a scan keeps none; probe the tests"):
        stack_files.speedscope(replace(report, workloads=none, scan=scan))
    path = f"{tmp_path}/report.json"
    report_json.write_atomic(path, report_json.to_json(replace(report, workloads=none)))
    assert cli.main(["render", path, "--format", "speedscope"]) == cli.WRONG_INPUT
    assert "no stacks" in capsys.readouterr().err
    report_json.write_atomic(path, report_json.to_json(report))
    assert cli.main(["render", path, "--format", "collapsed"]) == cli.OK
    assert "test_orders (tests/test_orders.py:9);loads (json/__init__.py:346) 6100" in capsys.readouterr().out


def test_a_function_of_the_icicle_lies_below_its_caller() -> None:
    """Parts of a row do not overlap, and each lies within a part of the row above."""
    cells = list(icicle(STACKS))
    assert [(cell.depth, cell.start, cell.width) for cell in cells] == [(0, 0, 100), (1, 0, 61), (1, 61, 30)]
    assert cells[1].said == "loads, json/__init__.py: 61 %"
    assert list(icicle([])) == []
