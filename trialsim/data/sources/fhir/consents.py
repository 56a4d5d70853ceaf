"""Consent: what the patient permits and denies, per purpose of this package."""

from __future__ import annotations

from typing import get_args

from trialsim.data.card import Purpose
from trialsim.data.sources.fhir.facts import no_patient
from trialsim.data.sources.fhir.ndjson import NdjsonFile
from trialsim.data.sources.fhir.reading import CODING, PERIOD, REFERENCE, Reading
from trialsim.data.staging import quoted

PURPOSES: tuple[str, ...] = get_args(Purpose)
OWN_SYSTEM = "https://trialsim/purpose"  # codes: the purposes themselves
ACT_REASON = ("http://terminology.hl7.org/CodeSystem/v3-ActReason", "http://hl7.org/fhir/v3/ActReason", "urn:oid:2.16.840.1.113883.5.8")
RESEARCH = ("train", "simulate", "external_control")

# v3-ActReason → what a permit for it permits. A permit of research is none of commercial use, nor of genetic data; one of
# research into a certain disease or into ancestry (DSRCH, POARCH) cannot be checked here and permits nothing.
PERMITS = {
    "HRESCH": RESEARCH,
    "CLINTRCH": RESEARCH,
    "CLINTRCHNPC": RESEARCH,
    "CLINTRCHPC": RESEARCH,
    "BIORCH": ("train", "simulate"),
    "TRANSRCH": ("train", "simulate"),
    "HMARKT": ("commercial",),
    "MLTRAINING": ("train",),
}
# What a denial of it denies. All that this package does is research.
DENIES = dict.fromkeys((*PERMITS, "PRECLINTRCH", "DSRCH", "POARCH", "RESCH"), PURPOSES) | {"HMARKT": ("commercial",), "MLTRAINING": ("train", "simulate")}

_STATUSES = ("draft", "proposed", "active", "rejected", "inactive", "entered-in-error")
_RULE = '"type":"VARCHAR","period":' + PERIOD + ',"purpose":' + CODING + ',"actor":[{"reference":' + REFERENCE + "}],"
_RULE += '"action":[{"coding":' + CODING + '}],"securityLabel":"JSON","class":"JSON","code":"JSON","data":"JSON","dataPeriod":"JSON","modifierExtension":"JSON"'
_SHAPE = (
    '{"status":"VARCHAR","modifierExtension":"JSON","scope":{"coding":' + CODING + '},"patient":' + REFERENCE + ',"dateTime":"VARCHAR",'
    '"policy":[{"authority":"VARCHAR"}],"policyRule":{"coding":' + CODING + '},"provision":{' + _RULE + ',"provision":[{' + _RULE + ","
    '"provision":[{' + _RULE + ',"provision":"JSON"}]}]}}'
)


def prepare_consents(reading: Reading) -> None:
    """The table of purposes: (system, code, type) → a purpose of this package."""
    connection = reading.staging.connection
    connection.execute("CREATE OR REPLACE TEMP TABLE fhir_purposes (system VARCHAR, code VARCHAR, type VARCHAR, purpose VARCHAR)")
    own = [(OWN_SYSTEM, purpose, kind, purpose) for purpose in PURPOSES for kind in ("permit", "deny")]
    reasons = [
        (system, code, kind, purpose)
        for system in ACT_REASON
        for kind, table in (("permit", PERMITS), ("deny", DENIES))
        for code, purposes in table.items()
        for purpose in purposes
    ]
    # Rules without a purpose: system null, code the scope.
    silent = [(None, scope, "deny", purpose) for scope in ("research", "patient-privacy", "other") for purpose in PURPOSES]
    silent += [(None, "research", "permit", purpose) for purpose in RESEARCH] + [(None, "patient-privacy", "permit", purpose) for purpose in PURPOSES]
    connection.executemany("INSERT INTO fhir_purposes VALUES (?, ?, ?, ?)", own + reasons + silent)


def read_consents(reading: Reading, file: NdjsonFile, *, recipients: tuple[str, ...]) -> None:
    """Consents become rows of permits and denials per purpose; what is in doubt permits nothing.

    - A Consent whose rules are not of R4's shape, or whose status is none of R4's, is a problem: it could deny what is not read.
    - Only the status `active` counts. Scopes: `research` and `patient-privacy`; `treatment` and `adr` concern no use of data and are
      left out; a Consent of another scope permits nothing, but its denials count.
    - The rule at the root is `provision.type`, or where it is absent the policyRule OPTIN or OPTOUT (v3-ActCode). Nested
      provisions (two levels; a Consent with more permits nothing) are exceptions to it: the deepest rule for a purpose holds, and of
      two of one depth the denial. A nested provision without a type is a denial; one without a purpose has that of its parent.
    - Purposes are mapped by `PERMITS` and `DENIES` (v3-ActReason) and `OWN_SYSTEM`. Other codes of these systems concern
      other uses (TREAT, HPAYMT); a permit with a code of another system permits nothing, a denial with one denies every
      purpose. A rule without a purpose is about all of them, but under the scope `research` it permits research alone.
    - A permit that is limited to certain data (`class`, `code`, `data`, `dataPeriod`, `securityLabel`), to actions without `use`,
      or to actors who are not all among `recipients`, or that a `modifierExtension` changes, permits nothing. A denial counts whatever it is limited to.
    - A rule holds from the start of its period (else the Consent's `dateTime`) to its end. Limits and periods hold for the
      provisions in it too.

    Contradictions between Consents are left to their users, for whom a denial wins; `count_contradictions` counts them.
    **Source:** HL7 FHIR R4, Consent; HL7 v3 Code System ActReason (PurposeOfUse).
    """
    reading.staging.connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE fhir_consents AS
        SELECT *, fhir_patient(reference) AS person, coalesce(provision.type, CASE
            WHEN list_contains(policy_rules, 'OPTOUT') THEN 'deny' WHEN list_contains(policy_rules, 'OPTIN') THEN 'permit' END) AS root_type,
            coalesce(len(list_filter(provision.provision, lambda x: len(list_filter(x.provision, lambda y: y.provision IS NOT NULL)) > 0)), 0) > 0 AS too_deep,
            CASE WHEN list_contains(scopes, 'research') THEN 'research' WHEN list_contains(scopes, 'patient-privacy') THEN 'patient-privacy'
                WHEN len(list_filter(scopes, lambda x: x IN ('treatment', 'adr'))) > 0 THEN NULL ELSE 'other' END AS scope
        FROM (SELECT line, r.status AS status, {_wrong_shape("text")} AS wrong_shape, r.modifierExtension IS NOT NULL AS modified, r.patient.reference AS reference, r.dateTime AS dated, r.provision AS provision, r.policy[1].authority AS jurisdiction,
            list_transform(r.scope.coding, lambda x: x.code) AS scopes, list_transform(r.policyRule.coding, lambda x: x.code) AS policy_rules
        FROM ({file.resources("Consent", _SHAPE)}))"""
    )
    reading.tally["Consent: read"] += file.types["Consent"]
    reading.problems(file, "SELECT line, 'Consent whose rules cannot be told: ' || wrong_shape FROM fhir_consents WHERE wrong_shape IS NOT NULL")
    reading.count(
        {
            "left out, the status is not active": "status IS DISTINCT FROM 'active'",
            "left out, about treatment or advance directives": "status = 'active' AND scope IS NULL",
        },
        "fhir_consents",
        kind="Consent",
    )
    reading.staging.connection.execute("DELETE FROM fhir_consents WHERE wrong_shape IS NOT NULL OR status IS DISTINCT FROM 'active' OR scope IS NULL")
    reading.problems(file, f"SELECT line, {no_patient('Consent')} FROM fhir_consents WHERE person IS NULL")
    _stage_rules(reading, recipients)
    _check_rules(reading, file)
    reading.tally["Consent: kept"] += reading.staging.insert(
        "consents",
        f"""SELECT {quoted(reading.source)} AS source, person, permit, purpose, jurisdiction, start, expiry, {quoted(file.shown)} AS file, line
        FROM ({_DECIDED}) WHERE person IS NOT NULL""",
    )


def _wrong_shape(text: str) -> str:
    """SQL: what of a Consent is not of the shape that it has in R4, in words, null where nothing is."""
    one = "CASE {} WHEN 'OBJECT' THEN 'a map' WHEN 'ARRAY' THEN 'a list' ELSE 'a word' END"
    cases = []
    for path, wanted, words in (
        ("provision", "OBJECT", "one map"),
        ("provision.type", "VARCHAR", "one word"),
        ("policyRule", "OBJECT", "one map"),
        ("policyRule.coding", "ARRAY", "a list"),
    ):
        kind = f"json_type({text}, '$.{path}')"
        cases.append(f"WHEN {kind} NOT IN ('{wanted}', 'NULL') THEN '`{path}` is ' || {one.format(kind)} || ', where it is {words} in R4'")
    for name, article in (("provision", "a"), ("purpose", "a"), ("actor", "an"), ("action", "an")):
        odd = f"list_filter(json_type({text}, '$.provision..{name}'), lambda x: x NOT IN ('ARRAY', 'NULL'))"
        inside = " in a provision" if name == "provision" else ""
        cases.append(f"WHEN len({odd}) > 0 THEN '{article} `{name}`{inside} is ' || {one.format(f'({odd})[1]')} || ', where it is a list in R4'")
    odd = f"list_filter(json_type({text}, '$.provision..provision[*]'), lambda x: x <> 'OBJECT')"
    cases.append(f"WHEN len({odd}) > 0 THEN 'a `provision` in a provision is a list of words, where it is one of maps in R4'")
    cases.append(f"WHEN json_exists({text}, '$.decision') THEN 'it has a `decision`, which R4 does not have'")
    cases.append("WHEN r.status IS NULL THEN 'it has no status'")
    cases.append(f"WHEN r.status NOT IN ({', '.join(map(quoted, _STATUSES))}) THEN 'the status \"' || r.status || '\", which R4 does not have'")
    return f"CASE {' '.join(cases)} END"


def _rules(recipients: tuple[str, ...]) -> str:
    """A query of all rules, one per row: of the root (depth 0), in it (1), and in those (2). What limits a rule limits those in it."""
    known = f"[{', '.join(map(quoted, recipients))}]::VARCHAR[]"

    def some(things: str, condition: str) -> str:
        return f"coalesce(len(list_filter({things}, lambda x: {condition})), 0) > 0"

    def limited(rule: str) -> str:
        uses = some(f"{rule}.action", "list_contains(list_transform(x.coding, lambda c: c.code), 'use')")
        others = some(f"{rule}.actor", f"NOT coalesce(list_contains({known}, x.reference.reference), false)")
        certain = f"coalesce({rule}.securityLabel, {rule}.class, {rule}.code, {rule}.data, {rule}.dataPeriod, {rule}.modifierExtension) IS NOT NULL"
        return f"{certain} OR {others} OR (coalesce(len({rule}.action), 0) > 0 AND NOT {uses})"

    nested, queries = "SELECT *, provision AS rule0 FROM fhir_consents", []
    for depth in range(3):
        chain = [f"rule{level}" for level in range(depth + 1)]
        queries.append(
            f"""SELECT line, person, jurisdiction, scope, too_deep, dated, {depth} AS depth,
            {"root_type" if depth == 0 else f"coalesce({chain[-1]}.type, 'deny')"} AS type,
            coalesce({", ".join(f"{rule}.purpose" for rule in reversed(chain))}) AS purposes,
            [{", ".join(f"{rule}.period" for rule in chain)}] AS periods, scope = 'other' OR modified OR {" OR ".join(map(limited, chain))} AS limited FROM ({nested})"""
        )
        nested = f"SELECT *, unnest({chain[-1]}.provision) AS rule{depth + 1} FROM ({nested})"
    return " UNION ALL BY NAME ".join(queries)


def _stage_rules(reading: Reading, recipients: tuple[str, ...]) -> None:
    """One row per rule (`fhir_rules`), and one per rule and purpose (`fhir_stated`)."""
    reading.staging.connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE fhir_rules AS
        SELECT row_number() OVER () AS rule_id, *, periods[-1].start AS start_text, periods[-1]."end" AS end_text,
            list_max(list_transform(periods, lambda x: fhir_time(x.start)::DATE)) AS first_day,
            list_min(list_transform(periods, lambda x: fhir_last_day(x."end"))) AS last_day
        FROM ({_rules(recipients)}) WHERE type IS NOT NULL"""
    )
    systems = ", ".join(map(quoted, (*ACT_REASON, OWN_SYSTEM)))
    reading.staging.connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE fhir_stated AS
        WITH coded AS (
            SELECT *, unnest(CASE WHEN coalesce(len(purposes), 0) = 0 THEN [{{'system': NULL::VARCHAR, 'code': scope}}]
                ELSE list_transform(purposes, lambda p: {{'system': coalesce(p.system, ''), 'code': p.code}}) END) AS p FROM fhir_rules),
        mapped AS (
            SELECT coded.*, f.purpose AS purpose FROM coded JOIN fhir_purposes f
            ON f.system IS NOT DISTINCT FROM p.system AND f.code = p.code AND f.type = coded.type
            UNION ALL BY NAME
            SELECT coded.*, unnest([{", ".join(map(quoted, PURPOSES))}]) AS purpose FROM coded WHERE type = 'deny' AND p.system NOT IN ({systems}))
        SELECT DISTINCT line, person, jurisdiction, depth, rule_id, purpose, type = 'permit' AS permit,
            coalesce(first_day, fhir_time(dated)::DATE) AS start, last_day AS expiry
        FROM mapped WHERE type = 'deny' OR NOT (limited OR too_deep)"""
    )


def _check_rules(reading: Reading, file: NdjsonFile) -> None:
    """Notes rules that cannot be read, and counts those that permit nothing."""
    reading.problems(
        file, "SELECT line, 'Consent with a provision that is neither permit nor deny: \"' || type || '\"' FROM fhir_rules WHERE type NOT IN ('permit', 'deny')"
    )
    reading.problems(
        file,
        f"SELECT DISTINCT line, 'Consent with the purpose \"' || coalesce(p.code, '') || '\", which is none of {', '.join(PURPOSES)}' "
        f"FROM (SELECT line, unnest(purposes) AS p FROM fhir_rules) WHERE p.system = '{OWN_SYSTEM}' AND coalesce(p.code, '') NOT IN ({', '.join(map(quoted, PURPOSES))})",
    )
    for text in ("dated", "start_text", "end_text"):
        reading.problems(
            file,
            f"SELECT DISTINCT line, 'Consent with a date that is none: \"' || {text} || '\"' FROM fhir_rules WHERE {text} IS NOT NULL AND fhir_time({text}) IS NULL",
        )
    reading.problems(
        file,
        "SELECT line, 'Consent with a period that ends before it starts: ' || start_text || ' to ' || end_text FROM fhir_rules "
        "WHERE fhir_last_day(end_text) < fhir_time(start_text)::DATE",
    )
    reading.count(
        {
            "permits that do not count, of another scope or limited to certain data, actions or actors": "type = 'permit' AND limited",
            "permits that do not count, provisions nested too deep": "type = 'permit' AND too_deep AND NOT limited",
            "rules that name no purpose of these": "rule_id NOT IN (SELECT rule_id FROM fhir_stated) AND NOT (type = 'permit' AND (limited OR too_deep))",
            "partial dates of periods (a start is the first day, an end the last)": "fhir_is_partial(start_text) OR fhir_is_partial(end_text)",
        },
        "fhir_rules",
        kind="Consent",
    )


# What the rules of one Consent come to: the days are cut wherever a rule begins or ends, the deepest rules that hold between two
# cuts decide (a denial among them wins), and neighbours that decide the same are joined. Open ends are the ends of the calendar.
_FIRST, _LAST = "'0001-01-01'::DATE", "'9999-12-30'::DATE"
_DECIDED = f"""
    WITH rules AS (
        SELECT *, coalesce(start, {_FIRST}) AS a, least(coalesce(expiry, {_LAST}), {_LAST}) AS b FROM fhir_stated),
    cuts AS (SELECT line, purpose, a AS day FROM rules WHERE a <= b UNION SELECT line, purpose, (b + 1)::DATE FROM rules WHERE a <= b),
    spans AS (SELECT *, (lead(day) OVER (PARTITION BY line, purpose ORDER BY day) - 1)::DATE AS until FROM cuts),
    holding AS (
        SELECT person, jurisdiction, permit, spans.* FROM spans JOIN rules USING (line, purpose) WHERE a <= day AND day <= b
        QUALIFY depth = max(depth) OVER (PARTITION BY line, purpose, day)),
    decided AS (
        SELECT line, purpose, day, until, any_value(person) AS person, any_value(jurisdiction) AS jurisdiction, bool_and(permit) AS permit
        FROM holding GROUP BY line, purpose, day, until),
    changes AS (SELECT *, permit IS DISTINCT FROM lag(permit) OVER w OR day IS DISTINCT FROM lag(until) OVER w + 1 AS changed
        FROM decided WINDOW w AS (PARTITION BY line, purpose ORDER BY day)),
    runs AS (SELECT *, count(*) FILTER (changed) OVER (PARTITION BY line, purpose ORDER BY day) AS run FROM changes)
    SELECT line, purpose, permit, any_value(person) AS person, any_value(jurisdiction) AS jurisdiction,
        nullif(min(day), {_FIRST}) AS start, nullif(max(until), {_LAST}) AS expiry FROM runs GROUP BY line, purpose, permit, run"""


def count_contradictions(reading: Reading) -> None:
    """Counts the persons for whom one Consent permits a purpose that another denies at the same time; the denial wins."""
    source = quoted(reading.source)
    overlap = "coalesce(p.start, '-infinity') <= coalesce(d.expiry, 'infinity') AND coalesce(d.start, '-infinity') <= coalesce(p.expiry, 'infinity')"
    ((found,),) = reading.rows(
        f"""SELECT count(DISTINCT p.person) FROM consents p JOIN consents d ON p.person = d.person AND p.purpose = d.purpose AND p.permit AND NOT d.permit
        AND p.source = {source} AND d.source = {source} AND {overlap} AND (p.file, p.line) <> (d.file, d.line)"""
    )
    reading.tally["Consent: persons for whom one permits what another denies (the denial wins)"] += found
