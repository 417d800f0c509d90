#!/bin/bash
# timeout: 120
# redis links an allocator of its own choice and runs background threads; a fork saves the data.
. "$(dirname "$0")/lib/common.sh"
need redis-server
need redis-benchmark redis-tools
socket=$TEST_TMP/redis.sock
"$MEMTRACK" run --output "$OUT" --interval 0.5 -- redis-server --port 0 --unixsocket "$socket" --save '' \
    --appendonly no --dir "$TEST_TMP" --daemonize no >"$TEST_TMP/server.out" 2>"$TEST_TMP/server.err" &
server=$!
wait_for 20 test -S "$socket" || problem "the server did not start"
redis-benchmark -s "$socket" -q -n 5000 -r 5000 -d 100 -P 16 -t set,get,lpush,sadd,hset,zadd >/dev/null || problem "benchmark failed"
redis-cli -s "$socket" set key value >/dev/null
expect "a value" "$(redis-cli -s "$socket" get key)" value
redis-cli -s "$socket" save >/dev/null || problem "save failed"
redis-cli -s "$socket" bgsave >/dev/null || problem "bgsave failed"
sleep 1
redis-cli -s "$socket" shutdown nosave
wait "$server"
expect "exit status" "$?" 0
check_report "$(report_of 'redis-*' "$(find "$OUT" -name 'memtrack.redis-*.json' | wc -l)")" 'cpu.allocation_count > 1000'
check_report "$(report_of 'redis-*')" 'process.exit.state == "exited"' 'cpu.foreign_free_count == 0' \
    'cpu.pools.mode == "on"'
[ "$(cat "$OUT"/memtrack.redis-*.jsonl | wc -l)" -ge 2 ] || problem "no timeline while it ran"
verdict
