"""`docs/serving.json` as Markdown."""

from collections.abc import Mapping
from typing import Any

# What `rate_of_plain` of each scenario with many clients, and so on, is to reach; reported, not asserted.
_GOALS = {"full-size": {"rate_of_plain": 10.0, "rate_of_ceiling": 0.6}, "224 px": {"rate_of_plain": 12.0}}
_LATENCY_GOAL = 0.2
_MEMORY_GOAL = 350.0
_READY_GOAL = 3.0


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
    goals.append(_goal("memory of a worker (MiB)", largest, _MEMORY_GOAL, at_most=True))
    goals.append(_goal("seconds until ready", load["ready_seconds"]["ours"], _READY_GOAL, at_most=True))
    return "\n".join(
        [
            f"`{load['bundle']}`, {load['cores']} cores, which clients and server share; medians of {load['rounds']} "
            f"rounds of {load['seconds']:g} s each, in turn. {load['requests']:,} requests, {load['errors']} errors; "
            f"the clients take {load['clients_ms_per_request']:.2f} ms of CPU a request.",
            "",
            "| | plain, requests/s | median, p99 ms | ours, requests/s | median, p99 ms | / plain | / ceiling |",
            "| --- | --- | --- | --- | --- | --- | --- |",
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
    ceiling = f"{found['rate_of_ceiling']:.2f} of {found['ceiling']['rate']:.0f}/s" if "ceiling" in found else ""
    return (
        f"| {name} | {plain['rate']:.0f} | {plain['median_ms']:.1f}, {plain['p99_ms']:.1f} | {ours['rate']:.0f} | "
        f"{ours['median_ms']:.1f}, {ours['p99_ms']:.1f} | {found['rate_of_plain']:.1f} | {ceiling} |"
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
    lines = [("requests/s", lambda row: row["rate"]), ("latency, mean", lambda row: row["latency_ms"])]
    lines += [("inside of the HTTP process", lambda row: row["inside_ms"])]
    lines += [("decoding a film", lambda row: row["decode_ms"]), ("predict, a batch", lambda row: row["inference_ms"])]
    lines += [("films in a batch", lambda row: row["batch"])]
    lines += [(f"CPU of {role}", lambda row, role=role: row["cpu_ms"].get(role, 0.0)) for role in roles]
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
            *(
                f"| {name} | " + " | ".join(f"{value(row):.2f}" for _, _, row in columns) + " |"
                for name, value in lines
            ),
        ]
    )
