# names prints the containers that are defined in the repository around the current folder. Whatever else lies there,
# such as a name that a shell would take for more than a word, is none.
_spacktainers_names() {
	local up=. entry name
	while [[ ! -d $up/container_definitions && $(cd "$up" && pwd) != / ]]; do up=$up/..; done
	for entry in "$up"/container_definitions/*/*; do
		name=${entry##*/}
		name=${name%.yaml}
		name=${name%.def}
		[[ $name =~ ^[a-z0-9][a-z0-9._-]*$ ]] && printf '%s\n' "$name"
	done | sort -u
}

# candidates prints what may stand for the word that is typed, behind a target or, where that is empty, for one.
_spacktainers_candidates() {
	local target=$1 current=$2 value
	case $target,$current in
	,*) printf '%s\n' "$_spacktainers_targets" ;;
	*,--*=*)
		while read -r value; do
			[[ -n $value ]] && printf '%s\n' "${current%%=*}=$value"
		done <<<"${_spacktainers_values[$target${current%%=*}]}"
		;;
	*,-*) printf '%s\n' "${_spacktainers_flags[$target]}" ;;
	*)
		printf '%s\n' "${_spacktainers_values[$target]}"
		[[ $_spacktainers_named == *" $target "* ]] && _spacktainers_names
		;;
	esac
}
