#!/usr/bin/env python3
"""Runs benchmark commands in turn, pinned to one core, and prints the ratios of their steps.

    benches/side_by_side.py [--rounds 5] [--cpu 0] WORKLOAD COMMAND [COMMAND ...]

Every command is a template in which {} stands for the workload; it prints a JSON object with
`system`, `step_ms` and `compile_s` as its last line, as `kilngrad bench --json` does. A round runs
each command once, in an order that alternates, so that a machine whose speed drifts meets all of
them alike. Shown are medians over the rounds, and the median of each round's ratio to the first
command.

    benches/side_by_side.py mlp \\
        'target/release/kilngrad bench {} --json' \\
        'python jax_peer.py {}' 'python torch_peer.py {}' 'python torch_peer.py {} --compile'
"""
import argparse
import json
import shlex
import statistics
import subprocess
import sys


def run(template, workload, cpu):
    """The JSON object that a command prints last, or an error that says what it printed."""
    command = ["taskset", "-c", str(cpu), *shlex.split(template.replace("{}", workload))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = done.stdout.strip().splitlines()
    if done.returncode != 0 or not lines:
        sys.exit(f"{template}: exit code {done.returncode}\n{done.stderr}")
    row = json.loads(lines[-1])
    if "error" in row:
        sys.exit(f"{template}: {row['error']}")
    return row


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cpu", type=int, default=0)
    parser.add_argument("workload")
    parser.add_argument("commands", nargs="+")
    args = parser.parse_args()

    rounds = []
    for index in range(args.rounds):
        order = args.commands if index % 2 == 0 else args.commands[::-1]
        rounds.append({command: run(command, args.workload, args.cpu) for command in order})

    first = args.commands[0]
    print(f"{args.workload}: {args.rounds} rounds on core {args.cpu}")
    print(f"{'system':<18}{'step ms':>10}{'compile s':>12}{'step ratio':>12}{'compile ratio':>15}")
    for command in args.commands:
        rows = [row[command] for row in rounds]

        def median(key):
            return statistics.median(row[key] for row in rows)

        def ratio(key):
            return statistics.median(row[first][key] / row[command][key] for row in rounds)

        print(
            f"{rows[0]['system']:<18}{median('step_ms'):>10.4f}{median('compile_s'):>12.4f}"
            f"{ratio('step_ms'):>12.3f}{ratio('compile_s'):>15.3f}"
        )


if __name__ == "__main__":
    main()
