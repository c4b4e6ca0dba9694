# Tries a finished container from inside. Its first arguments are one word each, if the entrypoint keeps quoting; the
# others are the commands that the definition wants to succeed.
failed=0
complain() { echo "spacktainers: test: $*" >&2; failed=1; }
[ "$1|$2|$3|$4" = 'print("a b")|$HOME||it'\''s' ] || complain "the entrypoint does not keep quoting: $*"
shift 4
if [ -d /opt/view ] && command -v ldd >/dev/null; then
	for folder in /opt/view/bin /opt/view/sbin /opt/view/libexec /opt/view/lib /opt/view/lib64; do
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
