#!/bin/sh
# Builds a package of a program that is not optimised, and checks it on a clean Debian root.
#
# Usage: check-package.sh PROGRAM POLICIES
set -eu

program=$1 policies=$2
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../.."
sh "$here/install.sh" debootstrap dpkg-dev binutils openssl python3-venv
folder=target/deploy/package
openssl ecparam -name prime256v1 -genkey -noout -out "$folder.key" 2> /dev/null
# Without what a debugger needs, which is most of it.
strip -o target/deploy/stripped "$program"
COMPRESSION=gz sh deploy/package/build.sh target/deploy/stripped "$policies" "$folder" "$folder.key"
sh "$here/package.sh" "$program" "$folder" target/deploy/venv/bin/python
