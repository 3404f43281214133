# Completion of tenants and backups for bash, and for zsh after its bashcompinit.
#
# Source this file in ~/.bashrc, see docs/commands.md, also for `python manage.py ...`. The names of
# the commands and their options come from Django itself, the ids from `manage.py listbackups --ids`:
# so each Tab starts Django once, which takes a moment.

_tenant_backup_offer() {
    # The lines of standard input that continue the word; never evaluated, whatever is in them.
    local line
    while IFS= read -r line; do
        if [[ -n "$line" && "$line" == "$1"* ]]; then
            COMPREPLY+=("$(printf '%q' "$line")")
        fi
    done
}

_tenant_backup_complete() {
    local current="${COMP_WORDS[COMP_CWORD]}" manage="${COMP_WORDS[0]}" start=1
    local -a run
    COMPREPLY=()
    if [[ "$manage" == *python* ]]; then
        # python manage.py ...
        [[ "${COMP_WORDS[1]}" == *manage.py && $COMP_CWORD -gt 1 ]] || return 0
        run=("$manage" "${COMP_WORDS[1]}")
        start=2
    else
        run=("$manage")
    fi
    local command="${COMP_WORDS[start]}"
    if [[ $COMP_CWORD -eq $start || "$current" == -* ]]; then
        local words="${COMP_WORDS[*]:$start}"
        _tenant_backup_offer "$current" < <(
            env COMP_WORDS="manage.py $words" COMP_CWORD="$((COMP_CWORD - start + 1))" \
                DJANGO_AUTO_COMPLETE=1 "${run[@]}" 2>/dev/null | tr ' ' '\n' | sed 's/=$//'
        )
        return 0
    fi
    case "$command" in
        restorebackup | restorerows)
            if [[ $((COMP_CWORD - start)) -eq 2 ]]; then
                # The ids of the tenant's good backups, or a file.
                _tenant_backup_offer "$current" < <(
                    "${run[@]}" listbackups --ids --skip-checks -- "${COMP_WORDS[start + 1]}" 2>/dev/null
                )
                return 0
            fi
            [[ $((COMP_CWORD - start)) -eq 1 ]] || return 0
            ;;
        comparebackups)
            if [[ $((COMP_CWORD - start)) -eq 2 || $((COMP_CWORD - start)) -eq 3 ]]; then
                _tenant_backup_offer "$current" < <(
                    "${run[@]}" listbackups --ids --skip-checks -- "${COMP_WORDS[start + 1]}" 2>/dev/null
                )
                return 0
            fi
            [[ $((COMP_CWORD - start)) -eq 1 ]] || return 0
            ;;
        runbackup | listbackups | verifybackups | prunebackups | syncbackups | checkbackups) ;;
        automatebackups)
            _tenant_backup_offer "$current" < <(printf '%s\n' enable pause resume status)
            return 0
            ;;
        *) return 0 ;;
    esac
    _tenant_backup_offer "$current" < <("${run[@]}" listbackups --ids --skip-checks 2>/dev/null)
}

complete -o default -F _tenant_backup_complete manage.py ./manage.py
