# shellcheck shell=bash
# What the scripts of this folder share. Servers are noted in ./pids, a line "PID STARTED NAME" for
# each; all functions work in the current folder, which is the cluster's.

# shellcheck disable=SC2034
tests_cluster=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

die() {
  echo "${0##*/}: $*" >&2
  exit 1
}

# --- Processes ---

# When a process was started, as the kernel counts it; fails if there is none. With the start time a
# PID names one process for ever: a stale one that was given to somebody else is never signalled.
started() {
  local stat
  { stat=$(<"/proc/$1/stat"); } 2>/dev/null || return 1
  # The name before the last parenthesis may hold anything.
  read -r -a stat <<<"${stat##*) }"
  [ "${stat[0]}" != Z ] && echo "${stat[19]}"
}

alive() { [ "$(started "$1")" = "$2" ]; }

# serve NAME PROGRAM ARG...: starts a server; its output goes to log/NAME, its command is kept so that
# server.sh can start it again.
serve() {
  local name=$1 pid
  shift
  printf '%s\0' "$@" >"commands/$name"
  # A session of its own, so that an interrupt from the terminal ends the tests first; and none of the
  # caller's files, or whoever reads the caller's output waits for the server to end.
  setsid "$@" </dev/null >>"log/$name" 2>&1 9>&- &
  pid=$!
  echo "$pid $(started $pid || echo 0) $name" >>pids
}

# servers [NAME]: their lines of ./pids, those that live, newest first.
servers() {
  local pid since name
  [ -f pids ] || return 0
  tac pids | while read -r pid since name; do
    if [ -n "${1:-}" ] && [ "$name" != "$1" ]; then continue; fi
    if alive "$pid" "$since"; then echo "$pid $since $name"; fi
  done
}

# end SIGNAL [NAME]: one after the other, newest first (an API server that has lost its etcd does not
# end); after 10 s by KILL.
end() {
  local signal=$1 pid since name i
  while read -r pid since name; do
    kill -s "$signal" "$pid" 2>/dev/null || true
    for ((i = 0; i < 200; ++i)); do
      alive "$pid" "$since" || continue 2
      sleep 0.05
    done
    kill -s KILL "$pid" 2>/dev/null || true
  done < <(servers "${2:-}")
}

# wait_for SECONDS WHAT COMMAND...: until the command succeeds; fails at once when a server has ended.
wait_for() {
  local deadline=$((SECONDS + $1)) what=$2 pid since name
  shift 2
  until "$@" >/dev/null 2>&1; do
    while read -r pid since name; do
      alive "$pid" "$since" && continue
      tail -n 5 "log/$name" >&2
      die "$name ended while waiting for $what: $PWD/log/$name"
    done <pids
    [ "$SECONDS" -lt "$deadline" ] || die "no $what in time: see $PWD/log"
    sleep 0.05
  done
}

# --- Ports, certificates, kubeconfigs ---

# free_ports COUNT: ports of 127.0.0.1 where nobody listens. Below 32768, where outgoing connections
# have their own ports, so that none of those takes one before its server does.
free_ports() {
  local ports=() port
  while [ ${#ports[@]} -lt "$1" ]; do
    port=$((10240 + RANDOM % 22528))
    [[ " ${ports[*]} " == *" $port "* ]] && continue
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || ports+=("$port")
  done
  echo "${ports[@]}"
}

# certificate NAME SUBJECT USAGE [ALTERNATIVE_NAMES]: pki/NAME.crt and .key, from pki/ca.
certificate() {
  local names=()
  [ -z "${4:-}" ] || names=(-addext "subjectAltName=$4")
  openssl req -config pki/openssl.cnf -x509 -CA pki/ca.crt -CAkey pki/ca.key -days 30 -subj "$2" \
    -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "pki/$1.key" -out "pki/$1.crt" \
    -addext basicConstraints=critical,CA:FALSE -addext keyUsage=digitalSignature \
    -addext "extendedKeyUsage=$3" "${names[@]}" 2>>log/openssl
}

# kubeconfig NAME USER: NAME.kubeconfig for the API server $api; USER is YAML.
# shellcheck disable=SC2154
kubeconfig() {
  cat >"$1.kubeconfig" <<-END
	apiVersion: v1
	kind: Config
	clusters: [{name: mizzen, cluster: {server: "$api", certificate-authority: "$PWD/pki/ca.crt"}}]
	users: [{name: "$1", user: $2}]
	contexts: [{name: mizzen, context: {cluster: mizzen, user: "$1"}}]
	current-context: mizzen
	END
}
by_certificate() { echo "{client-certificate: \"$PWD/pki/$1.crt\", client-key: \"$PWD/pki/$1.key\"}"; }

# The cgroup of the real node's pods.
node_cgroup() { echo "mizzen-$(pwd -P | sha256sum | cut -c1-8)"; }
