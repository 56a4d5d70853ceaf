"""When the looks of a trial are expected, and who has been seen by then, without simulating.

Each trigger is met when its expected count is: the n-th randomisation, the time at which the expected number of events
(or of patients who have reached a visit) is the target. `all` is the latest of its conditions, `any` the earliest,
`not_after` the latest there is. Events demanded that are not expected to happen are waited for until nobody is left at risk.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from trialsim.conduct.expectation import ExpectedCourse
from trialsim.conduct.looks import (
    AfterLastPatientInTrigger,
    AllTrigger,
    AnyTrigger,
    CalendarTrigger,
    CompletersTrigger,
    EnrolledTrigger,
    EventsTrigger,
    Look,
    Trigger,
)

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ExpectedTrial:
    """What the triggers of looks can refer to, in expectation.

    `entry_time` `[patient]` of an average trial; `courses` by time-to-event endpoint; `visits` in days since
    randomisation; `retention` by visit, the share of each arm still under follow-up then, `[arm]`; `share` `[arm]`.
    """

    entry_time: Array
    share: Array
    courses: Mapping[str, ExpectedCourse] = field(default_factory=dict)
    visits: Mapping[str, float] = field(default_factory=dict)
    retention: Mapping[str, Array] = field(default_factory=dict)

    def enrolled(self, calendar: float) -> int:
        """Patients randomised by a calendar time."""
        return int(np.searchsorted(self.entry_time, calendar, side="right"))

    def completers_by_arm(self, visit: str, calendar: float) -> Array:
        """Patients expected to have reached a visit under follow-up by a calendar time, `[arm]`."""
        there = int(np.searchsorted(self.entry_time + self.visits[visit], calendar, side="right"))
        return np.asarray(there * self.share * self.retention[visit])

    def look_time(self, look: Look, endpoint: str | None) -> tuple[float, bool]:
        """The expected calendar time of a look (days), and whether its target is expected to be reached."""
        time = self._when(look.when, endpoint)
        latest = self._latest(endpoint) if look.not_after is None else look.not_after
        return (time, True) if time <= latest else (latest, False)

    def look_times(self, looks: Sequence[Look], endpoint: str | None) -> list[float]:
        """The expected times of looks in calendar order.

        They end with the first whose target is out of reach and after which nothing more comes in, as trials do.
        """
        pairs = [self.look_time(look, endpoint) for look in looks]
        times = np.maximum.accumulate([time for time, _ in pairs]).tolist()
        for index, (_, reached) in enumerate(pairs[:-1]):
            if not reached and times[index + 1] <= times[index]:
                return list(times[: index + 1])
        return list(times)

    def _latest(self, endpoint: str | None) -> float:
        """When nobody is left to be followed; infinity where no events are counted."""
        course = self.courses.get(endpoint or next(iter(self.courses), ""))
        return math.inf if course is None else course.time_of_exhaustion()

    def _when(self, trigger: Trigger, endpoint: str | None) -> float:
        if isinstance(trigger, EventsTrigger):
            return self.courses[trigger.endpoint or endpoint or next(iter(self.courses))].time_of_events(trigger.events)
        if isinstance(trigger, CompletersTrigger):
            reached = float(self.share @ self.retention[trigger.at_visit])
            needed = math.ceil(trigger.completers / reached - 1e-9) if reached > 0.0 else math.inf
            last = len(self.entry_time)
            return float(self.entry_time[int(min(needed, last)) - 1]) + self.visits[trigger.at_visit]
        if isinstance(trigger, EnrolledTrigger):
            return float(self.entry_time[trigger.enrolled - 1]) if trigger.enrolled <= len(self.entry_time) else math.inf
        if isinstance(trigger, CalendarTrigger):
            return trigger.calendar
        if isinstance(trigger, AfterLastPatientInTrigger):
            return float(self.entry_time[-1]) + trigger.after_last_patient_in
        if isinstance(trigger, AllTrigger):
            return max(self._when(part, endpoint) for part in trigger.all)
        assert isinstance(trigger, AnyTrigger)
        return min(self._when(part, endpoint) for part in trigger.any)
