# Completion of the memtrack command for bash. Options are read from `memtrack help` and `memtrack env`, so that they
# are those of the command that is installed.
# shellcheck shell=bash

# Names of the options that a subcommand's help lists.
_memtrack_options() {
    "$1" help "$2" 2>/dev/null | sed -n -e '/^Usage/p' -e 's/^  \(-[^ ]* *[^ ]*\).*/\1/p' | grep -oE -- '--[a-z][a-z-]*' | sort -u
}

# The options of `memtrack env` as `memtrack run` takes them: --stacks=, --vulkan-pool=; or the values of one.
_memtrack_environment() {
    "$1" env --json 2>/dev/null | awk -v wanted="${2-}" -F '"' '
        $2 == "name" { name = tolower(substr($4, 10)); gsub(/_/, "-", name); if (wanted == "") print "--" name "=" }
        $2 == "type" && wanted == name { print ($4 == "on or off") ? "on\noff" : gensub_bar($4) }
        function gensub_bar(text) { gsub(/\|/, "\n", text); return text ~ /\n/ ? text : "" }'
}

# The processes that have a segment.
_memtrack_processes() {
    local base path
    for base in "${XDG_RUNTIME_DIR:+$XDG_RUNTIME_DIR/memtrack}" "/dev/shm/memtrack-$(id -u)" "/tmp/memtrack-$(id -u)"; do
        [ -n "$base" ] || continue
        for path in "$base"/*.seg "$base"/*/*.seg; do
            path=${path##*/}
            [ -d "/proc/${path%%.*}" ] && echo "${path%%.*}"
        done
    done | sort -un
}

# The words that the value of an option can be; nothing for any text.
_memtrack_values() {
    case $2$3 in
    export--by) echo live peak total count temporary live-count ;;
    diff--by) echo tag module thread size stack heap ;;
    *--by) echo tag module thread stack size heap frame ;;
    *--format) echo folded speedscope pprof massif dhat perfetto chrome vma csv ;;
    export--device) echo 1 all ;;
    *--from | *--to) echo start end frame: ;;
    report--sort) echo live peak total count frame recent frees temporary blocks size budget usage time device device-total device-time ;;
    top--sort) echo rate live peak total count frame recent frees temporary blocks size budget usage time device device-total device-time ;;
    run--vulkan) echo auto on off ;;
    run--*) _memtrack_environment "$1" "${3#--}" ;;
    esac
}

_memtrack() {
    local command=${COMP_WORDS[0]} word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}
    local subcommand=${COMP_WORDS[1]-} option values at
    COMPREPLY=()
    if [ "$COMP_CWORD" = 1 ]; then
        mapfile -t COMPREPLY < <(compgen -W "$("$command" help 2>/dev/null | sed -n 's/^  \([a-z]\{2,\}\) .*/\1/p')" -- "$word")
        return
    fi
    # What comes behind the program to run is the program's own.
    for ((at = 2; at < COMP_CWORD; at++)); do
        [ "$subcommand" = run ] && [ "${COMP_WORDS[at]}" = -- ] || continue
        if declare -F _command_offset >/dev/null; then
            _command_offset $((at + 1))
        elif [ "$before" = -- ]; then
            mapfile -t COMPREPLY < <(compgen -c -- "$word" | sort -u; compgen -f -- "$word")
        else
            mapfile -t COMPREPLY < <(compgen -f -- "$word")
        fi
        return
    done
    # bash takes = for a word of its own.
    option=
    if [ "$word" = = ]; then option=$before word=; elif [ "$before" = = ]; then option=${COMP_WORDS[COMP_CWORD - 2]}; fi
    [ -z "$option" ] && [[ $before == --* && $before != -- && $subcommand != run ]] && option=$before
    if [ -n "$option" ]; then
        values=$(_memtrack_values "$command" "$subcommand" "$option")
        if [ -n "$values" ]; then
            mapfile -t COMPREPLY < <(compgen -W "$values" -- "$word")
        else
            mapfile -t COMPREPLY < <(compgen -f -- "$word")
        fi
        return
    fi
    if [[ $word == -* ]]; then
        values=$(_memtrack_options "$command" "$subcommand")
        [ "$subcommand" != run ] || values+=" $(_memtrack_environment "$command")"
        mapfile -t COMPREPLY < <(compgen -W "$values" -- "$word")
        [[ ${#COMPREPLY[@]} != 1 || ${COMPREPLY[0]} != *= ]] || compopt -o nospace 2>/dev/null
        return
    fi
    case $subcommand in
    help) mapfile -t COMPREPLY < <(compgen -W "$("$command" help 2>/dev/null | sed -n 's/^  \([a-z]\{2,\}\) .*/\1/p')" -- "$word") ;;
    top | dump) mapfile -t COMPREPLY < <(compgen -W "$(_memtrack_processes)" -- "$word") ;;
    run) mapfile -t COMPREPLY < <(compgen -c -- "$word" | sort -u; compgen -f -- "$word") ;;
    *) mapfile -t COMPREPLY < <(compgen -f -- "$word") ;;
    esac
}
complete -o filenames -F _memtrack memtrack
