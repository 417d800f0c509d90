#!/bin/bash
# man confines its children with seccomp; groff's programs are C++ and talk through pipes.
. "$(dirname "$0")/lib/common.sh"
need man man-db
need nroff groff
cat >"$TEST_TMP/page.1" <<'M'
.TH PAGE 1
.SH NAME
page \- a page to be set
.SH DESCRIPTION
.B page
has
.I few
words, a table of things and a list:
.IP \(bu 2
one
.IP \(bu 2
two
M
same_as_plain man -l -Tutf8 "$TEST_TMP/page.1"
grep -q 'a page to be set' "$TEST_TMP/tracked.out" || problem "man printed no page"
same_as_plain nroff -man "$TEST_TMP/page.1"
export SOURCE_DATE_EPOCH=1
same_as_plain groff -man -Tps "$TEST_TMP/page.1"
check_report man 'process.exit.code == 0' 'cpu.allocation_count > 50'
check_report troff 'cpu.allocation_count > 100'
verdict
