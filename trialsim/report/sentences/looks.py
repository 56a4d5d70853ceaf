"""When the data are cut."""

from __future__ import annotations

from trialsim.conduct import Look, Trigger
from trialsim.conduct.looks import AfterLastPatientInTrigger, AllTrigger, AnyTrigger, CalendarTrigger, CompletersTrigger, EnrolledTrigger, EventsTrigger
from trialsim.report.sentences.bounds import monitoring
from trialsim.report.sentences.passage import Passage
from trialsim.report.wording import count, counted, listed, time, value
from trialsim.spec.protocol import Protocol


def the_looks(protocol: Protocol) -> Passage:
    """The data cuts, then for each analysis its boundaries."""
    cuts: list[str] = []
    if protocol.looks:
        cuts.append(f"The data are cut at {counted(len(protocol.looks), 'look')}.")
        cuts += [_look(name, look, protocol) for name, look in protocol.looks.items()]
    return Passage.of("Looks and boundaries", cuts, *[said for name, analysis in protocol.analyses.items() for said in monitoring(protocol, name, analysis)])


def _look(name: str, look: Look, protocol: Protocol) -> str:
    limit = f", and at the latest {time(look.not_after)} after accrual opens" if look.not_after is not None else ""
    lag = f"; the decision follows {time(look.decision_lag)} later" if look.decision_lag else ""
    changes = f"; afterwards the trial may be adapted ({value(look.adaptations)})" if look.adaptations else ""
    return f"The look {name} is made {trigger_words(look.when, protocol)}{limit}{lag}{changes}."


def trigger_words(trigger: Trigger, protocol: Protocol) -> str:
    """`when 352 events of os have occurred, all arms pooled`."""
    if isinstance(trigger, EventsTrigger):
        endpoint = trigger.endpoint or next((name for name, item in protocol.endpoints.items() if item.is_event), "")
        return f"when {count(trigger.events, 'event')} of {endpoint} {'has' if trigger.events == 1 else 'have'} occurred, all arms pooled"
    if isinstance(trigger, CompletersTrigger):
        return f"when {count(trigger.completers, 'patient')} {'has' if trigger.completers == 1 else 'have'} reached {trigger.at_visit} under observation"
    if isinstance(trigger, EnrolledTrigger):
        return f"when {count(trigger.enrolled, 'patient')} {'has' if trigger.enrolled == 1 else 'have'} been randomised"
    if isinstance(trigger, CalendarTrigger):
        return f"{time(trigger.calendar)} after accrual opens"
    if isinstance(trigger, AfterLastPatientInTrigger):
        return f"{time(trigger.after_last_patient_in)} after the last planned patient is randomised"
    assert isinstance(trigger, AllTrigger | AnyTrigger)
    parts, word = (trigger.all, "the latest") if isinstance(trigger, AllTrigger) else (trigger.any, "the earliest")
    if len(parts) == 1:
        return trigger_words(parts[0], protocol)
    return f"at {word} of these: {listed(trigger_words(part, protocol) for part in parts)}"
