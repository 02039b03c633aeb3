"""`codeup plan RECIPE`: what each stage will need, as tables."""

from __future__ import annotations

import json as jsonlib
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from codeup import recipe as recipes
from codeup import run as engine
from codeup import study
from codeup.cli.progress import display

if TYPE_CHECKING:
    from codeup.planning import ClusterPlan, Measurement, StageNeeds, StudyPlan
    from codeup.train.needs import Memory

GIB = 2**30
MIB = 2**20


def plan(
    path: str,
    settings: list[str],
    *,
    gpu: str | None,
    price: float | None,
    utilisation: float | None,
    measure: bool,
    json: bool,
    cluster: str | None = None,
    network: float | None = None,
) -> None:
    """Print the plan of a recipe's stages."""
    recipe = recipes.load(path, settings)
    steps = study.compile_recipe(recipe)
    planned = engine.plan(steps, study.run_folder(recipe))
    from codeup import planning

    if cluster is not None:
        planning.find_cluster(cluster, utilisation=planning.UTILISATION)  # a mistake is told before the work
    with display() as emit:
        result = planning.plan_study(
            recipe,
            steps,
            {item.step.name: item.artifact for item in planned if item.artifact is not None},
            gpu=gpu,
            price=price,
            utilisation=planning.UTILISATION if utilisation is None else utilisation,
            measure=measure,
            emit=emit,
        )
        scaled = None
        if cluster is not None:
            scaled = planning.plan_cluster(
                recipe, result, cluster, utilisation=result.assumed["utilisation"], **_given(network_gbit=network)
            )
    if json:
        print(jsonlib.dumps(as_json(result) | ({} if scaled is None else {"cluster": scaled.as_json()})))
    else:
        print("\n".join([*lines(result), *(cluster_lines(scaled) if scaled else ())]))


def _given(**values: Any) -> dict[str, Any]:
    """Those that were given."""
    return {name: value for name, value in values.items() if value is not None}


def as_json(result: StudyPlan) -> dict[str, object]:
    """Every number of the plan; memory in bytes, with its total."""
    record = asdict(result)
    record["parameters"] = result.shape.parameters
    for stage, plain in zip(result.stages, record["stages"], strict=True):
        for of, memory in (("gpu", stage.gpu), ("alone", stage.alone), ("cpu", stage.cpu)):
            plain[of]["total"] = memory.total
    if result.measurement is not None:
        record["measurement"]["predicted"]["total"] = result.measurement.predicted.total
    return record


def lines(result: StudyPlan) -> Iterator[str]:
    """The plan as text."""
    yield f"{result.name}: {result.base}, {result.shape.parameters:,} parameters from {result.shape_from}"
    yield ""
    yield from _token_lines(result)
    yield ""
    yield from _memory_lines(result)
    yield ""
    yield from _machine_lines(result)
    yield ""
    yield from _total_lines(result)
    yield from _work_lines(result)
    if result.measurement is not None:
        yield _measured_line(result.measurement)


def _token_lines(result: StudyPlan) -> Iterator[str]:
    head = f"{'trainable':>13}{'of all':>8}{'tokens':>14}{'epochs':>7}{'steps':>8}{'packs':>14}"
    yield f"{'stage':<14}{'trained':>8}{head}"
    for stage in result.stages:
        share = f"{100 * stage.trainable / stage.total:.2f} %"
        work = stage.workload
        tokens = f"{work.tokens:,}" if work else "unknown"
        packs = f"{work.packs:,} ({100 * work.efficiency:.0f} %)" if work and work.packs and work.efficiency else ""
        steps = f"{stage.steps:,}" if stage.steps is not None else ""
        counts = f"{stage.trainable:>13,}{share:>8}{tokens:>14}{stage.epochs:>7}{steps:>8}{packs:>14}"
        yield f"{stage.name:<14}{f'{stage.trainings}×':>8}{counts}".rstrip()
    for stage in result.stages:
        yield f"  {stage.name}: tokens of an epoch, {_method(stage)}"


def _method(stage: StageNeeds) -> str:
    if stage.workload is None:
        return "unknown until the data is fetched; the memory does not depend on it"
    return f"{stage.workload.rows:,} rows, {stage.workload.method}"


def _memory_lines(result: StudyPlan) -> Iterator[str]:
    names = list(asdict(result.stages[0].gpu))
    yield f"{'memory in GiB':<22}{'row':>6}" + "".join(f"{name:>12}" for name in names) + f"{'total':>8}"
    for stage in result.stages:
        for where, memory in (("GPU", stage.gpu), ("CPU", stage.cpu)):
            yield f"{f'{stage.name}, {where}':<22}{stage.micro_batch:>6}" + _parts(memory)


def _parts(memory: Memory) -> str:
    return "".join(f"{size / GIB:>12.2f}" for size in asdict(memory).values()) + f"{memory.total / GIB:>8.2f}"


def _machine_lines(result: StudyPlan) -> Iterator[str]:
    priced = result.assumed["price_per_hour"] is not None
    head = f"{'hours':>10}{'cost' if priced else '':>10}"
    yield f"{'stage':<14}{'machine':<34}{'needs GiB':>10}{'has':>8}  {'':<6}{head}".rstrip()
    for stage in result.stages:
        for fit in stage.fits:
            hours = "" if fit.hours is None else f"{fit.hours:,.2f}"
            cost = "" if fit.cost is None else f"{fit.cost:,.2f}"
            size = f"{fit.needs / GIB:>10.1f}{fit.has / GIB:>8.1f}"
            yield f"{stage.name:<14}{fit.machine:<34}{size}  {fit.verdict:<6}{hours:>10}{cost:>10}".rstrip()


def _total_lines(result: StudyPlan) -> Iterator[str]:
    price, devices = result.assumed["price_per_hour"], result.assumed["devices"]
    for machine, hours_of in result.hours.items():
        each = ", ".join(f"{name} {hours:,.2f} h" for name, hours in hours_of.items())
        whole = result.study_hours[machine]
        here = machine.startswith("here")
        cost = f", cost {whole * price * devices:,.2f}" if price is not None and not here else ""
        cards = f" ({whole * devices:,.2f} card-hours)" if devices > 1 and not here else ""
        yield f"{machine}: {each}; all trainings of the study {whole:,.2f} h{cards}{cost}"


def _idle_line(stage: str, units: int, gpus: int) -> Iterator[str]:
    if units < gpus:
        mend = "raise batch_tokens, or lower micro_batch_tokens"
        yield f"{stage}: a step has {units} pieces for {gpus} GPUs, the others are idle; {mend}"


def _work_lines(result: StudyPlan) -> Iterator[str]:
    share = result.assumed["utilisation"]
    for stage in result.stages:
        useful, executed = stage.work.useful, stage.work.executed
        mfu = share * useful / executed
        yield f"{stage.name}: {useful / 1e9:.3g} GFLOP a token, {executed / 1e9:.3g} executed; MFU {mfu:.0%}"
    yield f"hours on a named GPU assume that {share:.0%} of its bf16 peak is reached by what is executed"
    if (devices := result.assumed["devices"]) > 1:
        yield f"several cards: memory is that of each; hours as by --cluster 1x{devices}xNAME (not measured on GPUs)"
        for stage in result.stages:
            yield from _idle_line(stage.name, stage.load.units, devices)


def _measured_line(measurement: Measurement) -> str:
    measured, predicted = measurement.measured, measurement.predicted.total
    return (
        f"measured: {measured.steps} steps of {measurement.stage} on {measured.device}, {measured.dtype}: "
        f"{measured.tokens_per_s:,.0f} tokens/s; peak {measured.peak / MIB:,.0f} MiB, "
        f"predicted {predicted / MIB:,.0f} MiB ({100 * (predicted / measured.peak - 1):+.0f} %)"
    )


def cluster_lines(found: ClusterPlan) -> Iterator[str]:
    """A cluster plan as text: a line for each stage and strategy, then what goes on around the training."""
    yield ""
    yield f"{found.label}: seconds of a step by part, and how busy the GPUs are with it"
    head = f"{'pieces':>7}{'compute':>9}{'exchange':>10}{'waiting':>9}{'total':>9}{'busy':>7}{'GiB':>7}"
    yield f"{'stage':<14}{'strategy':<16}{head}  {'':<6}{'hours':>8}{'one GPU':>9}"
    for one in found.stages:
        step = one.step
        parts = f"{step.compute_s:>9.3f}{step.exchange_s:>10.3f}{step.waiting_s:>9.3f}{step.total_s:>9.3f}"
        hours = "" if one.hours is None else f"{one.hours:>8,.2f}{one.alone_hours:>9,.2f}"
        row = f"{one.units:>7}{parts}{step.busy:>7.0%}{one.needs / GIB:>7.1f}  {one.verdict:<6}{hours}"
        yield f"{one.stage:<14}{one.strategy:<16}{row}".rstrip()
    for stage, units in {one.stage: one.units for one in found.stages}.items():
        yield from _idle_line(stage, units, found.cluster.ranks)
    rates, assumed = found.rates, found.assumed
    yield (
        f"around it: {rates.rows_per_s:,.0f} rows/s prepared by {rates.cores} cores; {rates.answers_per_s:,.1f} "
        f"answers/s of {assumed['answer_tokens']:.0f} tokens; {rates.verdicts_per_s:,.0f} verdicts/s; "
        f"{rates.samples_per_day / 1e6:,.1f} million samples a day generated and judged"
    )
    yield "assumed: " + ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in assumed.items())
