#!/bin/sh
# A network plug-in (CNI) for pods that need no network: their namespace has its loopback interface
# and nothing else. containerd insists on an address; it gets one out of 127.0.0.0/8, which works
# within the pod and leads nowhere outside. No bridge, route or packet filter is made.
version='"cniVersion": "0.4.0"'
case $CNI_COMMAND in
  ADD)
    nsenter --net="$CNI_NETNS" ip link set lo up || exit 1
    # Each pod has its own, from its container's id.
    sum=$(printf %s "$CNI_CONTAINERID" | cksum | cut -d ' ' -f 1)
    address=127.$((1 + sum % 250)).$((sum / 250 % 250)).$((1 + sum / 62500 % 250))
    echo "{$version, \"interfaces\": [{\"name\": \"$CNI_IFNAME\", \"sandbox\": \"$CNI_NETNS\"}]," \
      "\"ips\": [{\"version\": \"4\", \"interface\": 0, \"address\": \"$address/8\"}]}"
    ;;
  VERSION) echo "{$version, \"supportedVersions\": [\"0.3.0\", \"0.3.1\", \"0.4.0\"]}" ;;
esac
