from __future__ import annotations

from trialsim.execution.tasks import MOST_CHUNKS, TASK_SECONDS, CellDone, ChunkDone, Task, TaskQueue
from trialsim.rng import Block


def queue(n_chunks, cells=1):
    chunks = [Block(4096 * i, 4096) for i in range(n_chunks)]
    return TaskQueue([chunks] * cells, dict.fromkeys(range(cells), chunks))


def drain(work, workers, seconds):
    handed = []
    while task := work.next(workers):
        handed.append(task)
        for chunk in () if task.evaluate else task.chunks:
            work.observe(ChunkDone(task.cell, chunk, 0, seconds))
        if task.evaluate:
            work.observe(CellDone(task.cell, (), 1.0))
    return handed


def test_every_chunk_is_handed_out_once_in_order_and_tasks_stay_in_a_cell():
    work = queue(50, cells=3)
    handed = drain(work, workers=2, seconds=0.2)
    assert [(task.cell, chunk.first) for task in handed if not task.evaluate for chunk in task.chunks] == [
        (cell, 4096 * i) for cell in range(3) for i in range(50)
    ]
    everything = tuple(Block(4096 * i, 4096) for i in range(50))
    assert handed[-3:] == [Task(cell, everything, evaluate=True) for cell in range(3)]
    assert (work.replicates_left, work.cells_left) == (0, 0)
    assert not work


def test_tasks_grow_to_some_seconds_and_shrink_towards_the_end():
    sizes = [len(task.chunks) for task in drain(queue(1000), workers=4, seconds=0.2) if not task.evaluate]
    assert sizes[0] == 1
    assert max(sizes) == TASK_SECONDS / 0.2
    assert sizes[-1] == 1


def test_slow_chunks_go_one_by_one_and_fast_ones_are_limited():
    assert {len(task.chunks) for task in drain(queue(100), workers=2, seconds=60.0) if not task.evaluate} == {1}
    assert max(len(task.chunks) for task in drain(queue(5000), workers=1, seconds=1e-6) if not task.evaluate) == MOST_CHUNKS


def test_what_is_left_is_known_after_the_first_chunk_and_the_first_cell():
    work = queue(10, cells=2)
    assert work.seconds_left() == 0.0
    task = work.next(1)
    work.observe(ChunkDone(0, task.chunks[0], 0, 2.0))
    assert work.seconds_left() == 38.0
    evaluating = TaskQueue([[Block(0, 10)]] * 3, {})
    evaluating.observe(CellDone(evaluating.next(1).cell, (), 7.0))
    assert evaluating.seconds_left() == 14.0


def test_a_cell_waits_until_its_chunks_are_stored():
    work = queue(1, cells=2)
    first, second = work.next(2), work.next(2)
    assert work.next(2) is None
    assert work
    work.observe(ChunkDone(0, first.chunks[0], 0, 1.0))
    assert work.next(2) == Task(0, first.chunks, evaluate=True)
    assert work.next(2) is None
    work.observe(ChunkDone(1, second.chunks[0], 0, 1.0))
    assert work.next(2) == Task(1, second.chunks, evaluate=True)
