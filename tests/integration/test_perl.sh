#!/bin/bash
# perl: hashes, strings that grow by realloc, fork and wait, a child that dies by a signal.
. "$(dirname "$0")/lib/common.sh"
need perl
cat >"$TEST_TMP/work.pl" <<'P'
use strict; use warnings; $| = 1;
my %seen; my $text = "";
for my $n (1 .. 30000) { $seen{$n * 7919 % 10007} .= "x"; $text .= "line $n\n"; }
print scalar(keys %seen), " ", length $text, "\n";
my $pid = fork // die; if (!$pid) { my @big = (1) x 100000; exit 6 } waitpid $pid, 0; print $? >> 8, "\n";
$pid = fork // die; if (!$pid) { my @some = map { "x$_" } 1 .. 1000; kill 'KILL', $$; sleep 5 } waitpid $pid, 0; print $? & 127, "\n";
eval { die "caught\n" }; print $@; exit 2;
P
same_as_plain perl "$TEST_TMP/work.pl"
expect "exit status" "$tracked_status" 2
states=$(for file in "$OUT"/memtrack.perl.*.json; do value_of "$file" '(process.exit.state, process.exit.code)'; done | sort)
expect "states of the three processes" "$states" "$(printf "%s\n" "('exited', 2)" "('exited', 6)" "('killed', None)")"
verdict
