# Tries a finished container from inside. Its first arguments are one word each, if the entrypoint keeps quoting; then
# comes the view that it must have, or nothing; the others are the commands that the definition wants to succeed.
failed=0
complain() { echo "spacktainers: test: $*" >&2; failed=1; }
[ "$1|$2|$3|$4" = 'print("a b")|$HOME||it'\''s' ] || complain "the entrypoint does not keep quoting: $*"
view=$5
shift 5
if [ -n "$view" ]; then
	if [ ! -d "$view" ]; then
		complain "there is no view: $view"
	elif [ -z "$(ls -A "$view" | grep -v '^\.spack')" ]; then
		complain "the view is empty: $view"
	fi
fi
tree=${view:-/opt/spack-environment}
if [ -d "$tree" ] && command -v ldd >/dev/null; then
	for folder in "$tree/bin" "$tree/sbin" "$tree/libexec" "$tree/lib" "$tree/lib64"; do
		[ -d "$folder" ] || continue
		missing=$(find -L "$folder" -type f \( -perm -100 -o -name '*.so' -o -name '*.so.*' \) -exec ldd {} + 2>/dev/null |
			awk '/^[^\t ].*:$/ { file = $0 } /=> not found/ { print file, $1 }')
		[ -z "$missing" ] || complain "libraries are missing:
$missing"
	done
fi
for command; do
	sh -c "$command" || complain "failed with status $?: $command"
done
exit $failed
