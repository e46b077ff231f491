#!/usr/bin/env bash
# Writes an OCI archive with two images made of Debian's busybox-static:
#   mizzen.test/busybox:1    /bin/sh and all of busybox's commands
#   mizzen.test/pause:1      the same, sleeping: what holds a pod's namespaces
#   tests/cluster/node/images.sh FILE.tar
set -euo pipefail
target=${1:?usage: images.sh FILE.tar}
busybox=${BUSYBOX:-/bin/busybox}
case $(uname -m) in
  x86_64) architecture=amd64 ;;
  aarch64) architecture=arm64 ;;
  *) echo "images.sh: unknown architecture $(uname -m)" >&2; exit 1 ;;
esac
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
pack() { tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -cf "$1" -C "$2" .; }

mkdir -p "$work"/root/{bin,dev,etc,proc,root,sys,tmp,usr/bin,var/run}
chmod 1777 "$work/root/tmp"
cp "$busybox" "$work/root/bin/busybox"
"$busybox" --list | while read -r name; do
  [ "$name" = busybox ] || ln -s busybox "$work/root/bin/$name"
done
printf 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/tmp:/bin/sh\n' >"$work/root/etc/passwd"
printf 'root:x:0:\nnobody:x:65534:\n' >"$work/root/etc/group"
pack "$work/layer" "$work/root"

# Moves a file among the blobs and prints its descriptor's members.
mkdir -p "$work/layout/blobs/sha256"
blob() {
  local sum size
  sum=$(sha256sum <"$1" | cut -d ' ' -f 1)
  size=$(stat -c %s "$1")
  mv "$1" "$work/layout/blobs/sha256/$sum"
  printf '"digest": "sha256:%s", "size": %s' "$sum" "$size"
}
layer=$(blob "$work/layer")
media=application/vnd.oci.image

image() { # NAME CONFIG
  local digest=${layer#*: }
  cat >"$work/config" <<END
{"architecture": "$architecture", "os": "linux", "config": $2,
 "rootfs": {"type": "layers", "diff_ids": [${digest%%,*}]}}
END
  cat >"$work/manifest" <<END
{"schemaVersion": 2, "mediaType": "$media.manifest.v1+json",
 "config": {"mediaType": "$media.config.v1+json", $(blob "$work/config")},
 "layers": [{"mediaType": "$media.layer.v1.tar", $layer}]}
END
  printf '{"mediaType": "%s.manifest.v1+json", %s, "annotations": {"io.containerd.image.name": "%s"}}' \
    "$media" "$(blob "$work/manifest")" "$1"
}
shell=$(image mizzen.test/busybox:1 '{"Cmd": ["/bin/sh"], "Env": ["PATH=/bin"]}')
pause=$(image mizzen.test/pause:1 '{"Entrypoint": ["/bin/sleep", "2147483647"], "Env": ["PATH=/bin"]}')
echo "{\"schemaVersion\": 2, \"manifests\": [$shell, $pause]}" >"$work/layout/index.json"
echo '{"imageLayoutVersion": "1.0.0"}' >"$work/layout/oci-layout"
pack "$target" "$work/layout"
