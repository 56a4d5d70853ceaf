"""How the data are analysed: the method of every analysis and its options."""

from __future__ import annotations

from collections.abc import Iterator

from trialsim.analysis import Analysis
from trialsim.analysis.multiplicity import GraphProcedure, Multiplicity
from trialsim.conduct import Monitoring
from trialsim.report.sentences.passage import Passage, options
from trialsim.report.sentences.question import endpoint_and_visit
from trialsim.report.wording import listed, number, probability
from trialsim.spec.families import arms_of, hypotheses
from trialsim.spec.protocol import Protocol

METHODS = {
    "logrank": "the log-rank test",
    "maxcombo": "the maximum of several weighted log-rank tests",
    "cox": "Cox proportional hazards regression",
    "rmst": "the difference in restricted mean survival time",
    "milestone": "the difference in survival at a milestone",
    "median_survival": "the difference in median survival",
    "average_hazard_ratio": "the average hazard ratio",
    "aalen_johansen": "the difference in cumulative incidence (Aalen–Johansen)",
    "gray": "Gray's test of equal cumulative incidence",
    "fine_gray": "Fine–Gray regression of the subdistribution hazard",
    "lwyy": "the rate ratio of recurrent events with a robust variance (Lin, Wei, Yang and Ying)",
    "t_test": "the t-test",
    "wilcoxon": "the Wilcoxon rank-sum test",
    "ancova": "analysis of covariance",
    "mmrm": "a mixed model for repeated measures",
    "clda": "constrained longitudinal data analysis",
    "proportions": "a comparison of two proportions",
    "fisher": "Fisher's exact test",
    "cmh": "the Cochran–Mantel–Haenszel test",
    "logistic": "logistic regression",
    "proportional_odds": "proportional-odds regression",
    "poisson": "Poisson regression",
    "negative_binomial": "negative binomial regression",
    "gee": "generalised estimating equations",
    "win_ratio": "pairwise comparison of patients (win ratio)",
    "bayesian": "a conjugate Bayesian comparison",
}
_COMMON = {*Analysis.model_fields, *Monitoring.model_fields, "method"}


def the_analyses(protocol: Protocol) -> Passage:
    """One paragraph for each analysis, then families that span analyses."""
    families = [
        f"The hypotheses {listed(family.members)} share a type I error of {probability(family.alpha)} by {_procedure(family.procedure)} (family {name})."
        for name, family in protocol.multiplicity.items()
    ]
    return Passage.of("Analyses", *[_analysis(protocol, name, analysis) for name, analysis in protocol.analyses.items()], families)


def _analysis(protocol: Protocol, name: str, analysis: Analysis) -> Iterator[str]:
    tests, reference = arms_of(protocol, analysis)
    method = getattr(analysis, "method", "")
    about = endpoint_and_visit(protocol, analysis)
    visit = about[1] if about else None
    what = (f" on {about[0]}" + (f" at {visit}" if visit else "")) if about else ""
    question = f" (estimand {analysis.estimand})" if analysis.estimand else ""
    strata = f" stratified by {listed(analysis.stratify_by)}" if analysis.stratify_by else ""
    covariates = f" adjusted for {listed(analysis.covariates)}" if analysis.covariates else ""
    yield f"The analysis {name} uses {METHODS.get(method, method)}{strata}{covariates} to compare {listed(tests)} with {reference}{what}{question}."
    if getattr(analysis, "estimate_by", None) == "cox":
        yield (
            "The hazard ratio is estimated by Cox regression with the same strata."
            if analysis.stratify_by
            else "The hazard ratio is estimated by Cox regression."
        )
    said = options(
        analysis, skip=_COMMON | {"estimate"}, labels={"robust": "robust variance", "df": "degrees of freedom", "test": "test", "at": "visit or time"}
    )
    if said:
        yield f"Options: {listed(said)}."
    if "twin_prognosis" in analysis.covariates:
        kind = protocol.endpoints[about[0]].type if about else ""
        what = {"binary": "log odds", "ordinal": "log odds of a higher category", "count": "log rate"}.get(
            kind, "expected value at the visit" if visit else "log hazard"
        )
        yield f"The covariate twin_prognosis is the {what} that the cohort model predicts under the reference arm from the patient's baseline."
    if analysis.multiplicity != "none" and len(hypotheses(protocol, name)) > 1:
        yield f"The comparisons of its test arms share alpha by {_procedure(analysis.multiplicity)}."
    if analysis.imputation is not None:
        yield f"Missing values are imputed: {listed(options(analysis.imputation)) or 'by multiple imputation under missing at random'}."
    both = analysis.sides == 2
    side = "two-sided" if both else "one-sided" if analysis.type == "equivalence" else "one-sided: only a benefit of the test arm counts"
    shown = (
        ""
        if analysis.type == "superiority" or analysis.margin is None
        else f" It is to show {analysis.type.replace('_', '-')} with margin {number(analysis.margin)}, by "
        f"{'two one-sided tests' if analysis.type == 'equivalence' else 'a one-sided test'} at {probability(analysis.alpha_one_sided)}."
    )
    family = next((key for key, spanning in protocol.multiplicity.items() if any(member.partition(":")[0] == name for member in spanning.members)), None)
    whose = f"that of the family {family}" if family is not None else probability(analysis.alpha)
    yield f"Its alpha is {whose}, {side}.{shown}"


def _procedure(procedure: Multiplicity) -> str:
    names = {
        "hochberg": "Hochberg's procedure",
        "holm": "Holm's procedure",
        "hommel": "Hommel's procedure",
        "bonferroni": "Bonferroni's correction",
        "dunnett": "Dunnett's step-down test",
        "sidak": "Šidák's correction",
    }
    if isinstance(procedure, str):
        return names.get(procedure, f"the {procedure.replace('_', '-')} procedure")
    assert isinstance(procedure, GraphProcedure)
    weights = listed(f"{name} {number(weight)}" for name, weight in procedure.graph.weights.items())
    moves = listed(
        f"{source} passes {number(part)} of its alpha to {target}"
        for source, targets in procedure.graph.transitions.items()
        for target, part in targets.items()
    )
    how = {
        "bonferroni": "",
        "simes": ", intersections tested by Simes' test",
        "parametric": ", intersections tested by the joint distribution of the statistics",
    }
    return f"a graph with weights {weights}" + (f", in which, when rejected, {moves}" if moves else "") + how[procedure.test]
