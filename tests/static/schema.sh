#!/bin/bash
# The schema is a valid one and strict enough to refuse a broken report; a fresh report passes.
. "$(dirname "$0")/../integration/lib/common.sh"
"$PYTHON" -c 'import jsonschema' 2>/dev/null || skip "python3-jsonschema is missing"
tracked sort /etc/passwd
check_report sort 'process.exit.code == 0'
"$PYTHON" - "$TEST_SOURCE/docs/report.schema.json" "$(report_of sort)" <<'P' || problem "the schema"
import copy, json, sys
import jsonschema
schema, report = (json.load(open(path)) for path in sys.argv[1:3])
validator = jsonschema.validators.validator_for(schema)
validator.check_schema(schema)
check = validator(schema)
accepted = []
def refuse(what, change):
    damaged = copy.deepcopy(report)
    change(damaged)
    if check.is_valid(damaged):
        accepted.append(what)
for name in ("schema", "schema_version", "process", "cpu", "vulkan", "frames", "timeline", "trend", "events", "dropped", "config"):
    refuse(f"no {name}", lambda r: r.pop(name))
for name in ("current_bytes", "peak_bytes", "peak_error_bytes", "allocation_count", "free_count", "net_count", "size_classes",
             "tags", "threads", "modules", "stacks", "lifetimes", "leaks", "pools"):
    refuse(f"no cpu.{name}", lambda r: r["cpu"].pop(name))
refuse("text for bytes", lambda r: r["cpu"].update(current_bytes="12"))
refuse("a fraction of a byte", lambda r: r["cpu"].update(peak_bytes=1.5))
refuse("an unknown state", lambda r: r["process"]["exit"].update(state="gone"))
refuse("another schema's name", lambda r: r.update(schema="other"))
refuse("an unknown field", lambda r: r["cpu"].update(no_such_field=1))
print("accepted although wrong:", accepted) if accepted else None
sys.exit(bool(accepted))
P
verdict
