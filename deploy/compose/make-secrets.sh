#!/bin/sh
# Makes what deploy/compose.yaml needs to know in secret: passwords by chance, and the carrier's key from a file.
#
#   sh deploy/compose/make-secrets.sh FILE_WITH_THE_CARRIERS_KEY [FOLDER]
#
# What is there already is kept, so it can be called again; only the key is replaced, which rotates it.
# docker compose mounts these files as they are, with their owner and mode, and the containers run as other users: so
# the files can be read by all, and the folder keeps all others of this machine out.
set -eu

key=${1:?name the file that holds the carrier\'s API key}
folder=${2:-$(dirname "$0")/../secrets}

mkdir -p "$folder/carriers"
chmod 0700 "$folder"
chmod 0755 "$folder/carriers"
umask 0022

# Replaced by renaming: nobody ever reads half a secret.
put() { cat >"$folder/$1.new" && chmod 0444 "$folder/$1.new" && mv -f "$folder/$1.new" "$folder/$1"; }
once() { if [ -e "$folder/$1" ]; then cat >/dev/null; else put "$1"; fi; }
by_chance() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }

for name in postgres_password owner_password worker_password shop_password grafana_password; do
  by_chance | once "$name"
done
printf 'postgresql://returns_owner:%s@postgres/returns\n' "$(cat "$folder/owner_password")" | once migrate_url
printf 'postgresql://returns_worker:%s@postgres/returns\n' "$(cat "$folder/worker_password")" | once worker_url
printf '[returns]\nhost=postgres\ndbname=returns\nuser=postgres\npassword=%s\n' "$(cat "$folder/postgres_password")" |
  once admin_service
put carriers/default.key <"$key"
