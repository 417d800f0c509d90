#!/bin/bash
# timeout: 400
# AI against AI: millions of small blocks from C++ containers, the same game in both runs.
. "$(dirname "$0")/lib/common.sh"
need wesnoth
export SDL_VIDEODRIVER=dummy
game=(wesnoth --nogui --multiplayer --nosound --rng-seed 7 --scenario=multiplayer_The_Freelands --controller=1:ai
    --controller=2:ai --side=1:Loyalists --side=2:Rebels --turns=4 --exit-at-end --nodelay)
plain "${game[@]}"
tracked "${game[@]}"
expect "exit status" "$tracked_status" "$plain_status"
check_report "$(report_of 'wesnoth*')" 'process.exit.state == "exited"' 'cpu.allocation_count > 1000000' 'cpu.peak_bytes > 10 << 20' \
    'cpu.failed_count == 0'
verdict
