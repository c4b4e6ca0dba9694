_spacktainers() {
	emulate -L zsh
	setopt null_glob
	local target='' word
	local -a candidates
	for word in ${words[2,CURRENT-1]}; do
		(( ${+_spacktainers_flags[$word]} )) && target=$word
	done
	candidates=(${(f)"$(_spacktainers_candidates "$target" "$PREFIX")"})
	if (( ! $#candidates )); then
		[[ $PREFIX == --*=* ]] && compset -P '*='
		_files
		return
	fi
	compadd -- ${candidates:#*=}
	compadd -S '' -- ${(M)candidates:#*=} # a value follows
}
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit }
compdef _spacktainers spacktainers mage
