"""What the daemon is doing right now: tasks with the line each waits at, threads with their stacks.

Names, files and lines only, never values: a dump is made where people look over each other's shoulders.
"""

import asyncio
import gc
import inspect
import sys
import threading
import traceback
from collections.abc import Mapping
from typing import Any

MAX_TASKS = 500
"""Tasks shown; the number of the others is told."""
MAX_FRAMES = 12


def task_names(tasks: set[asyncio.Task[Any]]) -> list[str]:
    """Each task by its name and the line it waits at, sorted."""
    return sorted(f"{task.get_name()} at {_place(task)}" for task in tasks)


def dump_text(tasks: set[asyncio.Task[Any]], state: Mapping[str, Any]) -> str:
    """Everything, as lines for people."""
    lines = [f"{key}: {value}" for key, value in state.items()]
    names = task_names(tasks)
    lines.append(f"tasks: {len(names)}")
    lines += [f"  {name}" for name in names[:MAX_TASKS]]
    if len(names) > MAX_TASKS:
        lines.append(f"  and {len(names) - MAX_TASKS} more")
    for thread in threading.enumerate():
        lines.append(f"thread {thread.name}")
        lines += [f"  {line}" for line in stack_of(thread.ident or 0)]
    return "\n".join(lines)


def stack_of(thread_id: int) -> list[str]:
    """The innermost frames of a thread, outermost first; empty when it has ended."""
    frame = sys._current_frames().get(thread_id)
    if frame is None:
        return []
    found = traceback.StackSummary.extract(traceback.walk_stack(frame), limit=MAX_FRAMES, lookup_lines=False)
    return [f"{entry.filename}:{entry.lineno} {entry.name}" for entry in reversed(found)]


def _place(task: asyncio.Task[Any]) -> str:
    """Where the task stands: its own coroutine first, then what that waits for, to the innermost."""
    waiting: Any = task.get_coro()
    places: list[str] = []
    while waiting is not None and len(places) < MAX_FRAMES:
        frame = _first(waiting, "cr_frame", "gi_frame", "ag_frame")
        if frame is not None:
            places.append(f"{frame.f_code.co_filename}:{frame.f_lineno} {frame.f_code.co_name}")
            waiting = _first(waiting, "cr_await", "gi_yieldfrom", "ag_await")
        else:
            # A step of an async generator does not say of which one; the collector knows.
            waiting = next((one for one in gc.get_referents(waiting) if inspect.isasyncgen(one)), None)
    return " > ".join(places) or "?"


def _first(subject: Any, *names: str) -> Any:
    return next((found for name in names if (found := getattr(subject, name, None)) is not None), None)
