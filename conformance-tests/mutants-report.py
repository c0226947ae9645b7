#!/usr/bin/env python3
"""Turns the result of cargo-mutants into MUTATIONS.md: mutants-report.py mutants.out/outcomes.json > MUTATIONS.md"""

import json
import sys
from collections import Counter, defaultdict

FOUND = {"CaughtMutant": "caught", "Timeout": "timed out", "Unviable": "not compiled", "MissedMutant": "missed"}

with open(sys.argv[1]) as file:
    result = json.load(file)

counts, missed = defaultdict(Counter), []
for outcome in result["outcomes"]:
    if outcome["scenario"] == "Baseline":
        continue
    mutant, found = outcome["scenario"]["Mutant"], FOUND[outcome["summary"]]
    counts[mutant["file"]][found] += 1
    if found == "missed":
        missed.append(mutant["name"])

print(f"""# Mutations

cargo-mutants {result["cargo_mutants_version"]} changes one expression of a file at a time and runs the tests of its crate. A mutant that no test
detects is missed. `make mutants FILES="{" ".join(sorted(counts))}"` ran {sum(map(Counter.total, counts.values()))} mutants. Other files were not run.

| file | {" | ".join(FOUND.values())} |
| --- |{" ---: |" * len(FOUND)}""")
for path in sorted(counts):
    print(f"| {path} | " + " | ".join(str(counts[path][found]) for found in FOUND.values()) + " |")
total = sum(counts.values(), Counter())
print("| all | " + " | ".join(str(total[found]) for found in FOUND.values()) + " |")
print("\n## Missed\n")
for name in sorted(missed):
    # Line numbers change with every edit, the rest of the name does not.
    path, _, _, change = name.split(":", 3)
    print(f"- {path}: `{change.strip()}`")
if not missed:
    print("None.")
