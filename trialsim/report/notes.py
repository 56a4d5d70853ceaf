"""What a reader of the numbers has to know: shared noise, optimism, failures, targets that were not reached."""

from __future__ import annotations

from trialsim.report.numbers import figure
from trialsim.report.source import FinishedRun
from trialsim.report.tables import Results, comparison_name
from trialsim.report.wording import counted, listed


def notes(run: FinishedRun) -> list[str]:
    """Sentences, the most important first."""
    results = Results(run.rows)
    return [*_optimism(run), *_calibration(run), *_failures(results), *_targets(results), *_noise(results), *_conventions(run)]


def optimistic_analyses(run: FinishedRun) -> list[str]:
    """The analyses that adjust for the prognosis of the very model that generates the patients."""
    protocol = run.described.protocol
    if protocol.population is None or protocol.population.source is None or protocol.truth is None:
        return []
    found = []
    for name, analysis in protocol.analyses.items():
        if "twin_prognosis" in analysis.covariates:
            found.append(name)
    return found


def _optimism(run: FinishedRun) -> list[str]:
    names = optimistic_analyses(run)
    if not names:
        return []
    those = f"the analysis {names[0]}" if len(names) == 1 else f"the analyses {listed(names)}"
    return [
        f"The gain from adjustment is optimistic: {those} adjust{'s' if len(names) == 1 else ''} for twin_prognosis, the prediction of the same fitted "
        "model that generates the patients. In a real trial the model would be wrong in some way, and the prognosis would explain less of the outcome."
    ]


def _calibration(run: FinishedRun) -> list[str]:
    population = run.described.protocol.population
    if population is None or not population.calibrate_to:
        return []
    model = population.cohort_model(run.folder)
    return [
        f"The cohort is reweighted to published targets: of its eligible patients {getattr(model, 'share', 1.0):.0%} remain as an effective sample size. "
        "What the targets do not name follows from the cohort model."
    ]


def _failures(results: Results) -> list[str]:
    failed = [row for row in results.rows if row["measure"] == "convergence_failure" and row["look"] is None and row["estimate"] > 0]
    if not failed:
        return ["No analysis failed in any replicate."]
    said = [f"{comparison_name(row['analysis'], row['arm'])} under {_cell(row)} in {figure(row)}" for row in failed]
    return [f"Analyses failed (a failed analysis never rejects; share of replicates): {'; '.join(said)}."]


def _targets(results: Results) -> list[str]:
    missed = [row for row in results.rows if row["measure"] == "target_not_reached" and row["look"] is None and row["estimate"] > 0]
    if not missed:
        return ["Every look reached its target in every replicate."]
    said = [f"under {_cell(row)} in {figure(row)}" for row in missed]
    return [f"A look did not reach its target, and was analysed with what was there (share of replicates): {'; '.join(said)}."]


def _noise(results: Results) -> list[str]:
    if len(results.cells) == 1:
        return []
    return [
        f"The {counted(len(results.cells), 'cell')} share their random numbers: the same patients, arrivals and chances come back under every design and "
        "scenario. Differences between cells are therefore usually sharper than their standard errors suggest, and cells that agree are not independent evidence: "
        "never pool their standard errors."
    ]


def _conventions(run: FinishedRun) -> list[str]:
    said = ["± is one Monte Carlo standard error; n is the number of simulated trials behind a number. With 0 or n successes it is that of (x + 1)/(n + 2)."]
    if any(row["measure"] == "bias" for row in run.rows):
        said.append(
            "Bias, coverage and true values refer to the true value of the estimand under each scenario, computed from both arms of the same simulated twins."
        )
    if any(row["measure"] == "power_ignoring_futility" for row in run.rows):
        said.append("The trials obey the futility rule although it is non-binding; the type I error with futility ignored is what is held against alpha.")
    return said


def _cell(row: dict[str, object]) -> str:
    return str(row["scenario"]) if row["design"] == "default" else f"{row['design']}, {row['scenario']}"
