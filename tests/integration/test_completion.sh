#!/bin/bash
# The completion offers what the command takes, and nothing else.
. "$(dirname "$0")/lib/common.sh"
# shellcheck source=scripts/memtrack.bash
. "$TEST_SOURCE/scripts/memtrack.bash"
offered() { # offered WORDS...: what is offered for the last of them
    COMP_WORDS=("$MEMTRACK" "$@") COMP_CWORD=$#
    _memtrack
    echo "${COMPREPLY[*]}"
}
expect subcommands "$(offered '')" 'run collect report top dump diff export env help version'
expect "one subcommand" "$(offered di)" diff
expect "options of diff" "$(offered diff --)" '--by --from --json --to --top'
expect "options of env" "$(offered env --)" '--json --markdown'
expect "values of --stacks" "$(offered run --stacks = '')" 'off sampled all'
expect "values of --stacks behind =" "$(offered run --stacks =)" 'off sampled all'
expect "values of a switch" "$(offered run --frames = o)" off
expect "an option of the environment" "$(offered run --stack-de)" '--stack-depth='
for name in output interval keep vulkan quiet peak pools vulkan-pool-limit; do
    [[ " $(offered run "--$name") " == *" --$name"* ]] || problem "run --$name is not offered"
done
(cd "$TEST_TMP" && touch a-report.json && expect files "$(offered report a-)" a-report.json; exit $problems) || problem "files"
expect "files for a value" "$(cd "$TEST_TMP" && touch out-file && offered export f --output out-)" out-file
expect "the program's arguments" "$(cd "$TEST_TMP" && touch level1 && offered run -- game leve)" level1
# Each value that is offered is taken, and each that a message lists is offered.
sleep 60 &
plain=$!
at_end+=("kill $plain")
tracked sh -c :
report=$(find "$OUT" -name 'memtrack.*.json' | head -n 1)
for case in report:--by report:--sort export:--format export:--by diff:--by; do
    subcommand=${case%:*} option=${case#*:} files=("$report")
    [ "$subcommand" != diff ] || files+=("$report")
    for value in $(offered "$subcommand" f "$option" ''); do
        status=0
        "$MEMTRACK" "$subcommand" "${files[@]}" "$option" "$value" >/dev/null 2>"$TEST_TMP/err" || status=$?
        [ "$status" -lt 2 ] || problem "$subcommand $option $value is offered: $(cat "$TEST_TMP/err")"
    done
    "$MEMTRACK" "$subcommand" "${files[@]}" "$option" nonsense >/dev/null 2>"$TEST_TMP/err" && problem "$subcommand $option nonsense"
    for value in $(sed -n 's/.*--[a-z]* takes \([^;]*\);.*/\1/p' "$TEST_TMP/err" | tr -s ', ' '\n' | grep -vx or); do
        [[ " $(offered "$subcommand" f "$option" '') " == *" $value "* ]] || problem "$subcommand $option: $value is not offered"
    done
done
# A process that is tracked is offered, one that is not is none.
MEMTRACK_OUTPUT=$OUT LD_PRELOAD=$PRELOAD sleep 60 &
pid=$!
at_end+=("kill $pid")
wait_for 10 eval '[[ " $(offered top "") " == *" $pid "* ]]' || problem "a tracked process is not offered: $(offered top '')"
[[ " $(offered dump '') " != *" $plain "* ]] || problem "a process that is not tracked is offered"
verdict
