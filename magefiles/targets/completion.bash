_spacktainers() {
	local line=${COMP_LINE:0:COMP_POINT} words current='' target='' word candidates=()
	read -ra words <<<"$line"
	[[ $line == *[[:space:]] ]] || current=${words[-1]}
	[[ -n $current ]] && unset 'words[-1]'
	for word in "${words[@]:1}"; do
		[[ -n ${_spacktainers_flags[$word]+x} ]] && target=$word
	done
	mapfile -t candidates < <(_spacktainers_candidates "$target" "$current")
	COMPREPLY=()
	# Colon and equals sign begin new words for readline: only what is behind the last one is completed.
	local before=${current%"${current##*[:=]}"}
	for word in "${candidates[@]}"; do
		[[ -n $word && $word == "$current"* ]] && COMPREPLY+=("${word#"$before"}")
	done
	[[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *= ]] && compopt -o nospace 2>/dev/null
	return 0
}
complete -o default -F _spacktainers spacktainers mage
