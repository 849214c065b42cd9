# The commands that people run, in the environment of the README's test command. `just` lists them.

python := ".venv/bin/python"

_list:
    @just --list --unsorted

# the default tests, or some of them: just test -k names
test *words:
    {{ python }} -m pytest -n 4 --dist worksteal {{ words }}

# the long tests
slow *words:
    {{ python }} -m pytest -m slow {{ words }}

# what users do, from end to end: commands, environments, examples, the page in a browser
e2e *words:
    {{ python }} -m pytest -n 4 --dist worksteal -m "e2e and not slow" {{ words }}

# whole processes killed, stopped, starved and lied to
faults *words:
    {{ python }} -m pytest -n 4 --dist worksteal -m "faults and not slow" {{ words }}

# the protocol under ten times as many random examples
thorough *words:
    {{ python }} -m pytest tests/proto --hypothesis-profile thorough {{ words }}

# the tests with packages that people train with, in environments of their own: just integrations -k envpool
integrations *words:
    .ci/integrations {{ words }}

# what a commit has to pass: ruff, mypy, import-linter
lint:
    .ci/lint

# the documentation site, in an environment of its own, into build/docs/site
docs:
    .ci/docs

# the smoke set in fresh environments: just smoke 3.12 --resolution lowest
smoke *words:
    {{ python }} tests/smoke/matrix.py {{ words }}

# what recording costs: just bench --reach
bench *words:
    {{ python }} tests/bench {{ words }}
