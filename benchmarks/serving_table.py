"""`docs/serving.json` as Markdown."""

from collections.abc import Mapping
from typing import Any

# What `rate_of_plain` of each scenario with many clients, and so on, is to reach; reported, not asserted.
_GOALS = {"full-size": {"rate_of_plain": 10.0, "rate_of_ceiling": 0.6}, "224 px": {"rate_of_plain": 12.0}}
_LATENCY_GOAL = 0.2
_MEMORY_GOAL = 350.0
_READY_GOAL = 3.0
# Threads of other programs beyond which rates and latencies settle nothing.
_MOST_OTHERS = 0.5


def serving_block(result: Mapping[str, Any]) -> str:
    """Everything that was measured."""
    return f"""### Speed

{load_table(result["load"])}

### Where the time goes

{profile_table(result["profile"])}"""


def load_table(load: Mapping[str, Any]) -> str:
    """Rates, latencies, memory and start."""
    rows = [_scenario(name, found) for name, found in load["scenarios"].items()]
    workers = [each for each in load["memory"]["ours"] if each["role"] == "worker"]
    largest = max(each["rss"] for each in workers)
    together = {name: sum(each["pss"] for each in processes) for name, processes in load["memory"].items()}
    goals = [line for name, found in load["scenarios"].items() for line in _reached(name, found)]
    if load["others"] > _MOST_OTHERS:
        goals = [goal.removesuffix(" |") + ", unsettled: the machine was busy |" for goal in goals]
    goals.append(_goal("memory of a worker (MiB)", largest, _MEMORY_GOAL, at_most=True))
    goals.append(_goal("seconds until ready", load["ready_seconds"]["ours"], _READY_GOAL, at_most=True))
    return "\n".join(
        [
            f"`{load['bundle']}`, {load['cores']} cores, which clients and server share; medians of {load['rounds']} "
            f"rounds of {load['seconds']:g} s each, in turn. {load['requests']:,} requests, {load['errors']} errors; "
            f"the clients take {load['clients_ms_per_request']:.2f} ms of CPU a request.",
            f"Before it began, other programs took {load['others']:.2f} cores: where that is not about 0, "
            "rates say little, and CPU times more. The plain service's threads wait for each other and suffer most.",
            "",
            "| | plain, requests/s | median, p99 ms | ours, requests/s | median, p99 ms | / plain | / ceiling "
            "| CPU ms a request: plain, ours, ceiling |",
            "| --- | --- | --- | --- | --- | --- | --- | --- |",
            *rows,
            "",
            f"A worker has {largest:.0f} MiB resident; all {len(load['memory']['ours'])} processes together hold "
            f"{together['ours']:.0f} MiB (the plain service's one: {together['plain']:.0f}). Ready "
            f"{load['ready_seconds']['ours']:.1f} s after its start (plain: {load['ready_seconds']['plain']:.1f}).",
            "",
            "| goal | measured | asked for | |",
            "| --- | --- | --- | --- |",
            *goals,
        ]
    )


def _scenario(name: str, found: Mapping[str, Any]) -> str:
    plain, ours = found["plain"], found["ours"]
    ceiling = "" if "one client" in name else f"{found['rate_of_ceiling']:.2f} of {found['ceiling']['rate']:.0f}/s"
    cpu = ", ".join(f"{found[each]['cpu_ms']:.1f}" for each in ("plain", "ours", "ceiling"))
    return (
        f"| {name} | {plain['rate']:.0f} | {plain['median_ms']:.1f}, {plain['p99_ms']:.1f} | {ours['rate']:.0f} | "
        f"{ours['median_ms']:.1f}, {ours['p99_ms']:.1f} | {found['rate_of_plain']:.1f} | {ceiling} | {cpu} |"
    )


def _reached(name: str, found: Mapping[str, Any]) -> list[str]:
    if "one client" in name:
        return [_goal(f"{name}: median latency / plain's", found["latency_of_plain"], _LATENCY_GOAL, at_most=True)]
    goals = next(goals for kind, goals in _GOALS.items() if name.startswith(kind))
    words = {"rate_of_plain": "ours / plain", "rate_of_ceiling": "ours / ceiling"}
    return [_goal(f"{name}: {words[key]}", found[key], least) for key, least in goals.items()]


def _goal(name: str, value: float, asked: float, at_most: bool = False) -> str:
    reached = value <= asked if at_most else value >= asked
    words, verdict = "at most" if at_most else "at least", "yes" if reached else "**no**"
    return f"| {name} | {value:.3g} | {words} {asked:g} | {verdict} |"


def profile_table(found: Mapping[str, Any]) -> str:
    """Stages, and what a server's processes take."""
    kinds = list(found["stages_ms"])
    stages = [
        f"| {name} | " + " | ".join(f"{found['stages_ms'][kind][name]:.2f}" for kind in kinds) + " |"
        for name in found["stages_ms"][kinds[0]]
    ]
    columns = [(kind, clients, row) for kind in kinds for clients, row in found["server"][kind].items()]
    roles = list(columns[0][2]["cpu_ms"])
    keys = {"requests/s": "rate", "latency, mean": "latency_ms", "inside of the HTTP process": "inside_ms"}
    keys |= {"decoding a film": "decode_ms", "predict, a batch": "inference_ms", "films in a batch": "batch"}
    rows = [(name, [row[key] for _, _, row in columns]) for name, key in keys.items()]
    rows += [(f"CPU of {role}", [row["cpu_ms"].get(role, 0.0) for _, _, row in columns]) for role in roles]
    return "\n".join(
        [
            f"Milliseconds of each stage alone, on one thread; batches are of {found['batch']} films.",
            "",
            "| stage | " + " | ".join(kinds) + " |",
            "| --- |" + " --- |" * len(kinds),
            *stages,
            "",
            "A server under load, milliseconds a request:",
            "",
            "| | "
            + " | ".join(f"{kind}, {clients} client{'s' * (clients != '1')}" for kind, clients, _ in columns)
            + " |",
            "| --- |" + " --- |" * len(columns),
            *(f"| {name} | " + " | ".join(f"{value:.2f}" for value in values) + " |" for name, values in rows),
        ]
    )
