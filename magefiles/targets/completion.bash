
# names prints the containers that are defined in the repository around the current folder. Whatever else lies there,
# such as a name that a shell would take for more than a word, is none.
_spacktainers_names() {
	local up=. path name
	while [[ ! -d $up/container_definitions && $(cd "$up" && pwd) != / ]]; do up=$up/..; done
	for path in "$up"/container_definitions/*/*; do
		name=${path##*/}
		name=${name%.yaml}
		name=${name%.def}
		[[ $name =~ ^[a-z0-9][a-z0-9._-]*$ ]] && printf '%s\n' "$name"
	done | sort -u
}

_spacktainers() {
	local line=${COMP_LINE:0:COMP_POINT} words current='' target='' word candidates=()
	read -ra words <<<"$line"
	[[ $line == *[[:space:]] ]] || current=${words[-1]}
	[[ -n $current ]] && unset 'words[-1]'
	for word in "${words[@]:1}"; do
		[[ -n ${_spacktainers_flags[$word]+x} ]] && target=$word
	done
	case $target,$current in
	*,--platform=*) candidates=(--platform=linux/amd64 --platform=linux/arm64) ;;
	sif*,--engine=*) candidates=(--engine=apptainer --engine=native) ;;
	*,--engine=*) candidates=(--engine=podman --engine=assemble) ;;
	,*) candidates=("${!_spacktainers_flags[@]}") ;;
	*,-*) read -ra candidates <<<"${_spacktainers_flags[$target]}" ;;
	base:build,*) candidates=(builder runtime singularitah) ;;
	*) [[ $_spacktainers_named == *" $target "* ]] && mapfile -t candidates < <(_spacktainers_names) ;;
	esac
	COMPREPLY=()
	# Colon and equals sign begin new words for readline: only what is behind the last one is completed.
	local before=${current%"${current##*[:=]}"}
	for word in "${candidates[@]}"; do
		[[ $word == "$current"* ]] && COMPREPLY+=("${word#"$before"}")
	done
	[[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *= ]] && compopt -o nospace 2>/dev/null
	return 0
}
complete -o default -F _spacktainers spacktainers mage
