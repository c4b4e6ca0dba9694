#!/bin/sh
# Runs a program of the Debian in the folder beside this script, under the name that this script is called by. The
# folder becomes the system (/usr, /etc, /var); everything else of this machine stays where it is. Apptainer refuses to
# work in a mere chroot, hence pivot_root.
set -e
program=${0##*/}
root=$(dirname "$(dirname "$0")")/root
if [ "$APPTAINERTEST_INSIDE" != 1 ]; then
	APPTAINERTEST_INSIDE=1 exec unshare --mount --propagation private "$0" "$@"
fi
unset APPTAINERTEST_INSIDE
here=$PWD
mount --bind "$root" "$root"
for dir in /*; do
	case $dir in /bin | /sbin | /lib* | /usr | /etc | /var | /boot | /lost+found) continue ;; esac
	[ -d "$dir" ] && [ ! -L "$dir" ] || continue
	mkdir -p "$root$dir"
	mount --rbind "$dir" "$root$dir"
done
mount --bind /var/tmp "$root/var/tmp"
cd "$root"
pivot_root . .outside
umount -l /.outside
cd "$here"
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
# Machines without CAP_SYS_RESOURCE, as CI's can be, may not hand it on.
export APPTAINER_DROP_CAPS=CAP_SYS_RESOURCE APPTAINER_NO_PRIVS=1
exec "$program" "$@"
