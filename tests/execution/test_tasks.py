from __future__ import annotations

from trialsim.execution.tasks import MOST_CHUNKS, TASK_SECONDS, ChunkDone, TaskQueue
from trialsim.rng import Block


def queue(n_chunks, cells=1):
    return TaskQueue({cell: [Block(4096 * i, 4096) for i in range(n_chunks)] for cell in range(cells)})


def drain(work, workers, seconds):
    handed = []
    while task := work.next(workers):
        handed.append(task)
        for chunk in task.chunks:
            work.observe(ChunkDone(task.cell, chunk, 0, seconds))
    return handed


def test_every_chunk_is_handed_out_once_in_order_and_tasks_stay_in_a_cell():
    work = queue(50, cells=3)
    handed = drain(work, workers=2, seconds=0.2)
    assert [(task.cell, chunk.first) for task in handed for chunk in task.chunks] == [(cell, 4096 * i) for cell in range(3) for i in range(50)]
    assert work.replicates_left == 0
    assert not work


def test_tasks_grow_to_some_seconds_and_shrink_towards_the_end():
    sizes = [len(task.chunks) for task in drain(queue(1000), workers=4, seconds=0.2)]
    assert sizes[0] == 1
    assert max(sizes) == TASK_SECONDS / 0.2
    assert sizes[-1] == 1


def test_slow_chunks_go_one_by_one_and_fast_ones_are_limited():
    assert {len(task.chunks) for task in drain(queue(100), workers=2, seconds=60.0)} == {1}
    assert max(len(task.chunks) for task in drain(queue(5000), workers=1, seconds=1e-6)) == MOST_CHUNKS


def test_what_is_left_is_known_after_the_first_chunk():
    work = queue(10)
    assert work.seconds_left() is None
    task = work.next(1)
    work.observe(ChunkDone(0, task.chunks[0], 0, 2.0))
    assert work.seconds_left() == 18.0
