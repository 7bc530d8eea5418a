#!/usr/bin/env bash
# benchmarks/matrix.sh - probe the sample workloads with every Python that is here, and join the reports in reports/.
#
#   bash benchmarks/matrix.sh
#
# Takes about a minute for each Python, so leave the machine alone meanwhile. Needs Python 3.11 or newer, pip and a package index.
set -euo pipefail
cd "$(dirname "$0")/.."
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
unset PYTHONPATH PYTEST_ADDOPTS

scratch=$(mktemp -d)
trap 'rm -rf -- "$scratch"' EXIT
python3 -m venv "$scratch/tox"
"$scratch/tox/bin/pip" install -q 'tox>=4.24'

rm -rf reports/py*
# One after the other. An answer that is not as expected is a finding: it is in the report, and the others go on.
for python in py311 py312 py313 py313t py314 py314t py315; do
    "$scratch/tox/bin/tox" run --colored no --workdir "$scratch/work" -e "$python-samples" </dev/null || echo "$python: exit status $?"
done
"$scratch/tox/bin/tox" run --colored no --workdir "$scratch/work" -e report -- --describe
