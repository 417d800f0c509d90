#!/bin/bash
# timeout: 300
# A game server that generates its world on several threads with Lua.
. "$(dirname "$0")/lib/common.sh"
need minetestserver minetest-server
world() { rm -rf "$TEST_TMP/world"; cp -r "$TEST_SOURCE/tests/integration/data/minetest" "$TEST_TMP/world"; }
game=(minetestserver --world "$TEST_TMP/world" --gameid minetest --config "$TEST_TMP/world/server.conf" --quiet)
world
plain "${game[@]}"
world
tracked "${game[@]}"
expect "exit status" "$tracked_status" "$plain_status"
check_report minetestserver 'process.exit.state == "exited"' 'cpu.allocation_count > 100000' \
    'sum(t.get("thread_count") or 1 for t in cpu.threads) >= 4'
verdict
