#!/bin/sh
# Runs what it is given, word for word, in the environment of the packages.
. /etc/profile.d/spacktainer.sh
exec "$@"
