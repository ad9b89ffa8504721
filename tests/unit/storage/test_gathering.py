"""What is submitted goes to the writer's thread together, in order, and what is patient waits for company."""

import asyncio

import pytest

from gatewayd.storage.sqlite import gather
from gatewayd.storage.sqlite.gather import PATIENCE, Gathering
from gatewayd.storage.sqlite.unit import Receipt, Unit


def unit() -> Unit:
    return Unit(lambda _: None, Receipt(loop=asyncio.get_running_loop()), 0)


async def test_a_turn_of_the_loop_is_one_group() -> None:
    given: list[list[Unit]] = []
    gathering, loop = Gathering(given.append), asyncio.get_running_loop()
    units = [unit(), unit()]
    for each in units:
        gathering.add(each, loop, patient=False)
    assert given == []
    await asyncio.sleep(0)
    assert given == [units]


async def test_a_patient_unit_goes_first_with_the_next_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gather, "PATIENCE", 3600.0)
    given: list[list[Unit]] = []
    gathering, loop = Gathering(given.append), asyncio.get_running_loop()
    patient, hasty = unit(), unit()
    gathering.add(patient, loop, patient=True)
    await asyncio.sleep(0)
    assert given == []
    gathering.add(hasty, loop, patient=False)
    await asyncio.sleep(0)
    assert given == [[patient, hasty]]


async def test_a_patient_unit_alone_goes_before_long() -> None:
    given: list[list[Unit]] = []
    gathering = Gathering(given.append)
    patient = unit()
    gathering.add(patient, asyncio.get_running_loop(), patient=True)
    await asyncio.sleep(50 * PATIENCE)
    assert given == [[patient]]


async def test_handing_over_at_the_end_leaves_nothing_behind() -> None:
    given: list[list[Unit]] = []
    gathering = Gathering(given.append)
    gathering.add(unit(), asyncio.get_running_loop(), patient=True)
    gathering.hand_over()
    assert len(given) == 1
    await asyncio.sleep(2 * PATIENCE)
    assert len(given) == 1
