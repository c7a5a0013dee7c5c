#!/bin/sh
# Blue-green: sends new requests to another deployment, and loses none.  nginx/switch.sh FOLDER blue|green
#
# FOLDER is the prefix of a running nginx, with nginx.conf and what it includes. In it are blue.conf and green.conf, each a
# site.conf of one deployment; site.conf is a link to one of them. The requests in progress end where they began.
# NGINX names another command than nginx.
set -eu

folder=$1
colour=$2
nginx() { command "${NGINX:-nginx}" -p "$folder" -c "$folder/nginx.conf" "$@"; }
link() {
    ln -sfn "$1" "$folder/site.conf.new"
    mv -fT "$folder/site.conf.new" "$folder/site.conf" # at once: there is never no site.conf
}

if [ ! -f "$folder/$colour.conf" ]; then
    echo "switch.sh: $folder/$colour.conf does not exist; nothing was changed" >&2
    exit 1
fi
before=$(readlink "$folder/site.conf") || {
    echo "switch.sh: $folder/site.conf is not a link to blue.conf or green.conf; nothing was changed" >&2
    exit 1
}
link "$colour.conf"
if ! nginx -t -q; then
    link "$before"
    echo "switch.sh: nginx does not accept $colour.conf; it still uses $before" >&2
    exit 1
fi
nginx -s reload
echo "switch.sh: $before -> $colour.conf"
